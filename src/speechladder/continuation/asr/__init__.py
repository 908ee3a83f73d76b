"""Speech recognition: one interface, two recognisers. Importing it is light; a recogniser imports its own libraries."""

from speechladder.continuation.asr.base import ASR, load_asr, load_normaliser
from speechladder.continuation.asr.checks import check_asr

__all__ = ["ASR", "check_asr", "load_asr", "load_normaliser"]
