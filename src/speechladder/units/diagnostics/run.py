"""Measure the quality of a run's units, whether they come from an encoder or from the user's own tokenizer."""

from collections.abc import Sequence
from pathlib import Path

from speechladder.io.errors import UserError, paired
from speechladder.units.diagnostics.external import write_external_quality
from speechladder.units.diagnostics.quality import write_quality


def measure_units(
    cuts: list[Path],
    alignment: list[Path],
    units: list[Path],
    out: Path,
    centroids: Path | None = None,
    clusters: int = 0,
    features_abx: Path | None = None,
    abx_minutes: float = 0.0,
    items: Sequence[Path] = (),
    item_units: Sequence[Path] = (),
    seed: int = 0,
) -> None:
    """Compare the units with phones, speakers and voices.

    Raise UserError if an input is missing, or if no utterance has both units and an alignment.

    Args:
        cuts: corpus/cuts.{shard}.jsonl.gz of every shard
        alignment: alignment/{shard}.parquet of every shard, in the same order
        units: units/{shard}.parquet of every shard, in the same order
        out: units/quality.json to write
        centroids: units/centroids.safetensors; external units have none
        clusters: the number of different units, if there is no --centroids
        features_abx: units/abx.json: ABX of the features, which scripts/features_abx.py measured
        abx_minutes: speech for ABX in minutes; 0 for no ABX
        items: benchmarks/{task}/items.parquet
        item_units: benchmarks/{task}/units.parquet of the same tasks, in the same order
        seed: seed of the drawing
    """
    paired(cuts=cuts, alignment=alignment, units=units)
    if len(items) != len(item_units):
        raise UserError("--items and --item-units must name the same tasks")
    tasks = {path.parent.name: (path, of_items) for path, of_items in zip(items, item_units, strict=True)}
    if centroids:
        write_quality(cuts, alignment, units, centroids, tasks, out, seed, abx_minutes, features_abx)
    elif clusters:
        write_external_quality(cuts, alignment, units, clusters, tasks, out, seed, abx_minutes)
    else:
        raise UserError("--centroids or --clusters is needed")
