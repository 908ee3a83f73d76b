#!/usr/bin/env python
from speechladder.command import main

main("speechladder.benchmarks.submission:export_slm21")
