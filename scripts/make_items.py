#!/usr/bin/env python
from speechladder.command import main

main("speechladder.benchmarks.items:make_items")
