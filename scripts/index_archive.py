#!/usr/bin/env python
from speechladder.command import main

main("speechladder.fetch.archives:index_archive")
