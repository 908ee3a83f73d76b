#!/usr/bin/env python
from speechladder.command import main

main("speechladder.continuation.prompts:make_prompts")
