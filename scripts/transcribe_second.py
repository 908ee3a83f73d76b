#!/usr/bin/env python
from speechladder.command import main

main("speechladder.continuation.second_asr:transcribe_second")
