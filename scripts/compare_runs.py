#!/usr/bin/env python
from speechladder.command import main

main("speechladder.report.page.compare:write_comparison")
