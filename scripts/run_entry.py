#!/usr/bin/env python
from speechladder.command import main

main("speechladder.leaderboard.run:run_entry")
