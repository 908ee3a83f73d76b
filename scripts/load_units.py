#!/usr/bin/env python
from speechladder.command import main

main("speechladder.units.external.load:load_units")
