"""Whisper's English text normaliser, loaded without torch, and the word error rate."""

import functools
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


@functools.cache
def _module():
    """The normaliser's module, loaded from its file in 0.03 s; importing the whole of transformers takes 1.1 s."""
    name = "transformers.models.whisper.english_normalizer"
    if name in sys.modules:
        return sys.modules[name]
    folder = importlib.util.find_spec("transformers").submodule_search_locations[0]
    file = Path(folder, "models", "whisper", "english_normalizer.py")
    spec = importlib.util.spec_from_file_location("speechladder_whisper_normalizer", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def english_normaliser(spelling: Mapping[str, str] | None = None) -> Callable[[str], str]:
    """Return Whisper's normaliser of transformers. `spelling` maps British spellings to American ones.

    >>> english_normaliser()("I'm twenty-one, Mr. Smith!")
    'i am 21 mister smith'
    """
    normalise = _module().EnglishTextNormalizer(dict(spelling or {}))
    return lambda text: " ".join(normalise(text).split())


def wer(references: Sequence[str], hypotheses: Sequence[str], normalise: Callable[[str], str]) -> float:
    """Return the word error rate over all texts, both sides normalised. Many inserted words can make it exceed 1.

    Raise ValueError if the numbers of texts differ or no reference has a word.
    """
    if len(references) != len(hypotheses):
        raise ValueError(f"{len(references)} references for {len(hypotheses)} hypotheses")
    pairs = [(normalise(r), normalise(h)) for r, h in zip(references, hypotheses)]
    words = sum(len(r.split()) for r, _ in pairs)
    if not words:
        raise ValueError("no reference has a word")
    return sum(word_errors(r, h) for r, h in pairs) / words


def wer_by_path(rows: Sequence[Mapping[str, str]], normalise: Callable[[str], str]) -> dict[str, float]:
    """Return the word error rate of each path in rows of REFERENCE, to four decimals, by the paths' names."""
    paths = sorted({row["path"] for row in rows})
    found = {path: [row for row in rows if row["path"] == path] for path in paths}
    return {
        path: round(wer([row["reference"] for row in some], [row["transcript"] for row in some], normalise), 4)
        for path, some in found.items()
    }


def word_errors(reference: str, hypothesis: str) -> int:
    """Return the number of substituted, deleted and inserted words between two normalised texts."""
    import jiwer

    if not reference.split():  # words in a transcript of silence are errors too
        return len(hypothesis.split())
    counts = jiwer.process_words(reference, hypothesis)
    return counts.substitutions + counts.deletions + counts.insertions
