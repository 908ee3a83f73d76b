#!/usr/bin/env python
from speechladder.command import main

main("speechladder.report.findings:write_findings")
