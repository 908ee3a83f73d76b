#!/usr/bin/env python
from speechladder.command import main

main("speechladder.continuation.judge.text:write_judge_text")
