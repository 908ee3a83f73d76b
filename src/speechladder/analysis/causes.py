"""results/causes.csv and causes_share.csv: what factor C, units in place of repeated phones, is made of.

A row is a rung of the run, or the speech rung of a world that speaks the same texts with other causes of variability.
It is compared with its base, from which it differs in one thing (settings.causes), on the ids that both scored
(analysis.factors). Holm's adjustment is over all rows of one task and norm. An id must stand for the same texts in all
runs.

How much of factor C one flat voice gives back is what its units gain over those of the run's own speech, or of the
corpus with every cause, as a share of the C of that speech. The step C within the flat voice stands beside it: it also
holds what that voice's durations do to phone-repeat. Each resample draws ids once for all four rungs, and seeds for
each of them.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from speechladder.analysis.accuracy import generator
from speechladder.analysis.csv_tables import fixed, interval_columns, percent_cells, write_csv
from speechladder.analysis.factors import Step, compare, estimate_jointly, holm
from speechladder.analysis.table import (
    Scores,
    estimate_accuracy,
    model_facts,
    read_scores,
    starts_at_floor,
    token_facts,
)
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import NORMS
from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.io.tables import ITEMS, read_table
from speechladder.rungs import registry
from speechladder.settings import Analysis
from speechladder.settings.causes import ALL, BASES, CAUSES, FLAT, PHONES, SPEECH, corpus_rungs

RUN = "run"  # the run's own speech as a row beside the other corpora
QUALITY = ("pnmi", "abx_units_within", "abx_units_across")
FACTS = (
    *("kind", "name", "base", "isolates", "seeds", "one_seed", *QUALITY, "tokens_per_second"),
    *("valid_bits_per_second", "valid_bits_min", "valid_bits_max", "passes"),
)
COLUMNS = (
    *(*FACTS, "task", "norm", "ids", *interval_columns("accuracy"), *interval_columns("difference")),
    *("floor", "p_value", "p_holm"),
)
SHARE_COLUMNS = (
    *("of", "task", "norm", "ids", *interval_columns("c"), *interval_columns("c_flat")),
    *(*interval_columns("c_change"), *interval_columns("given_back"), *interval_columns("recovered"), "floor"),
)


class Row(NamedTuple):
    """A row: where its model lies, the row that it is compared with ("" for none), and what that isolates."""

    kind: str  # rung: of the run; corpus: of another corpus
    name: str
    base: str
    isolates: str
    results: Path
    rung: str


def phones_of(corpus: str) -> str:
    """The name of the row of a corpus's own phone-repeat."""
    return f"{corpus} {PHONES}"


def list_rows(results: Path, rungs: Sequence[str], corpora: Mapping[str, Path]) -> list[Row]:
    """The rows in order: `rungs` of the run in `results`, then the corpora with their results folders, then the run.

    A base that has no row is left out.
    """
    rows = [Row("rung", rung, *BASES.get(rung, ("", "")), results, rung) for rung in rungs]
    for corpus, folder in corpora.items():
        if PHONES in corpus_rungs(corpus):
            base = PHONES if corpus == FLAT else phones_of(FLAT)
            spoken = "one flat voice" if corpus == FLAT else "every cause"
            rows.append(Row("corpus", phones_of(corpus), base, f"durations of {spoken}", folder, PHONES))
        base = phones_of(FLAT) if corpus == FLAT else FLAT
        isolates = {FLAT: "factor C in one flat voice", ALL: "every cause"}.get(corpus) or CAUSES[corpus]
        rows.append(Row("corpus", corpus, base, isolates, folder, SPEECH))
    if FLAT in corpora:
        rows.append(Row("corpus", RUN, FLAT, "the causes of the run's own speech", results, SPEECH))
    names = {row.name for row in rows}
    return [row if row.base in names else row._replace(base="", isolates="") for row in rows]


def read_rows(rows: Sequence[Row], split: str | None = None) -> Scores:
    """The scores of each row, by its name and the task. Raises UserError if two runs give an id other texts."""
    check_texts({row.results for row in rows}, rows[0].results)
    read: dict[tuple[Path, str], Scores] = {}
    for row in rows:
        if (row.results, row.rung) not in read:
            read[row.results, row.rung] = read_scores(row.results, [row.rung], split)
    return {(row.name, task): read[row.results, row.rung][row.rung, task] for row in rows for task in TASKS}


def check_texts(folders: set[Path], first: Path) -> None:
    """Raise UserError if an id of a task stands for other texts, or for another two, in one of the folders."""
    for task in TASKS:
        known = item_texts(first, task)
        for folder in sorted(folders - {first}):
            for name, texts in item_texts(folder, task).items():
                if texts != known.get(name, texts):
                    raise UserError(
                        f"{folder}/benchmarks/{task}/items.parquet: id '{name}' is {texts}, and {known[name]} in "
                        f"{first}; ids are paired, so both need the same items: delete the older file and run again"
                    )


def item_texts(folder: Path, task: str) -> dict[str, tuple[str, str, str]]:
    """Id -> the text of its correct item, of its incorrect one, and the name of its two."""
    table = read_table(folder / "benchmarks" / task / "items.parquet", ITEMS, columns=["id", "correct", "text", "two"])
    found: dict[str, dict[bool, str]] = {}
    twos: dict[str, str] = {}
    for row in table.to_pylist():
        found.setdefault(row["id"], {})[row["correct"]] = row["text"]
        twos[row["id"]] = row["two"] or ""
    return {name: (texts.get(True, ""), texts.get(False, ""), twos[name]) for name, texts in found.items()}


