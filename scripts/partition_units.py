#!/usr/bin/env python
from speechladder.command import main

main("speechladder.units.external.partition:partition_units")
