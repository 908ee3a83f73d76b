"""results/slm21.csv: sWUGGY and sBLIMP on sLM21 as zerospeech prints them, by frequency, word length and type.

A pair counts 1 if its correct item is likelier, 0.5 on a tie, else 0, as a mean over its voices. `score` is the mean
over the pairs of a group and `std` their standard deviation (over n - 1). A pair is in the vocabulary if its word
occurs in LibriSpeech, which is true of all bands but oov. With several models, `score` and `std` are means over them.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from speechladder.analysis.accuracy import Outcomes, accuracy, generator, match_halves, select_split
from speechladder.analysis.csv_tables import percent, write_csv
from speechladder.benchmarks.slm21 import BANDS, LENGTHS, LEXICAL, NO_BAND, OOV
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.benchmarks.tasks.slm21 import TITLE
from speechladder.constants import NORMS
from speechladder.io.errors import UserError
from speechladder.io.tables import SCORES, read_table
from speechladder.settings import Analysis

COLUMNS = ("rung", "task", "split", "norm", "group", "n", "score", "std", "low", "high")


def write_slm21(results: Path, rungs: Sequence[str], splits: Sequence[str], seed: int, analysis: Analysis) -> None:
    """Write results/slm21.csv in percent; a band without pairs has empty cells.

    Raises UserError that names the file if the scores of a split or the lengths of the words are missing.
    """
    rows = []
    parts = {t.name: t.official.part for t in TASKS.values() if t.official and t.official.title == TITLE}
    for rung in rungs:
        for task, part in parts.items():
            path = results / "scores" / rung / f"{task}.parquet"
            table = read_table(path, SCORES)
            lengths = read_lengths(results / "benchmarks" / task / "items.parquet") if part == LEXICAL else {}
            for split in splits:
                own = select_split(table, split, str(path))
                types = dict(zip(own["id"].to_pylist(), own["type"].to_pylist()))
                pairs = match_halves(own, f"{path}, {split}")
                for norm in NORMS:
                    outcomes = pairs.outcomes(norm)
                    for group, ids in groups(part, types, lengths):
                        place = (rung, task, split, norm, group)
                        random = generator(seed, "slm21", *place)
                        rows.append(dict(zip(COLUMNS, [*place, *_figures(outcomes, ids, analysis, random)])))
    write_csv(results / "slm21.csv", COLUMNS, rows)


def read_lengths(items: Path) -> dict[str, int]:
    """Pair -> number of phones of the word, from the metadata of benchmarks/swuggy/items.parquet."""
    try:
        found = pq.read_schema(items).metadata or {}
    except (OSError, ValueError) as error:
        raise UserError(f"{items}: not a readable Parquet file ({error}); delete it and run again") from None
    if LENGTHS.encode() not in found:
        raise UserError(f"{items}: not the items of sLM21 (no '{LENGTHS}'); delete it and run again")
    return json.loads(found[LENGTHS.encode()])


def groups(part: str, types: dict[str, str], lengths: dict[str, int]) -> Iterator[tuple[str, set[str]]]:
    """Yield each group with its pairs, in zerospeech's order. `types` is the band (lexical) or type of each pair."""
    yield "all", set(types)
    if part == LEXICAL:
        yield "in-vocabulary", {id for id, band in types.items() if band not in (OOV, NO_BAND)}
        for band in BANDS:
            yield band, {id for id, own in types.items() if own == band}
        for length in sorted({lengths[id] for id in types if id in lengths}):
            yield f"length {length}", {id for id in types if lengths.get(id) == length}
    else:
        for kind in sorted(set(types.values())):
            yield f"type {kind}", {id for id, own in types.items() if own == kind}


def _figures(outcomes: Outcomes, ids: set[str], analysis: Analysis, random: np.random.Generator) -> list[object]:
    """n, score, std, low, high of a group."""
    columns = [column for column, id in enumerate(outcomes.ids) if id in ids]
    if not columns:
        return [0, "", "", "", ""]
    values = outcomes.values[:, columns]
    own = Outcomes(outcomes.seeds, tuple(outcomes.ids[c] for c in columns), values)
    found = accuracy(own, analysis.confidence, analysis.resamples, random)
    std = float(values.std(axis=1, ddof=1).mean()) if len(columns) > 1 else None
    # zerospeech prints four decimals of a share
    return [len(columns), *(percent(value, 2) for value in (found.value, std, found.low, found.high))]
