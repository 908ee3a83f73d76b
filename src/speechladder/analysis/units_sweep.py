"""results/units_sweep.csv: a row per choice of units, its quality, and factor C where a model was trained on it.

C is the step from phone-repeat to the point, as results/factors.csv has it for the run's own units: the relative
change of the accuracy, paired over the ids that both scored (analysis.factors). Every point is held against the same
phone-repeat.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from speechladder.analysis.accuracy import NORMS, generator
from speechladder.analysis.csv_tables import fixed, percent, write_csv
from speechladder.analysis.factors import compare
from speechladder.analysis.table import ACCURACIES, Scores, estimate, model_facts, read_scores
from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.settings import TASKS, Analysis, Point

BEFORE = "phone-repeat"  # factor C is the step from it
CHOICES = ("point", "layer", "clusters", "normalisation", "dedup", "kmeans_seed")
ABX = tuple(f"abx_{of}_{kind}" for of in ("features", "units", "centroids") for kind in ("within", "across"))
QUALITY = (
    *("phone_purity", "cluster_purity", "pnmi", "dead_clusters", "units_per_second", "entropy_bits"),
    *("bits_per_second", "speaker_bits", *ABX),
)
FACTOR = tuple(f"C_{task}_{norm}{end}" for task in TASKS for norm in NORMS for end in ("", "_low", "_high"))
TRAINED = ("valid_bits_per_second", *ACCURACIES, *FACTOR)
COLUMNS = (*CHOICES, *QUALITY, *TRAINED)


def _cell(value: float | None, decimals: int) -> str:
    return "" if value is None else fixed(value, decimals)


def quality_cells(figures: Mapping[str, Any], dedup: bool) -> dict[str, str]:
    """The columns QUALITY of a codebook's figures (units.sweep.measure); rates and ABX are those of the point."""
    said = figures["dedup"] if dedup else figures | {"units_per_second": 50.0}
    abx = figures["abx"] or {}
    found = {
        "features": abx.get("features") or {},
        "units": (abx.get("dedup" if dedup else "units") or {}).get("symbols"),
    }
    found["centroids"] = None if dedup else (abx.get("units") or {}).get("centroids")
    out = {
        "phone_purity": fixed(figures["phone_purity"], 4),
        "cluster_purity": fixed(figures["cluster_purity"], 4),
        "pnmi": _cell(figures["pnmi"], 4),
        "dead_clusters": fixed(figures["dead_clusters"], 0),
        "units_per_second": fixed(said["units_per_second"], 2),
        "entropy_bits": fixed(said["entropy_bits"], 3),
        "bits_per_second": fixed(said["bits_per_second"], 1),
        "speaker_bits": _cell((figures["speaker"] or {}).get("mi_excess_bits"), 4),
    }
    for of, errors in found.items():
        for kind in ("within", "across"):
            out[f"abx_{of}_{kind}"] = _cell((errors or {}).get(kind), 2)
    return out


def trained_cells(
    before: Scores, scores: Scores, facts: Mapping[str, float], point: Point, seed: int, analysis: Analysis
) -> dict[str, str]:
    """The columns TRAINED of a point from the scores of phone-repeat and its own."""
    out = {"valid_bits_per_second": fixed(facts["valid_bits_per_second"], 3)}
    for task in TASKS:
        after = scores[point.rung, task]
        for norm in NORMS:
            found = estimate(after, point.rung, task, norm, seed, analysis)
            out |= zip((f"{task}_{norm}{end}" for end in ("", "_low", "_high")), map(percent, found), strict=True)
            random = generator(seed, "units sweep", point.name, task, norm)
            start = before[BEFORE, task].outcomes(norm)
            try:
                step = compare(start, after.outcomes(norm), analysis.confidence, analysis.resamples, random)
            except ValueError:
                raise UserError(f"{point.name}, {task}: shares no pair with {BEFORE}; score both again") from None
            change = map(percent, step.relative) if step.relative else ("", "", "")
            out |= zip((f"C_{task}_{norm}{end}" for end in ("", "_low", "_high")), change, strict=True)
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
    """Write `out`, rows in the order of `points`.

    `quality` are the layers' figures; `trained` maps the names of points to the folders that hold their lm/ and
    scores/; `results` is the run's own, with phone-repeat's; `split` the one of sLM21 that table.csv has. Raises
    UserError naming what is missing.
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
        row |= quality_cells(figures[point.codebook], point.dedup) | dict.fromkeys(TRAINED, "")
        if folder := trained.get(point.name):
            scores = read_scores(folder, [point.rung], split)
            facts = model_facts(folder, point.rung, scores[point.rung, TASKS[0]].seeds)
            row |= trained_cells(before, scores, facts, point, seed, analysis)
        rows.append(row)
    write_csv(out, COLUMNS, rows)
