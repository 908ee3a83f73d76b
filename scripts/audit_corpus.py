#!/usr/bin/env python
from speechladder.command import main

main("speechladder.corpora.audit:audit_corpus")
