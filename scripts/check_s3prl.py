#!/usr/bin/env python
from speechladder.command import main

main("speechladder.units.encoders.s3prl:describe_upstream")
