#!/usr/bin/env python
from speechladder.command import main

main("speechladder.plan.page:print_plan")
