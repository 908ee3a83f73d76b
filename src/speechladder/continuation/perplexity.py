"""Corpus-level perplexity of continuations, and what keeps a model that repeats itself from winning by it.

Definition. ppl = exp(sum of NLL / sum of words) over all non-empty continuations: the NLL in nats of each continuation
given its prompt under the judge (the prompt's tokens are context, `</s>` is not scored), the words those of the
continuation after the ASR's text normaliser. Each word weighs the same, so long ones weigh more.

Alternatives, and why they are not it:
- exp(NLL / the judge's tokens): a number of that judge's vocabulary; two judges could not be compared, and one that
  splits unknown words into letters makes nonsense look likely per token.
- the mean of each prompt's perplexity: one continuation of junk outweighs all others, since the mean is of exp.
- the prompt included: all rungs share the prompts, so that part is a constant which hides what differs.
- empty continuations as words: they have none, and no NLL, so that they change nothing here. A rung that says nothing
  would look as good as the little it says: the share of empty ones stands beside the perplexity.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from speechladder.io.hashing import stable_hash

REFERENCE_ROWS = "reference"  # the rung of JUDGED's rows true and shuffled
HARDEST = 100.0  # nats per word: beyond, one endless word that an ASR made up, which would pass all floats
TRUE = -1  # seed and sample of a true continuation


class Speech(NamedTuple):
    """What was said in one go: words of a transcript, and for how many seconds (0: not known)."""

    words: list[str]
    seconds: float


def perplexity(nll: float, words: float) -> float:
    """exp(nll / words), at most exp(HARDEST); not a number where there are no words."""
    return math.exp(min(nll / words, HARDEST)) if words else math.nan


def shuffled(texts: Mapping[str, str], seed: int, samples: int) -> list[tuple[str, int, str]]:
    """The floor: (id, sample, text), the words of all `texts` (by prompt) dealt anew, each prompt keeping its number.

    `samples` deals, so that the floor is as sure as what it is held against. The words are real and equally frequent;
    only their order, and what they have to do with the prompt, is gone.
    """
    ids, out = sorted(texts), []
    words = [word for id in ids for word in texts[id].split()]
    for sample in range(samples):
        order = np.random.default_rng(stable_hash(seed, "continuation floor", sample)).permutation(len(words))
        dealt = iter([words[n] for n in order])
        out += [(id, sample, " ".join(next(dealt) for _ in texts[id].split())) for id in ids]
    return out


def distinct(texts: Iterable[Sequence[str]], n: int) -> float:
    """Distinct n-grams over n-grams of `texts` (words each), in [0, 1]; not a number without any.

    It falls with the amount of text: compare equal amounts.
    """
    grams = Counter(tuple(words[i : i + n]) for words in texts for i in range(len(words) - n + 1))
    return len(grams) / grams.total() if grams else math.nan


def entropy(texts: Iterable[Sequence[str]]) -> float:
    """Entropy in bits of the distribution of words in `texts`, counted; too low for few words."""
    counts = np.array(list(Counter(word for words in texts for word in words).values()), float)
    share = counts / counts.sum()
    return float(-(share * np.log2(share)).sum()) + 0.0 if len(counts) else math.nan


def statistics(groups: Sequence[Sequence[Speech]], seconds: float) -> dict[str, float | None]:
    """distinct_1, distinct_2, entropy (bits), words_per_second, empty (share) of a rung; None where undefined.

    `groups`: one per model and sample, each with one continuation per prompt, as the true continuations are one per
    prompt: distinct n-grams and entropy are of a group, so of equal amounts of speech, then averaged over groups.
    words_per_second is over what was heard, and over `seconds` for a continuation that made no sound (text rungs).
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
