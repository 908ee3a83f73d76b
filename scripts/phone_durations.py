#!/usr/bin/env python
from speechladder.command import main

main("speechladder.alignment.durations:measure_durations")
