#!/usr/bin/env python
from speechladder.command import main

main("speechladder.alignment.quality:write_quality")
