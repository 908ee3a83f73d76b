"""A synthetic results folder with all that the page shows; used by its tests, with and without a browser."""

import os
from pathlib import Path

import page_sounds
from ladder_results import SHAPE, make

from speechladder.analysis import baselines, continuation, costs, curves, factors, rejected, table, types
from speechladder.analysis.csv_tables import read_csv, write_csv
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.io.audio import encode_flac
from speechladder.io.files import write_json
from speechladder.io.tables import ITEMS, write_table
from speechladder.settings import Analysis, Settings, tracked

RUNGS = tuple(SHAPE)[:6]
ANALYSIS = Analysis(resamples=200)


def make_run(results: Path, rungs=RUNGS, seeds=(0,), spoken=True, said="", **options) -> Path:
    """A finished run of these rungs; `said` goes into the texts of its items."""
    make(results, rungs, seeds, **{"ids": 40, "layers": 3, "learning": 2} | options)
    scores = table.read_scores(results, rungs)
    continuation.write_continuation(results, [], 0, ANALYSIS)
    for write in (
        *(table.write_table, factors.write_factors, types.write_types),
        *(curves.write_layers, curves.write_learning),
    ):
        write(results, rungs, scores, 0, ANALYSIS)
    _lower_means(results)
    costs.write_costs(results, costs.job_names(2, rungs, seeds))
    rejected.write_rejected(results, 1)
    _baselines(results, rungs)
    _qualities(results)
    if spoken:
        _continuations(results, rungs)
    for task in TASKS:
        _items(results, task, options.get("ids", 40), said)
    settings = tracked(Settings()) | {"rungs": list(rungs)}
    settings["lm"]["seeds"] = list(seeds)
    page_sounds.write_utterance(results, rungs)
    if spoken:
        page_sounds.write_prompts(results, rungs)
    write_json(results / "run.json", {"schema": 1, "version": "0.0.1", "settings": settings})
    set_times(results)
    return results


def _lower_means(results: Path) -> None:
    """The items of `make` have as many tokens in both halves, so that the norms agree; here the mean gets less."""
    rows = read_csv(results / "table.csv")
    for row in rows:
        row |= {name: f"{0.9 * float(value):.1f}" for name, value in row.items() if "_mean" in name}
    write_csv(results / "table.csv", table.table_columns(), rows)


def set_times(results: Path, gap: float = 0.0) -> None:
    """Let the jobs end one after another, with `gap` seconds between them, as their benchmark files say."""
    now = 1_700_000_000.0
    for path in sorted((results / "costs").glob("*/*.tsv")):
        now += costs.read_benchmark(path)["s"] + gap
        os.utime(path, (now, now))


def _baselines(results: Path, rungs) -> None:
    cells = [(rung, task, name) for rung in rungs for task in TASKS for name in baselines.BASELINES]
    rows = [
        dict.fromkeys(baselines.COLUMNS, "") | {"rung": rung, "task": task, "baseline": name, "sum": f"{50 + n % 40}.0"}
        for n, (rung, task, name) in enumerate(cells)
    ]
    write_csv(results / "baselines.csv", baselines.COLUMNS, rows)


def _qualities(results: Path) -> None:
    encoder = {"encoder": "hubert-micro", "sha256": "ab" * 32, "layer": 3}
    figures = {"pnmi": 0.61, "pnmi_100hz": 0.58, "phone_purity": 0.58, "mean_run_frames": 1.66, "abx": None}
    write_json(results / "units" / "quality.json", {"encoder": encoder, **figures})
    write_json(results / "alignment" / "quality.json", {"within_20ms": 0.75, "phone_error_rate": 0.047})


def _continuations(results: Path, rungs) -> None:
    empty = dict.fromkeys(continuation.COLUMNS, "")
    rows = []
    for n, rung in enumerate(rungs):
        value = 16.0 * 2.3**n
        known = {"rung": rung, "ppl": value, "ppl_low": value * 0.8, "ppl_high": value * 1.3, "ceiling": 15.0 + n}
        rows.append(empty | known | {"text_ceiling": 15.0, "floor": 9000.0, "babble": 3000.0})
    write_csv(results / "continuation.csv", continuation.COLUMNS, rows)


def _items(results: Path, task: str, ids: int, said: str) -> None:
    sounds = {correct: encode_flac(page_sounds.tone(0.3, pitch)) for correct, pitch in ((True, 300), (False, 200))}
    rows = [
        dict.fromkeys(ITEMS.names)
        | {
            "item": f"{n:04d}|{'good' if correct else 'bad'}|v0",
            "id": f"{n:04d}",
            "voice": "v0",
            "correct": correct,
            "two": "",
            "text": f"{said}{task} {n} {correct}",
            "type": "t",
            "split": "",
            "words": [],
            "phones": [{"label": "AH", "start": 0.0, "end": 0.3}],
            "seconds": 0.3,
            "audio": sounds[correct],
        }
        for n in range(ids)
        for correct in (True, False)
    ]
    write_table(results / "benchmarks" / task / "items.parquet", rows, ITEMS)
