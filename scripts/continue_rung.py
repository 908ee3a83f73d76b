#!/usr/bin/env python
from speechladder.command import main

main("speechladder.continuation.generate:continue_rung", offline=True)
