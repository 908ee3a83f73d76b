#!/usr/bin/env python
from speechladder.command import main

main("speechladder.corpora.build:build_shard")
