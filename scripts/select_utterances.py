#!/usr/bin/env python
from speechladder.command import main

main("speechladder.rungs.utterances:select_utterances")
