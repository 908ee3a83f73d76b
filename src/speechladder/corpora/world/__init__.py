"""The world: a generated English of ten topics, its stories and its benchmarks. Pure Python."""

from speechladder.corpora.pairs import Pair
from speechladder.corpora.world.lexicon import lexicon_words
from speechladder.corpora.world.nonwords import swuggy_pairs
from speechladder.corpora.world.pairs import sblimp_pairs, topic_pairs
from speechladder.corpora.world.stories import Document, document, documents, held_out

__all__ = [
    "Document",
    "Pair",
    "document",
    "documents",
    "held_out",
    "lexicon_words",
    "sblimp_pairs",
    "swuggy_pairs",
    "topic_pairs",
]
