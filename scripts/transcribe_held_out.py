#!/usr/bin/env python
from speechladder.command import main

main("speechladder.continuation.resynthesis:transcribe_held_out")
