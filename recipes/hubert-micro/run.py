#!/usr/bin/env python
import os

os.environ["OMP_NUM_THREADS"] = "1"  # the weights depend on the number of threads

from speechladder.command import main

main("pretrain:run_recipe")
