#!/usr/bin/env python
from speechladder.command import main

main("speechladder.report.markdown:write_readme_table")
