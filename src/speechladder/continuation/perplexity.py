"""Corpus-level perplexity of continuations, and statistics that expose a model that repeats itself or says nothing.

Definition. ppl = exp(sum of NLL / sum of words) over all non-empty continuations. NLL is in nats, of a continuation
given its prompt under the judge; the prompt's tokens are context, and `</s>` is not scored. Words are those of the
continuation after the ASR's text normaliser. Each word has the same weight, so long continuations weigh more.

Alternatives that were rejected:
- exp(NLL / tokens of the judge) depends on the judge's vocabulary. Two judges could not be compared, and a judge that
  splits unknown words into letters would find nonsense likely per token.
- The mean of the prompts' perplexities is a mean of exponentials: one continuation of nonsense would outweigh all
others.
- With the prompt included, a part that all rungs share would hide the differences.
- Empty continuations have no words and no NLL, so they do not change the value. A rung that mostly says nothing would
  look as good as the little that it says, so the share of empty continuations is reported beside the perplexity.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from speechladder.io.hashing import stable_hash

REFERENCE_ROWS = "reference"  # value of JUDGED's column rung in the rows of paths true and shuffled
HARDEST = 100.0  # nats per word, as an upper bound: one endless word of an ASR's invention would overflow a float
TRUE = -1  # seed and sample of a true continuation
BABBLE = -2  # seed of a continuation by the bigram model (continuation.babble)


class Speech(NamedTuple):
    """A continuation: the words of its transcript, and its duration in seconds (0: not known)."""

    words: list[str]
    seconds: float


def perplexity(nll: float, words: float) -> float:
    """Return exp(nll / words), at most exp(HARDEST), or NaN if there are no words."""
    return math.exp(min(nll / words, HARDEST)) if words else math.nan


def shuffled(texts: Mapping[str, str], seed: int, samples: int) -> list[tuple[str, int, str]]:
    """Return the floor as (id, sample, text): the words of all `texts` (by prompt), shuffled over all prompts.

    Each prompt keeps its number of words. There are `samples` shuffles, so that the floor is as precise as the value
    that it is compared with. The words and their frequencies stay the same; only their order and their relation to the
    prompt are lost.
    """
    ids, out = sorted(texts), []
    words = [word for id in ids for word in texts[id].split()]
    for sample in range(samples):
        order = np.random.default_rng(stable_hash(seed, "continuation floor", sample)).permutation(len(words))
        drawn = iter([words[n] for n in order])
        out += [(id, sample, " ".join(next(drawn) for _ in texts[id].split())) for id in ids]
    return out


def distinct(texts: Iterable[Sequence[str]], n: int) -> float:
    """Return distinct n-grams / n-grams of `texts` (lists of words), in [0, 1], or NaN if there are none.

    The value falls with the amount of text, so compare equal amounts (Li et al. 2016).
    """
    grams = Counter(tuple(words[i : i + n]) for words in texts for i in range(len(words) - n + 1))
    return len(grams) / grams.total() if grams else math.nan


def entropy(texts: Iterable[Sequence[str]]) -> float:
    """Return the entropy in bits of the empirical distribution of words in `texts`. It is biased down for few words."""
    counts = np.array(list(Counter(word for words in texts for word in words).values()), float)
    share = counts / counts.sum()
    return float(-(share * np.log2(share)).sum()) + 0.0 if len(counts) else math.nan


def statistics(groups: Sequence[Sequence[Speech]], seconds: float) -> dict[str, float | None]:
    """Return distinct_1, distinct_2, entropy (bits), words_per_second and empty (share) of a rung; None if undefined.

    A group is the continuations of one model and sample, one for each prompt, like the true continuations. Distinct
    n-grams and entropy are computed for each group, so for equal amounts of speech, and averaged over groups.
    words_per_second uses the duration of the audio, or `seconds` for a continuation without audio (text rungs).
    """
    texts = [[speech.words for speech in group] for group in groups]
    every = [speech for group in groups for speech in group]
    length = sum(speech.seconds or seconds for speech in every)
    spoken = any(speech.words for speech in every)
    values = {
        "distinct_1": _mean(distinct(group, 1) for group in texts),
        "distinct_2": _mean(distinct(group, 2) for group in texts),
        "entropy": _mean(entropy(group) for group in texts),
        "words_per_second": sum(len(speech.words) for speech in every) / length if length and spoken else 0.0,
        "empty": sum(not speech.words for speech in every) / len(every) if every else math.nan,
    }
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
