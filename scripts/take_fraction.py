#!/usr/bin/env python
from speechladder.command import main

main("speechladder.rungs.fraction:write_fraction")
