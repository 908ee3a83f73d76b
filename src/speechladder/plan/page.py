"""A plan as a page of text within 100 columns, and as JSON."""

import os
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from json import dumps
from pathlib import Path
from typing import Any

from speechladder.fetch.disk import free_space
from speechladder.fetch.download import downloads_folder
from speechladder.io.progress import table_lines
from speechladder.plan.costs import too_large
from speechladder.plan.inputs import find_machine, find_target, hub_models
from speechladder.plan.rates import BASES, FILE, Figure, Rates
from speechladder.plan.stages import Plan, plan_run
from speechladder.workflow.presets import preset_file

WIDTH = 100
SIZES, COUNTS = {"TB": 1e12, "GB": 1e9, "MB": 1e6}, {"B": 1e9, "M": 1e6, "k": 1e3}
LEGEND = "m measured, p published, d derived by a formula, a assumed; a figure shows the weakest of its terms."
WALL = (
    "Hours on the wall: each stage is spread over all GPUs or cores, and one stage follows the other. CPU-hours leave "
    "out the core that waits for a GPU."
)
Rows = list[list[str]]


def print_plan(
    preset: list[str] = (),
    config: list[str] = (),
    directory: Path | None = None,
    target: str | None = None,
    cpus: int | None = None,
    gpus: int | None = None,
    gpu: str | None = None,
    rates: Path | None = None,
    json: bool = False,
) -> None:
    """Print what a run would take, before anything is spent: jobs, hours of speech, disk, CPU-hours and GPU-hours.

    The jobs are those that `snakemake -n` lists, so of a half-finished run the rest is planned. The page says on what
    each figure rests.

        python scripts/plan.py --preset paper
        python scripts/plan.py --preset librispeech-100 --gpus 1 --gpu A100-80GB --config corpus='{hours: 50}'
        python scripts/plan.py --target results/scaling.csv

    Args:
        preset: presets, by name or file; later ones override earlier ones
        config: settings as snakemake takes them, KEY=VALUE
        directory: folder of the run, in which results/ is or will be, as snakemake's option
        target: file to be made, such as results/units_sweep.csv; default: that of the last preset's line `# target:`,
            else results/table.csv
        cpus: CPU cores; default: those of the preset's machine, else of this one
        gpus: GPUs; default: likewise
        gpu: name of the GPU under 'gpus' of the rates, such as A100-80GB
        rates: file of rates, as benchmarks/rates.py writes it; default: benchmarks/rates.json
        json: print JSON
    """
    files = [preset_file(name).resolve() for name in preset]
    book = Rates.load(rates or FILE)
    machine = find_machine(files[-1] if files else None, book, cpus, gpus, gpu)
    if directory:
        directory.mkdir(parents=True, exist_ok=True)
        os.chdir(directory)
    plan = plan_run(files, config, book, machine, target or find_target(files))
    try:
        print(dumps(as_json(plan), indent=2) if json else as_text(plan), flush=True)  # noqa: T201
    except BrokenPipeError:  # of `| head`; Python would fail again when it closes stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def as_text(plan: Plan) -> str:
    """Return the page."""
    return "\n".join(line for part in _parts(plan) for line in _lines(part))


def _lines(part: str | Rows) -> list[str]:
    """Lay out a table, or wrap a paragraph; one that is indented, further from its second line on."""
    if not isinstance(part, str):
        return table_lines(part)
    indent = "    " if part.startswith(" ") else ""
    out = textwrap.wrap(part, WIDTH, break_long_words=False, break_on_hyphens=False, subsequent_indent=indent)
    return out or [""]


def _parts(plan: Plan) -> Iterator[str | Rows]:
    """Yield the paragraphs and tables of the page."""
    context, measured = plan.context, plan.context.measured
    hours = context.hours
    yield f"{plan.title}, on {context.machine}: nothing has been started."
    total, train = map(_number, (hours.total, hours.train))
    yield f"{total} h of speech, {train} of them to train on ({hours.basis}: {hours.source})."
    for reason in measured.reasons:
        yield f"Figures in {measured.results}/ do not count as measured: {reason}."
    for title, text in {
        "The run would not start in this folder:": plan.conflict,
        "Snakemake could not build the DAG. These are the jobs of results/table.csv in a new folder:": plan.error,
    }.items():
        if text:
            yield from ("", title, *(f"  {line.strip()}" for line in text.splitlines()))
    yield ""
    if not plan.stages and not plan.unknown:
        yield "Nothing is left to be done."
        return
    yield _stage_rows(plan)
    if plan.models:
        yield from ("", _model_rows(plan))
    yield from ("", *_downloads(plan), "", *_room(plan), "", LEGEND, WALL, *_notes(plan), "", *_rates(plan))


def _stage_rows(plan: Plan) -> Rows:
    rows = [["stage", "jobs", "h of speech", "disk", "CPU-hours", "GPU-hours", "hours on the wall"]]
    for stage in (*plan.stages, plan.total):
        cells = [_figure(figure, name == "disk_bytes") for name, figure in stage.figures.items()]
        rows.append([stage.name, f"{stage.jobs:,}", *cells])
    return rows


