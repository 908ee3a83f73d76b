#!/usr/bin/env python
from speechladder.command import main

main("speechladder.report.questions:make_questions")
