#!/usr/bin/env python
from speechladder.command import main

main("speechladder.report.page.build:write_page")
