#!/usr/bin/env python
from speechladder.command import main

main("speechladder.settings.tokenizer:write_units")
