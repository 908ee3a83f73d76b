#!/usr/bin/env python
from speechladder.command import main

main("speechladder.units.diagnostics.abx_items:write_item_abx")