def _model_rows(plan: Plan) -> Rows:
    """Return a row for each model; if names are long, without tokens per second and per pass."""
    kind = "GPU" if plan.context.machine.gpus else "CPU"
    rows = [["model", "parameters", "vocabulary", "tokens/s", "tokens a pass", "steps", "tokens", f"{kind}-hours each"]]
    for m in plan.models:
        rows.append(
            [m.name, count(m.parameters), f"{m.vocabulary:,}", _figure(m.rate), count(m.pass_tokens), f"{m.steps:,}",
             count(m.tokens), _figure(m.cost.hours)]
        )  # fmt: skip
    return rows if max(map(len, table_lines(rows))) <= WIDTH else [row[:3] + row[5:] for row in rows]


def _downloads(plan: Plan) -> Iterator[str]:
    files, names = plan.context.files, hub_models(plan.context.settings)
    absent = _sized({file.name: file.bytes for file in files if not file.there})
    if absent:
        yield f"To be downloaded, {len(absent)} of {len(files)} files: {', '.join(absent)}."
    else:
        yield "All downloads are there." if files else "Nothing is downloaded."
    if names:
        yield f"From the model hub, unless they are in its cache: {', '.join(_sized(names))}."


def _sized(files: dict[str, float | None]) -> list[str]:
    return [f"{name} ({size(known) if known else 'size not known'})" for name, known in files.items()]


def _folders(plan: Plan) -> dict[str, Path]:
    """Return the folders that the run fills, by what it writes there."""
    return {"downloads": downloads_folder(plan.context.settings.downloads), "written": Path.cwd()}


def _room(plan: Plan) -> Iterator[str]:
    """Yield a line for each file system that the run fills."""
    disks: dict[int, tuple[Path, float]] = {}
    for kind, folder in _folders(plan).items():
        place, _ = free_space(folder)
        first, needed = disks.get(place.stat().st_dev, (place, 0.0))
        disks[place.stat().st_dev] = first, needed + plan.room[kind]
    for place, needed in disks.values():
        free = free_space(place)[1]
        verdict = "enough" if free > needed else f"LACKS {size(needed - free)}"
        yield f"Disk of {place}: needs {size(needed)}, has {size(free)} free: {verdict}."


def _notes(plan: Plan) -> Iterator[str]:
    context = plan.context
    if plan.models:
        memory = float(context.rates.content["gpus"][context.machine.gpu]["memory"]) if context.machine.gpus else None
        too_much = memory and too_large(plan.models[0], context.settings, memory)
        if too_much:
            yield too_much
        extra = max(model.while_training for model in plan.models)
        yield (
            "The models of this plan train to lm.max_steps, lm.max_passes or lm.max_tokens; validation may end them "
            f"earlier. While one trains, its checkpoints take {size(extra)} more."
        )
    if context.settings.alignment.aligner == "mfa":
        extra = context.disk(context.shard, "bytes_mfa").disk.value
        yield f"While MFA aligns a shard, it takes some {size(extra)} more (assumed)."
    if plan.unknown:
        listed = ", ".join(f"{rule} ({number})" for rule, number in plan.unknown.items())
        yield f"Rules without an estimate, and their jobs: {listed}."


def _rates(plan: Plan) -> Iterator[str]:
    """Yield every rate that the plan counts with, grouped by its source."""
    rates = plan.context.rates
    yield f"Rates in {rates.path.name}; `python benchmarks/rates.py` measures them on your machine:"
    by_source: dict[tuple[str, str], list[str]] = {}
    for name, rate in sorted(rates.used.items(), key=lambda item: (BASES.index(item[1].basis), item[0])):
        listed = by_source.setdefault((rate.basis, rate.source), [])
        listed.append(f"{name} {_number(rate.value)} {rate.unit}".rstrip())
    for (basis, source), listed in by_source.items():
        yield f"  {basis[0]} {'; '.join(listed)} ({source})"


def as_json(plan: Plan) -> dict[str, Any]:
    """Return the same figures, in bytes and hours, each with its basis."""
    context = plan.context
    return {
        "plan": plan.title,
        "machine": asdict(context.machine),
        "hours": asdict(context.hours),
        "not_measured": context.measured.reasons,
        "conflict": plan.conflict or None,
        "dry_run_error": plan.error or None,
        "stages": [
            {"stage": stage.name, "jobs": stage.jobs} | {name: asdict(f) for name, f in stage.figures.items()}
            for stage in (*plan.stages, plan.total)
        ],
        "without_estimate": plan.unknown,
        "models": [asdict(model) for model in plan.models],
        "downloads": [asdict(file) for file in context.files],
        "bytes": plan.room,
        "free": {str(place): free for place, free in map(free_space, _folders(plan).values())},
        "rates": {name: asdict(rate) for name, rate in context.rates.used.items()},
    }


def size(number: float) -> str:
    """Write a number of bytes to read: 1.2 GB."""
    return _scaled(number, SIZES) or f"{number / 1e3:.0f} kB"


def count(number: float) -> str:
    """Write a number to read: 1.1 B, 88.0 M, 3.2 k."""
    return _scaled(number, COUNTS) or f"{number:.0f}"


def _scaled(number: float, units: dict[str, float]) -> str:
    return next((f"{_number(number / factor)} {unit}" for unit, factor in units.items() if number >= factor), "")


def _figure(figure: Figure, is_bytes: bool = False) -> str:
    """Write a figure with the first letter of its basis, as the legend explains."""
    return f"{(size if is_bytes else _number)(figure.value)} {figure.basis[0]}" if figure.value else "-"


def _number(value: float) -> str:
    if value and value < 0.01:
        return "<0.01" if value < 0.005 else "0.01"
    if value >= 1e9:
        return f"{value:.3g}"
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"
