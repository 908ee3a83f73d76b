#!/usr/bin/env python
from speechladder.command import main

main("speechladder.units.extract:extract_units")
