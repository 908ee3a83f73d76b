#!/usr/bin/env python
from speechladder.command import main

main("speechladder.analysis.run:write_tables")
