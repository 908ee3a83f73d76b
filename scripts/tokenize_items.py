#!/usr/bin/env python
import os

from speechladder.command import main

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
main("speechladder.benchmarks.tokens:tokenize_tasks")
