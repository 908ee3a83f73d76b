"""A plan as a page of text within 100 columns, and as JSON."""

import os
import sys
import textwrap
from dataclasses import asdict
from json import dumps
from pathlib import Path
from typing import Any

from speechladder.fetch.disk import free_space
from speechladder.io.progress import size_text, table_lines
from speechladder.plan.context import Context
from speechladder.plan.downloads import hub_models
from speechladder.plan.figures import BASES, Figure
from speechladder.plan.machine import find_machine
from speechladder.plan.models import too_large
from speechladder.plan.rates import FILE, Rates
from speechladder.plan.report import Report, plan_run
from speechladder.plan.stages import Plan
from speechladder.workflow.presets import preset_file

WIDTH = 100
LETTERS = {"measured": "m", "published": "p", "derived": "d", "assumed": "a"}
LEGEND = "m measured, p published, d derived by a formula, a assumed; a figure shows the weakest of its terms."
WALL = (
    "Hours on the wall: each stage is spread over all GPUs or cores, and one stage follows the other. CPU-hours leave "
    "out the core that waits for a GPU."
)


def print_plan(
    preset: list[str] = (),
    config: list[str] = (),
    directory: Path | None = None,
    target: str = "results/table.csv",
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
        target: file to be made, such as results/units_sweep.csv or results/scaling.csv
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
    report = plan_run(files, config, book, machine, target)
    try:
        print(dumps(as_json(report), indent=2) if json else as_text(report), flush=True)  # noqa: T201
    except BrokenPipeError:  # of `| head`; Python would fail again when it closes stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def as_text(report: Report) -> str:
    """Return the page."""
    context, plan = report.context, report.plan
    hours = context.hours
    lines = [
        *_wrapped(f"{report.title}, on {context.machine}: nothing has been started."),
        *_wrapped(
            f"{_number(hours.total)} h of speech, {_number(hours.train)} of them to train on "
            f"({hours.basis}: {hours.source})."
        ),
    ]
    for reason in context.measured.reasons:
        lines += _wrapped(f"Figures in {context.measured.results}/ do not count as measured: {reason}.")
    if report.conflict:
        lines += ["", "The run would not start in this folder:", *_indented(report.conflict)]
    if report.jobs.error:
        lines += ["", "Snakemake could not build the DAG. These are the jobs of results/table.csv in a new folder:"]
        lines += _indented(report.jobs.error)
    if not plan.stages and not plan.unknown:
        return "\n".join([*lines, "", "Nothing is left to be done."])
    lines += ["", *table_lines(_stage_rows(plan))]
    if plan.models:
        lines += ["", *_model_table(report)]
    lines += ["", *_download_lines(report), "", *_room_lines(report), "", LEGEND, *_wrapped(WALL), *_notes(report)]
    return "\n".join([*lines, "", *_rate_lines(context)])


def _indented(text: str) -> list[str]:
    lines = (line.strip() for line in text.splitlines())
    return [part for line in lines for part in _wrapped(line, initial_indent="  ", subsequent_indent="    ")]


def _stage_rows(plan: Plan) -> list[list[str]]:
    rows = [["stage", "jobs", "h of speech", "disk", "CPU-hours", "GPU-hours", "hours on the wall"]]
    for stage in (*plan.stages, plan.total):
        figures = stage.figures | {"disk_bytes": Figure()}
        cells = {name: _figure(figure) for name, figure in figures.items()}
        if stage.cost.disk.value:
            cells["disk_bytes"] = f"{size_text(stage.cost.disk.value)} {LETTERS[stage.cost.disk.basis]}"
        rows.append([stage.name, f"{stage.jobs:,}", *cells.values()])
    return rows


def _model_table(report: Report) -> list[str]:
    """Return a line for each model; if names are long, without tokens per second and per pass."""
    kind = "GPU" if report.context.machine.gpus else "CPU"
    rows = [["model", "parameters", "vocabulary", "tokens/s", "tokens a pass", "steps", "tokens", f"{kind}-hours each"]]
    for m in report.plan.models:
        rows.append(
            [m.name, count(m.parameters), f"{m.vocabulary:,}", _figure(m.rate), count(m.pass_tokens), f"{m.steps:,}",
             count(m.tokens), _figure(m.cost.hours)]
        )  # fmt: skip
    lines = table_lines(rows)
    return lines if max(map(len, lines)) <= WIDTH else table_lines([row[:3] + row[5:] for row in rows])


def _download_lines(report: Report) -> list[str]:
    files, names = report.context.files, hub_models(report.context.settings)
    absent = [_sized(file.name, file.bytes) for file in files if not file.there]
    if absent:
        lines = _wrapped(f"To be downloaded, {len(absent)} of {len(files)} files: {', '.join(absent)}.")
    else:
        lines = ["All downloads are there." if files else "Nothing is downloaded."]
    if names:
        listed = ", ".join(_sized(*item) for item in names.items())
        lines += _wrapped(f"From the model hub, unless they are in its cache: {listed}.")
    return lines


def _sized(name: str, known: float | None) -> str:
    return f"{name} ({size_text(known) if known else 'size not known'})"


def _room_lines(report: Report) -> list[str]:
    """Return a line for each file system that the run fills."""
    room, needed = report.plan.room, {}
    for folder, amount in ((report.downloads_folder, room["downloads"]), (report.directory, room["written"])):
        place = free_space(folder)[0]
        same = next((other for other in needed if other.stat().st_dev == place.stat().st_dev), place)
        needed[same] = needed.get(same, 0.0) + amount
    lines = []
    for place, amount in needed.items():
        free = free_space(place)[1]
        verdict = "enough" if free > amount else f"LACKS {size_text(amount - free)}"
        lines += _wrapped(f"Disk of {place}: needs {size_text(amount)}, has {size_text(free)} free: {verdict}.")
    return lines


def _notes(report: Report) -> list[str]:
    context, plan, notes = report.context, report.plan, []
    if context.machine.gpus and plan.models:
        memory = float(context.rates.content["gpus"][context.machine.gpu]["memory"])
        notes += filter(None, [too_large(plan.models[0], context.settings, memory)])
    if plan.models:
        extra = max(model.while_training for model in plan.models)
        notes.append(
            "The models of this plan train to lm.max_steps, lm.max_passes or lm.max_tokens; validation may end them "
            f"earlier. While one trains, its checkpoints take {size_text(extra)} more."
        )
    if context.settings.alignment.aligner == "mfa":
        extra = context.disk(context.shard, "bytes_mfa").disk.value
        notes.append(f"While MFA aligns a shard, it takes some {size_text(extra)} more (assumed).")
    if plan.unknown:
        listed = ", ".join(f"{rule} ({number})" for rule, number in plan.unknown.items())
        notes.append(f"Rules without an estimate, and their jobs: {listed}.")
    return [line for note in notes for line in _wrapped(note)]


def _rate_lines(context: Context) -> list[str]:
    """Return every rate that the plan counts with, grouped by its source."""
    lines = [f"Rates in {context.rates.path.name}; `python benchmarks/rates.py` measures them on your machine:"]
    by_source: dict[tuple[str, str], list[str]] = {}
    for name, rate in sorted(context.rates.used.items(), key=lambda item: (BASES.index(item[1].basis), item[0])):
        listed = by_source.setdefault((rate.basis, rate.source), [])
        listed.append(f"{name} {_number(rate.value)} {context.rates.unit(name)}".rstrip())
    for (basis, source), listed in by_source.items():
        lines += _indented(f"{LETTERS[basis]} {'; '.join(listed)} ({source})")
    return lines


def as_json(report: Report) -> dict[str, Any]:
    """Return the same figures, in bytes and hours, each with its basis."""
    context, plan = report.context, report.plan
    return {
        "plan": report.title,
        "machine": asdict(context.machine),
        "hours": asdict(context.hours),
        "not_measured": context.measured.reasons,
        "conflict": report.conflict or None,
        "dry_run_error": report.jobs.error or None,
        "stages": [
            {"stage": stage.name, "jobs": stage.jobs} | {name: asdict(f) for name, f in stage.figures.items()}
            for stage in (*plan.stages, plan.total)
        ],
        "without_estimate": plan.unknown,
        "models": [asdict(model) for model in plan.models],
        "downloads": [asdict(file) for file in context.files],
        "bytes": plan.room,
        "free": {str(folder): free for folder, free in map(free_space, (report.downloads_folder, report.directory))},
        "rates": {name: asdict(rate) | {"unit": context.rates.unit(name)} for name, rate in context.rates.used.items()},
    }


def count(number: float) -> str:
    """Write a number to read: 1.1 B, 88.0 M, 3.2 k."""
    for unit, factor in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= factor:
            return f"{_number(number / factor)} {unit}"
    return f"{number:.0f}"


def _figure(figure: Figure) -> str:
    return f"{_number(figure.value)} {LETTERS[figure.basis]}" if figure.value else "-"


def _number(value: float) -> str:
    if value and value < 0.01:
        return "<0.01" if value < 0.005 else "0.01"
    if value >= 1e9:
        return f"{value:.3g}"
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _wrapped(text: str, **indents: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False, **indents)
