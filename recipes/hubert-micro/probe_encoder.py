#!/usr/bin/env python
from speechladder.command import main

main("probe:run_probe")
