#!/usr/bin/env python
from speechladder.command import main

main("speechladder.continuation.judge.training:train_judge")
