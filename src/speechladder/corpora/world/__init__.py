"""The world: a generated English of ten topics, its stories and its benchmarks. Pure Python."""

from speechladder.corpora.world.lexicon import lexicon_words
from speechladder.corpora.world.stories import Document, document, held_out

__all__ = ["Document", "document", "held_out", "lexicon_words"]
