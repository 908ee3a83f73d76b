"""Babble: what a bigram model of a rung's own training tokens says after the prompts, the floor of the rung's path.

An ASR knows words only, so it hears words in any noise, and its own language model mends them into sentences. The judge
then finds babble likelier than shuffled words. A rung's perplexity is therefore read against that of babble on the same
path: the same symbols, synthesis or vocoder, ASR and judge. The bigram model sees one token of the prompt.
"""

from collections.abc import Sequence

import numpy as np

from speechladder.rungs.data import TokenData
from speechladder.rungs.tokenizers import MAX_VOCAB, SPECIALS

MOST = 4_000_000  # tokens of the train split that are counted; the utterances are spread evenly


class Bigrams:
    """Counts of the pairs of neighbours in `tokens`, (n,) ids, from which continuations are drawn.

    They are drawn from the whole distribution. A nucleus is never left where one token follows itself more often than
    its probability mass: at 50 Hz, in the first pause. No special token is drawn, so babble never ends by itself. After
    a token that only special tokens follow, the next one is drawn by its frequency alone.
    """

    def __init__(self, tokens: np.ndarray) -> None:
        ids = np.asarray(tokens, np.int64)
        spoken = ids[1:] >= len(SPECIALS)
        self.pairs, self.counts = np.unique((ids[:-1] * MAX_VOCAB + ids[1:])[spoken], return_counts=True)
        self.alone = np.unique(ids[ids >= len(SPECIALS)], return_counts=True)

    def following(self, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids (k,) that may follow `last`, ascending, and their counts (k,)."""
        begin, end = np.searchsorted(self.pairs, (last * MAX_VOCAB, (last + 1) * MAX_VOCAB))
        return (self.pairs[begin:end] % MAX_VOCAB, self.counts[begin:end]) if end > begin else self.alone

    def babble(self, last: int, numbers: Sequence[float]) -> list[int]:
        """Return a new id for each of `numbers` in [0, 1), the first one after the id `last`."""
        out = []
        for number in numbers:
            ids, counts = self.following(last)
            upto = counts.cumsum()
            last = int(ids[np.searchsorted(upto, number * upto[-1], side="right")])
            out.append(last)
        return out


def train_tokens(data: TokenData, most: int = MOST) -> np.ndarray:
    """Return the ids of the train split, specials included, of every k-th utterance so that they are at most `most`.

    A single utterance is never cut.
    """
    step = max(1, -(-int(data.lengths.sum(dtype=np.int64)) // most))
    parts = [data.utterance(number) for number in range(0, len(data), step)]
    return np.concatenate(parts) if parts else np.zeros(0, np.uint16)
