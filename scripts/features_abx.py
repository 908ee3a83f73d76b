#!/usr/bin/env python
from speechladder.command import main

main("speechladder.units.diagnostics.abx_run:write_features_abx")
