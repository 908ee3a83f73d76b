#!/usr/bin/env python
from speechladder.command import main

main("speechladder.analysis.baselines:write_baselines")
