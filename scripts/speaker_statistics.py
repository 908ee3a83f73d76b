#!/usr/bin/env python
from speechladder.command import main

main("speechladder.units.speakers:write_speaker_statistics")
