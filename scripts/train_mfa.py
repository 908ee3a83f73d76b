#!/usr/bin/env python
from speechladder.command import main

main("speechladder.alignment.mfa.train:train_mfa")
