#!/usr/bin/env python
import os

from speechladder.command import main

os.environ.setdefault("HF_HUB_OFFLINE", "1")
main("speechladder.benchmarks.score:score_rung")
