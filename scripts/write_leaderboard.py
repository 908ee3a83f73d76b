#!/usr/bin/env python
from speechladder.command import main

main("speechladder.leaderboard.page:write_leaderboard")
