"""results/continuation.csv: the perplexity of each rung's continuations, between its ceiling and the floor.

Intervals resample prompts and not single continuations, since the continuations of a prompt are not independent. The
method is a percentile bootstrap over the prompts with anything to judge and, with several models, over n - 1 drawn
seeds (analysis.accuracy). The judge, the ASR and the vocoder are held fixed. With two dozen prompts such an interval is
somewhat too narrow.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from speechladder.analysis.accuracy import Estimate, bootstrap, generator
from speechladder.analysis.csv_tables import fixed, percent, write_csv
from speechladder.continuation.perplexity import BABBLE, HARDEST, REFERENCE_ROWS, TRUE, perplexity
from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.io.tables import JUDGED, read_table
from speechladder.settings import Analysis

# The perplexities that the paper reports (arXiv 2412.17048, main table), of its own prompts under its own judge.
PAPER = {
    "text-bpe": 51.3,
    "text-raw": 54.6,
    "phone-bpe": 59.1,
    "phone-raw": 69.1,
    "phone-repeat": 130.1,
    "speech-hubert": 313.2,
}
SAID = ("distinct_1", "distinct_2", "entropy", "words_per_second", "empty")
COLUMNS = (
    "rung",
    "ppl",
    "ppl_low",
    "ppl_high",
    "ceiling",  # the true continuations through the rung's own path
    "text_ceiling",  # as text
    "floor",
    "babble",  # a bigram model of the rung's tokens through the rung's own path
    "babble_low",
    "babble_high",
    "direct_ppl",
    "direct_ceiling",
    "direct_babble",
    *SAID,  # empty in percent
    "wer_of_path",  # percent
)
Judged = dict[tuple[str, str], list[dict[str, Any]]]  # rows of JUDGED by (rung, path)


def read_judged(path: Path) -> Judged:
    """Read continuation/judged.parquet; raises UserError that names the file."""
    found: Judged = {}
    for row in read_table(path, JUDGED).to_pylist():
        found.setdefault((row["rung"], row["path"]), []).append(row)
    return found


def total(rows: Sequence[dict[str, Any]]) -> float:
    """Corpus perplexity of rows of JUDGED; not a number if they have no words."""
    return perplexity(sum(row["nll"] for row in rows), sum(row["words"] for row in rows))


def estimate(rows: Sequence[dict[str, Any]], confidence: float, resamples: int, rng: np.random.Generator) -> Estimate:
    """Corpus perplexity with its interval over prompts; NaN if there is nothing, or one prompt, to judge.

    A resample without words, which is possible if most continuations are empty, counts as the estimate itself.
    """
    value = total(rows)
    ids = sorted({row["id"] for row in rows if row["words"]})
    seeds = sorted({row["seed"] for row in rows})
    if len(ids) < 2:
        return Estimate(value, math.nan, math.nan)
    sums = np.zeros((2, len(seeds), len(ids)))  # nll, words
    for row in rows:
        if row["words"]:
            sums[:, seeds.index(row["seed"]), ids.index(row["id"])] += row["nll"], row["words"]

    def statistic(index: np.ndarray) -> np.ndarray:
        drawn = sums[:, :, index].sum(-1)  # (2, seeds, resamples)
        if len(seeds) > 1:
            chosen = rng.integers(len(seeds), size=(1, len(seeds) - 1, index.shape[0]))
            drawn = np.take_along_axis(drawn, np.broadcast_to(chosen, (2, *chosen.shape[1:])), axis=1)
        nll, words = drawn.sum(1)
        return np.where(words > 0, np.exp(np.minimum(nll / np.maximum(words, 1), HARDEST)), value)

    low, high = bootstrap(statistic, len(ids), confidence, resamples, rng)
    return Estimate(value, min(float(low), value), max(float(high), value))


def write_continuation(results: Path, rungs: Sequence[str], seed: int, analysis: Analysis) -> dict[str, Estimate]:
    """Write results/continuation.csv, a row per rung with continuations, and return their perplexities.

    Without `rungs` (continuation.enabled: false) the table has no rows. Perplexities have two decimals. A cell is empty
    if the continuations of a rung have no words, or if it has no such path. Raises UserError if
    continuation/judged.parquet lacks a rung.
    """
    rows, found = [], {}
    judged = read_judged(results / "continuation" / "judged.parquet") if rungs else {}
    about = read_json(results / "continuation" / "quality.json") if rungs else {}
    for rung in rungs:
        if (rung, "transcript") not in judged:
            raise UserError(f"{results}/continuation/judged.parquet: no rung {rung}; delete it and run again")
        models, true, babble = _by_speaker(judged[rung, "transcript"])
        measures = analysis.confidence, analysis.resamples
        found[rung] = estimate(models, *measures, generator(seed, "continuation", rung))
        noise = estimate(babble, *measures, generator(seed, "continuation babble", rung))
        direct = [cell(total(rows)) for rows in _by_speaker(judged.get((rung, "direct"), []))]
        said = about["said"][rung]
        row = {
            "rung": rung,
            **dict(zip(("ppl", "ppl_low", "ppl_high"), map(cell, found[rung]))),
            "ceiling": cell(total(true)),
            "text_ceiling": cell(total(judged[REFERENCE_ROWS, "true"])),
            "floor": cell(total(judged[REFERENCE_ROWS, "shuffled"])),
            **dict(zip(("babble", "babble_low", "babble_high"), map(cell, noise))),
            **dict(zip(("direct_ppl", "direct_ceiling", "direct_babble"), direct)),
            "wer_of_path": percent(about["wer_of_path"][rung]),
        }
        rows.append(row | _said(said))
    if rungs:
        blank = dict.fromkeys(COLUMNS, "")
        rows.append(blank | {"rung": "true", "ppl": rows[0]["text_ceiling"]} | _said(about["said"]["true"]))
        rows.append(blank | {"rung": "shuffled", "ppl": rows[0]["floor"]})
    write_csv(results / "continuation.csv", COLUMNS, rows)
    return found


def _by_speaker(rows: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], ...]:
    """Rows of JUDGED of the models, of the true continuations and of babble."""
    kinds = {TRUE: 1, BABBLE: 2}
    found: tuple[list[dict[str, Any]], ...] = [], [], []
    for row in rows:
        found[kinds.get(row["seed"], 0)].append(row)
    return found


def _said(values: dict[str, float | None]) -> dict[str, str]:
    return {name: fixed(values[name], 3) for name in SAID} | {"empty": percent(values["empty"])}


def cell(value: float) -> str:
    """A perplexity with two decimals, or nothing if it is not a finite number."""
    return fixed(value, 2)
