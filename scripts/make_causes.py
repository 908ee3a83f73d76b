#!/usr/bin/env python
from speechladder.command import main

main("speechladder.report.causes:make_causes")
