"""Speech recognition: one interface, two recognisers. Importing it is light; a recogniser imports its own libraries."""

from speechladder.continuation.asr.base import ASR, ASR_CASES, cases_metadata, load_asr, load_normaliser, read_cases
from speechladder.continuation.asr.checks import check_asr

__all__ = ["ASR", "ASR_CASES", "cases_metadata", "check_asr", "load_asr", "load_normaliser", "read_cases"]
