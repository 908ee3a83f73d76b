"""The world: generated English stories on four topics. Pure Python."""

from speechladder.corpora.world.lexicon import lexicon_words
from speechladder.corpora.world.stories import Document, document, documents, held_out

VERSION = 2  # of the language; figures of another one cannot be compared (tests/unit/test_world.py holds its hash)

__all__ = ["VERSION", "Document", "document", "documents", "held_out", "lexicon_words"]
