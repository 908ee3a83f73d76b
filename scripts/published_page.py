#!/usr/bin/env python
from speechladder.command import main

main("speechladder.report.published:write_published")
