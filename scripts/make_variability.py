#!/usr/bin/env python
from speechladder.command import main

main("speechladder.report.variability:make_variability")
