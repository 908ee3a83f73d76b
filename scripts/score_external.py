#!/usr/bin/env python
from speechladder.command import main

main("speechladder.benchmarks.external.score:score_external")
