#!/usr/bin/env python
from speechladder.command import main

main("speechladder.report.scaling:make_scaling")
