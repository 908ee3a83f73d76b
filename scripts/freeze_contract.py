#!/usr/bin/env python
from speechladder.command import main

main("speechladder.leaderboard.contract:freeze_contract")
