#!/usr/bin/env python
from speechladder.command import main

main("speechladder.continuation.vocoder.train:train_vocoder", offline=True)
