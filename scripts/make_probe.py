#!/usr/bin/env python
from speechladder.command import main

main("speechladder.units.diagnostics.probe:make_probe")
