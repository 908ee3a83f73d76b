#!/usr/bin/env python
from speechladder.command import main

main("speechladder.lm.run:run_training")
