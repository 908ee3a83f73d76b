#!/usr/bin/env python
from speechladder.command import main

main("speechladder.corpora.respeak:speak_shard")
