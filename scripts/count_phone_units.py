#!/usr/bin/env python
from speechladder.command import main

main("speechladder.units.diagnostics.phone_units:count_phone_units")
