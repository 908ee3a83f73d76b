#!/usr/bin/env python
from speechladder.command import main

main("speechladder.report.diagnosis.write:diagnose_units")
