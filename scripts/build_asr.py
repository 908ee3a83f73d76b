#!/usr/bin/env python
from speechladder.command import main

main("speechladder.continuation.asr.pocketsphinx:build_asr")
