#!/usr/bin/env python
from speechladder.command import main

main("speechladder.fetch.download:download")
