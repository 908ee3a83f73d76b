#!/usr/bin/env python
from speechladder.command import main

main("speechladder.continuation.transcribe:transcribe_rung")
