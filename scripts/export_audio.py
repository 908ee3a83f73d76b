#!/usr/bin/env python
from speechladder.command import main

main("speechladder.units.external.export:export_audio")
