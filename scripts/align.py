#!/usr/bin/env python
from speechladder.command import main

main("speechladder.alignment.run:align_shard")
