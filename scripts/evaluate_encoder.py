#!/usr/bin/env python
from speechladder.command import main

main("speechladder.units.diagnostics.compare:evaluate_encoder")
