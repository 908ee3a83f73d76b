#!/usr/bin/env python
from speechladder.command import main

main("speechladder.benchmarks.tokens:tokenize_tasks")
