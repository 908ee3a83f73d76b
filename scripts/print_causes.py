#!/usr/bin/env python
from speechladder.command import main

main("speechladder.report.terminal:print_causes")
