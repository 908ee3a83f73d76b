"""results/units_sweep.csv: a row per choice of units, with its quality, and factor C if a model was trained on it.

Factor C is the step from phone-repeat to the point, as results/factors.csv has it for the run's own units: the relative
change of the accuracy, paired over the ids that both scored (analysis.factors). Every point is compared with the same
phone-repeat. The cells of factor C are empty where phone-repeat is at the floor.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from speechladder.analysis.accuracy import generator
from speechladder.analysis.csv_tables import accuracy_columns, fixed, percent_cells, write_csv
from speechladder.analysis.factors import compare
from speechladder.analysis.table import Scores, estimate_accuracy, model_facts, read_scores, starts_at_floor
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import FRAME_RATE, NORMS
from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.settings import Analysis, Point

BEFORE = "phone-repeat"  # factor C is the step from it
CHOICES = ("point", "layer", "clusters", "normalisation", "dedup", "kmeans_seed")
ABX = tuple(f"abx_{of}_{kind}" for of in ("features", "units", "centroids") for kind in ("within", "across"))
QUALITY = (
    *("phone_purity", "cluster_purity", "pnmi", "dead_clusters", "units_per_second", "entropy_bits"),
    *("bits_per_second", "speaker_bits", *ABX),
)


def trained_columns() -> tuple[str, ...]:
    """The columns that are empty for a point without a model."""
    return ("valid_bits_per_second", *accuracy_columns(), *accuracy_columns("C_"))


def sweep_columns() -> tuple[str, ...]:
    """The columns of units_sweep.csv, with those of every registered task."""
    return (*CHOICES, *QUALITY, *trained_columns())


def quality_cells(figures: Mapping[str, Any], dedup: bool) -> dict[str, str]:
    """The columns QUALITY from the figures of a codebook; rates and ABX are those of the point."""
    rates = figures["dedup"] if dedup else figures | {"units_per_second": float(FRAME_RATE)}
    abx = figures["abx"] or {}
    found = {
        "features": abx.get("features") or {},
        "units": (abx.get("dedup" if dedup else "units") or {}).get("symbols"),
    }
    found["centroids"] = None if dedup else (abx.get("units") or {}).get("centroids")
    out = {
        "phone_purity": fixed(figures["phone_purity"], 4),
        "cluster_purity": fixed(figures["cluster_purity"], 4),
        "pnmi": fixed(figures["pnmi"], 4),
        "dead_clusters": fixed(figures["dead_clusters"], 0),
        "units_per_second": fixed(rates["units_per_second"], 2),
        "entropy_bits": fixed(rates["entropy_bits"], 3),
        "bits_per_second": fixed(rates["bits_per_second"], 1),
        "speaker_bits": fixed((figures["speaker"] or {}).get("mi_excess_bits"), 4),
    }
    for of, errors in found.items():
        for kind in ("within", "across"):
            out[f"abx_{of}_{kind}"] = fixed((errors or {}).get(kind), 2)
    return out


def trained_cells(
    before: Scores, scores: Scores, facts: Mapping[str, float], point: Point, seed: int, analysis: Analysis
) -> dict[str, str]:
    """The `trained_columns` of a point, from the scores of phone-repeat and its own."""
    out = {"valid_bits_per_second": fixed(facts["valid_bits_per_second"], 3)}
    for task in TASKS:
        first, after = before[BEFORE, task], scores[point.rung, task]
        for norm in NORMS:
            out |= percent_cells(f"{task}_{norm}", estimate_accuracy(after, point.rung, task, norm, seed, analysis))
            random = generator(seed, "units sweep", point.name, task, norm)
            ends = first.outcomes(norm), after.outcomes(norm)
            try:
                step = compare(*ends, analysis.confidence, analysis.resamples, random)
            except ValueError:
                raise UserError(f"{point.name}, {task}: shares no pair with {BEFORE}; score both again") from None
            floor = starts_at_floor(estimate_accuracy(first, BEFORE, task, norm, seed, analysis))
            out |= percent_cells(f"C_{task}_{norm}", None if floor else step.relative)
    return out


def write_units_sweep(
    results: Path,
    points: Sequence[Point],
    quality: Sequence[Path],
    trained: Mapping[str, Path],
    out: Path,
    seed: int,
    analysis: Analysis,
    split: str | None = None,
) -> None:
    """Write `out` with rows in the order of `points`.

    `quality` holds the figures of each layer. `trained` maps the names of points to the folders with their lm/ and
    scores/. `results` is the run's own folder, with the scores of phone-repeat. `split` is the split of sLM21 that
    table.csv shows. Raises UserError that names what is missing.
    """
    figures: dict[str, Any] = {}
    for path in quality:
        figures |= read_json(path)
    before = read_scores(results, [BEFORE], split) if trained else {}
    rows = []
    for point in points:
        if point.codebook not in figures:
            raise UserError(
                f"no figures of {point.codebook} in {', '.join(map(str, quality))}; delete them and run again"
            )
        choices = (point.name, point.layer, point.clusters, point.normalisation, str(point.dedup).lower(), point.seed)
        row = dict(zip(CHOICES, map(str, choices), strict=True))
        row |= quality_cells(figures[point.codebook], point.dedup) | dict.fromkeys(trained_columns(), "")
        if folder := trained.get(point.name):
            scores = read_scores(folder, [point.rung], split)
            facts = model_facts(folder, point.rung, scores[point.rung, next(iter(TASKS))].seeds)
            row |= trained_cells(before, scores, facts, point, seed, analysis)
        rows.append(row)
    write_csv(out, sweep_columns(), rows)
