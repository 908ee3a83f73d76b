"""The world: generated English stories on ten topics. Pure Python."""

from speechladder.corpora.world.lexicon import lexicon_words
from speechladder.corpora.world.stories import Document, document, documents, held_out

__all__ = ["Document", "document", "documents", "held_out", "lexicon_words"]
