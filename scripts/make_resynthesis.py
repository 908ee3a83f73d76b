#!/usr/bin/env python
from speechladder.command import main

main("speechladder.analysis.resynthesis:make_resynthesis")
