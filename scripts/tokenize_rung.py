#!/usr/bin/env python
from speechladder.command import main

main("speechladder.rungs.pack:pack_rung")
