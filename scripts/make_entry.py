#!/usr/bin/env python
from speechladder.command import main

main("speechladder.leaderboard.entry:make_entry")
