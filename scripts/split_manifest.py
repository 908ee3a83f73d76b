#!/usr/bin/env python
from speechladder.command import main

main("speechladder.corpora.partition:split_manifests")
