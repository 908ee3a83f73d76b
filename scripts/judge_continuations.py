#!/usr/bin/env python
from speechladder.command import main

main("speechladder.continuation.judge.judgement:judge_continuations")
