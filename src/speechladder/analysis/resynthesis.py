"""units/resynthesis.json: the word error rate of speech made again from units, against the recordings' own.

The rate is that of all words together, so a long utterance weighs more. Intervals are a percentile bootstrap over
utterances (analysis.accuracy), paired where two rates are compared; p is that of a sign-flip test over utterances
(analysis.factors). Vocoder and ASR are held fixed.
"""

from pathlib import Path
from typing import Any

import numpy as np

from speechladder.analysis.accuracy import bootstrap, generator
from speechladder.analysis.factors import sign_flip
from speechladder.continuation.asr.text import word_errors
from speechladder.io.errors import UserError
from speechladder.io.files import write_json
from speechladder.io.tables import REFERENCE, read_table
from speechladder.settings import Analysis

Counts = dict[str, tuple[int, int]]  # id of an utterance -> errors, words of the reference
DECIMALS = 4


def make_resynthesis(
    held_out: Path, heard: Path, out: Path, analysis: Analysis, own: Path | None = None, seed: int = 0
) -> None:
    """Write units/resynthesis.json: the word error rate of resynthesised speech, a share that may exceed 1.

    It has `utterances`, `words`, `wer` with `low` and `high`; `original`, the same of the recordings; and the
    differences to the recordings (`above_original`) and, of a point, to the run's own units (`above_run`, else null),
    paired over the utterances that both have. Raise UserError naming tables that share no utterance.

    Args:
        held_out: continuation/held_out.parquet
        heard: continuation/resynthesis.parquet of the point
        out: units/resynthesis.json of the point to write
        own: continuation/resynthesis.parquet of the run itself, if these units are another point's
        seed: seed of the resamples
    """
    spoken = read_counts(heard)
    natural = _matching(held_out, spoken, heard)
    random = generator(seed, "resynthesis")
    facts: dict[str, Any] = {"utterances": len(spoken), "words": sum(words for _, words in spoken.values())}
    facts |= error_rate(spoken, analysis, random)
    facts["original"] = error_rate(natural, analysis, random)
    facts["above_original"] = rate_difference(spoken, natural, analysis, random)
    facts["above_run"] = rate_difference(spoken, _matching(own, spoken, heard), analysis, random) if own else None
    write_json(out, facts)


def _matching(path: Path, spoken: Counts, heard: Path) -> Counts:
    """The counts of `path` for the utterances of `spoken`, which `heard` has."""
    found = {id: counts for id, counts in read_counts(path).items() if id in spoken}
    if not found:
        raise UserError(f"{heard} and {path}: no utterance in common; delete both and run again")
    return found


def read_counts(path: Path) -> Counts:
    """Errors and words of each utterance of a REFERENCE table that has a word in its reference."""
    rows = read_table(path, REFERENCE).to_pylist()
    counted = {
        row["id"]: (word_errors(row["reference"], row["transcript"]), len(row["reference"].split())) for row in rows
    }
    return {id: counts for id, counts in counted.items() if counts[1]}


def error_rate(counts: Counts, analysis: Analysis, random: np.random.Generator) -> dict[str, float | None]:
    """`wer` with `low` and `high`, which are null for a single utterance."""
    errors, words = (np.array(column, float) for column in zip(*counts.values(), strict=True))
    return {"wer": round(errors.sum() / words.sum(), DECIMALS)} | _interval(errors, words, analysis, random)


def rate_difference(
    counts: Counts, others: Counts, analysis: Analysis, random: np.random.Generator
) -> dict[str, float | None]:
    """The word error rate of `counts` less that of `others` on the utterances that both have.

    `difference` with `low`, `high` and `p_value`.
    """
    ids = [id for id in counts if id in others]
    words = np.array([counts[id][1] for id in ids], float)
    more = np.array([counts[id][0] - others[id][0] for id in ids], float)
    found = {"difference": round(more.sum() / words.sum(), DECIMALS)} | _interval(more, words, analysis, random)
    return found | {"p_value": sign_flip(more, analysis.resamples, random)}


def _interval(
    errors: np.ndarray, words: np.ndarray, analysis: Analysis, random: np.random.Generator
) -> dict[str, float | None]:
    """`low` and `high` of sum(errors) / sum(words) over drawn utterances; both arrays are (utterances,)."""
    if len(errors) < 2:
        return {"low": None, "high": None}
    value = errors.sum() / words.sum()
    ends = bootstrap(
        lambda index: errors[index].sum(-1) / words[index].sum(-1),
        len(errors),
        analysis.confidence,
        analysis.resamples,
        random,
    )
    low, high = (float(end) for end in ends)
    return {"low": round(min(low, value), DECIMALS), "high": round(max(high, value), DECIMALS)}
