#!/usr/bin/env python
from speechladder.command import main

main("speechladder.report.units_sweep:make_units_sweep")
