#!/usr/bin/env python
from speechladder.command import main

main("speechladder.report.figures:draw_all")
