"""What was said, in words: one interface, two recognisers. Light; each recogniser's libraries load with it."""

from speechladder.continuation.asr.base import ASR, load, normaliser
from speechladder.continuation.asr.check import check

__all__ = ["ASR", "check", "load", "normaliser"]