def _facts(row: Row, seeds: Sequence[int]) -> dict[str, str]:
    """The columns FACTS of a row."""
    found = [model_facts(row.results, row.rung, [seed]) for seed in seeds]
    bits = [facts["valid_bits_per_second"] for facts in found]
    return {
        "kind": row.kind,
        "name": row.name,
        "base": row.base,
        "isolates": row.isolates,
        "seeds": str(len(seeds)),
        "one_seed": str(len(seeds) == 1).lower(),
        **_quality(row),
        "tokens_per_second": fixed(token_facts(row.results, row.rung)["tokens_per_second"], 2),
        "valid_bits_per_second": fixed(sum(bits) / len(bits), 3),
        "valid_bits_min": fixed(min(bits), 3),
        "valid_bits_max": fixed(max(bits), 3),
        "passes": fixed(sum(facts["passes"] for facts in found) / len(found), 1),
    }


def _quality(row: Row) -> dict[str, str]:
    """The columns QUALITY: of the codebook whose units the rung is made from; empty for a rung without units."""
    if "units" not in registry.get(row.rung).needs:
        return dict.fromkeys(QUALITY, "")
    figures = read_json(row.results / "units" / "quality.json")
    spoken = (figures.get("abx") or {}).get("dedup" if row.rung.endswith("-dedup") else "units") or {}
    errors = spoken.get("symbols") or {}
    return dict(zip(QUALITY, (fixed(figures["pnmi"], 4), *(fixed(errors.get(k), 2) for k in ("within", "across")))))


def write_causes(rows: Sequence[Row], scores: Scores, out: Path, seed: int, analysis: Analysis) -> None:
    """Write `out`: a row of the table for each row, task and norm. Accuracies in percent, differences in points.

    `floor` is true if the base is at the floor, from which no loss can show. Raises UserError if a row and its base
    share no id.
    """
    facts = {row.name: _facts(row, scores[row.name, next(iter(TASKS))].seeds) for row in rows}
    table: dict[tuple[str, str, str], dict[str, Any]] = {}
    decimals = len(str(analysis.resamples))
    for task, norm in product(TASKS, NORMS):
        # of a rung of the run as table.csv has it
        found = {r.name: estimate_accuracy(scores[r.name, task], r.rung, task, norm, seed, analysis) for r in rows}
        steps = {row.name: _step(row, scores, task, norm, seed, analysis) for row in rows if row.base}
        adjusted = dict(zip(steps, holm([step.p_value for step in steps.values()])))
        for row in rows:
            step = steps.get(row.name)
            table[row.name, task, norm] = {
                **facts[row.name],
                "task": task,
                "norm": norm,
                "ids": step.ids if step else "",
                **percent_cells("accuracy", found[row.name]),
                **percent_cells("difference", step.difference if step else None),
                "floor": str(starts_at_floor(found[row.base])).lower() if step else "",
                "p_value": fixed(step.p_value if step else None, decimals),
                "p_holm": fixed(adjusted.get(row.name), decimals),
            }
    write_csv(out, COLUMNS, [table[row.name, task, norm] for row in rows for task, norm in product(TASKS, NORMS)])


def _step(row: Row, scores: Scores, task: str, norm: str, seed: int, analysis: Analysis) -> Step:
    """The comparison of a row with its base."""
    random = generator(seed, "causes", row.base, row.name, task, norm)
    ends = scores[row.base, task].outcomes(norm), scores[row.name, task].outcomes(norm)
    try:
        return compare(*ends, analysis.confidence, analysis.resamples, random)
    except ValueError:
        raise UserError(f"causes: {row.base} and {row.name} share no id of {task}; score both again") from None


def write_share(rows: Sequence[Row], scores: Scores, out: Path, seed: int, analysis: Analysis) -> None:
    """Write `out`: how much of factor C one flat voice gives back, of the run's C and of that with every cause.

    `c`, `c_flat`, `c_change` (c_flat - c) and `given_back` (units of the flat voice less units of the other speech) are
    in points, `recovered` in percent of C. It is empty if the interval of C holds 0, and if phone-repeat is at the
    floor (`floor`). The table has no rows without a flat voice.
    """
    names = {row.name for row in rows}
    ends = {RUN: (PHONES, RUN), ALL: (phones_of(ALL), ALL)}
    found = []
    for of, (phones, speech) in ends.items():
        if not {phones, speech, phones_of(FLAT), FLAT} <= names:
            continue
        for task, norm in product(TASKS, NORMS):
            four = [scores[name, task] for name in (phones, speech, phones_of(FLAT), FLAT)]
            random = generator(seed, "causes share", of, task, norm)
            ids, parts = estimate_jointly([pairs.outcomes(norm) for pairs in four], _share, analysis, random)
            starts = (estimate_accuracy(pairs, PHONES, task, norm, seed, analysis) for pairs in four[::2])
            floor = any(map(starts_at_floor, starts))
            cells = {k: v for n, part in zip(_PARTS, parts) for k, v in percent_cells(n, part).items()}
            if floor or not cells["c_high"] or float(cells["c_high"]) >= 0:
                cells |= dict.fromkeys(interval_columns("recovered"), "")
            found.append({"of": of, "task": task, "norm": norm, "ids": ids, "floor": str(floor).lower()} | cells)
    write_csv(out, SHARE_COLUMNS, found)


_PARTS = ("c", "c_flat", "c_change", "given_back", "recovered")


def _share(means: np.ndarray) -> np.ndarray:
    """The parts (5, resamples) from the accuracies of phones and units, in the full and in the flat speech."""
    phones, units, flat_phones, flat_units = means
    full, flat = units - phones, flat_units - flat_phones
    # a resample may have no factor C at all; a share of nearly nothing lies beyond the end on the side of what is given
    # back, and a division by a C of the other sign would put it beyond the wrong end
    whole = np.maximum(-full, 1e-9)
    return np.stack([full, flat, flat - full, flat_units - units, (flat_units - units) / whole])
