#!/usr/bin/env python
from speechladder.command import main

main("speechladder.alignment.mfa.prepare:prepare_mfa")
