#!/usr/bin/env python
from speechladder.command import main

main("speechladder.units.sample:write_sample")
