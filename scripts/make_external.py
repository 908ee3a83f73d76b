#!/usr/bin/env python
from speechladder.command import main

main("speechladder.analysis.external:make_external")
