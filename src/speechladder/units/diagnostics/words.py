"""Word forms: the sequences of units that stand for a word, and how often two words share one."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from speechladder.alignment.frames import frame_centres, frame_labels
from speechladder.constants import FRAME_RATE, SAMPLE_RATE
from speechladder.corpora.draw import Draw, hash_order
from speechladder.corpora.phones import strip_stress
from speechladder.io.audio import frame_count
from speechladder.io.errors import paired
from speechladder.io.spans import from_rows
from speechladder.io.tables import ALIGNMENT, read_table
from speechladder.units.diagnostics.invariance import share_changed
from speechladder.units.diagnostics.quality import FRAMES, deduplicate
from speechladder.units.diagnostics.timed import Timed, read_timed

TOKENS = 10  # of a word, among which forms are counted, so that a longer corpus does not show more of them
LEAST = 2  # tokens of a word that is counted
PAIRS = 5  # pairs of tokens of a word whose distance is measured
Forms = Mapping[str, Sequence[np.ndarray]]  # word -> the units of each of its tokens


@dataclass(frozen=True)
class WordFigures:
    """Figures by word, each (words,) float64; NaN for a word with too few tokens.

    same: the probability that two tokens of the word have the same form. forms: the expected number of forms among
    TOKENS of its tokens. shared: the share of its tokens whose form another word has too. distance: the mean edit
    distance between two of its tokens, as a share of the longer one. other: the same between a token of it and one of
    another word.
    """

    same: np.ndarray
    forms: np.ndarray
    shared: np.ndarray
    distance: np.ndarray
    other: np.ndarray


def word_figures(words: Forms, seed: int = 0) -> WordFigures:
    """The figures of words with LEAST tokens or more, in alphabetical order."""
    keys = {word: [tuple(token.tolist()) for token in tokens] for word, tokens in sorted(words.items())}
    owners: dict[Hashable, set[str]] = defaultdict(set)
    for word, forms in keys.items():
        for form in forms:
            owners[form].add(word)
    known = [word for word, forms in keys.items() if len(forms) >= LEAST]
    counts = [np.array(list(Counter(keys[word]).values())) for word in known]
    shared = [np.mean([len(owners[form]) > 1 for form in keys[word]]) for word in known]
    own, other = _distances(words, known, seed)
    return WordFigures(
        np.array([(c * (c - 1)).sum() / (c.sum() * (c.sum() - 1)) for c in counts]),
        np.array([expected_forms(c, TOKENS) for c in counts]),
        np.array(shared),
        own,
        other,
    )


def expected_forms(counts: np.ndarray, drawn: int) -> float:
    """The expected number of different forms among `drawn` tokens of a word, NaN if it has fewer.

    `counts` says how many tokens each form has. This is rarefaction (Hurlbert 1971): a form is missed with the
    probability of drawing `drawn` of the other tokens.
    """
    total = int(counts.sum())
    if total < drawn:
        return float("nan")
    steps = np.arange(drawn)
    left = np.maximum(total - counts[:, None] - steps, 0)
    return float((1 - np.prod(left / (total - steps), axis=1)).sum())


def _distances(words: Forms, known: Sequence[str], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(words,) each: mean distance between neighbouring tokens in a drawn order, and to tokens of the next word."""
    order = hash_order(known, "words", seed, name=str)
    after = dict(zip(order, order[1:] + order[:1], strict=True))
    own, other = [], []
    for word in known:
        rng = np.random.default_rng([seed, len(word), len(words[word])])
        tokens = [words[word][at] for at in rng.permutation(len(words[word]))[: PAIRS + 1]]
        others = words[after[word]]
        own.append(np.mean([share_changed(a, b) for a, b in pairwise(tokens)]))
        other.append(np.mean([share_changed(a, b) for a, b in zip(tokens[:PAIRS], others, strict=False)]))
    return np.array(own), np.array(other)


@dataclass(frozen=True)
class Words:
    """The words of some speech: the units and the 50 Hz phones of each token, and what could not be used."""

    units: Forms
    phones: Forms
    tokens: int
    without_units: int  # tokens in which no unit has its middle


def read_words(units: Sequence[Path], alignment: Sequence[Path], seed: int) -> Words | None:
    """The words of aligned utterances, drawn by hash up to quality.FRAMES frames; None if units have no times.

    A unit belongs to the word that holds its middle; tokens in which there is none are counted and left out.
    """
    drawn: Draw[tuple[Timed, list, list, int]] = Draw(FRAMES / FRAME_RATE, "words", seed)
    for path, aligned in paired(units=units, alignment=alignment):
        table = read_table(aligned, ALIGNMENT, ["id", "words", "phones", "seconds"])
        rows = {row["id"]: row for row in table.to_pylist()}
        for name, timed in read_timed(path):
            if timed.centres is None:
                return None
            if row := rows.get(name):
                frames = frame_count(round(row["seconds"] * SAMPLE_RATE))
                drawn.add(name, row["seconds"], (timed, from_rows(row["words"]), from_rows(row["phones"]), frames))
    spoken, said = defaultdict(list), defaultdict(list)
    tokens, codes = 0, {}
    for timed, words, phones, frames in drawn.items():
        labels = [codes.setdefault(strip_stress(label), len(codes)) for label in frame_labels(phones, frames)]
        by_phone = Timed(np.array(labels, dtype=np.int64), frame_centres(frames))
        for word in words:
            tokens += 1
            found = timed.between(word.start, word.end)
            if len(found):
                spoken[word.label].append(found)
                said[word.label].append(by_phone.between(word.start, word.end))
    return Words(spoken, said, tokens, tokens - sum(map(len, spoken.values())))


def short(forms: Forms) -> dict[str, list[np.ndarray]]:
    """The forms with each run of equal units written once."""
    return {word: [deduplicate(token) for token in tokens] for word, tokens in forms.items()}
