#!/usr/bin/env python
from speechladder.command import main

main("speechladder.continuation.stories:transcribe_stories")
