#!/usr/bin/env python
from speechladder.command import main

main("speechladder.units.codebook:train_codebook")
