"""A plan as a page of text within 100 columns, and as JSON."""

import textwrap
from typing import Any

from speechladder.fetch.disk import free_space
from speechladder.io.progress import table_lines
from speechladder.plan.context import Context
from speechladder.plan.figures import Figure
from speechladder.plan.inputs import hub_models
from speechladder.plan.models import too_large
from speechladder.plan.rates import BASES
from speechladder.plan.report import Report
from speechladder.plan.stages import Plan, Stage, needs_room, unknown_hint

WIDTH = 100
LETTERS = {"measured": "m", "published": "p", "derived": "d", "assumed": "a"}
LEGEND = "m measured, p published, d derived by a formula, a assumed: the weakest that goes into a figure."
WALL = (
    "Hours on the wall: each stage spread over all GPUs or cores, a job on one of them, one stage after the other. "
    "CPU-hours leave out the core that waits for a GPU."
)


def as_text(report: Report) -> str:
    """The page."""
    context, plan = report.context, report.plan
    hours = context.hours
    lines = [
        *_wrapped(f"{report.title}, on {context.machine}: nothing has been started."),
        *_wrapped(
            f"{_number(hours.total)} h of speech, {_number(hours.train)} of them to train on "
            f"({hours.basis}: {hours.source})."
        ),
    ]
    if report.jobs.error:
        lines += ["", "Snakemake could not build the DAG, so jobs are those of a run that has not begun:"]
        for line in report.jobs.error.splitlines():
            lines += textwrap.wrap(line.strip(), WIDTH, initial_indent="  ", subsequent_indent="    ")
    if not plan.stages and not plan.unknown:
        return "\n".join([*lines, "", "Nothing is left to be done."])
    lines += ["", *table_lines(_stage_rows(plan))]
    if any(stage.name == "train" for stage in plan.stages):
        lines += ["", *table_lines(_model_rows(report))]
    lines += ["", *_download_lines(report), "", *_room_lines(report), "", LEGEND, *_wrapped(WALL), *_notes(report)]
    return "\n".join([*lines, "", *_rate_lines(context)])


def _stage_rows(plan: Plan) -> list[list[str]]:
    rows = [["stage", "jobs", "h of speech", "disk", "CPU-hours", "GPU-hours", "hours on the wall"]]
    return rows + [_cells(stage) for stage in (*plan.stages, plan.total)]


def _cells(stage: Stage) -> list[str]:
    cost = stage.cost
    figures = (stage.hours, cost.cpu, cost.gpu, stage.wall)
    hours, cpu, gpu, wall = (_figure(figure) for figure in figures)
    disk = f"{size(cost.disk.value)} {LETTERS[cost.disk.basis]}" if cost.disk.value else "-"
    return [stage.name, f"{stage.jobs:,}", hours, disk, cpu, gpu, wall]


def _model_rows(report: Report) -> list[list[str]]:
    kind = "GPU" if report.context.machine.gpus else "CPU"
    rows = [["model", "parameters", "vocabulary", "tokens/s", "tokens a pass", "steps", "tokens", f"{kind}-hours each"]]
    for m in report.plan.models:
        each = Figure(m.hours, (m.gpu if m.gpu.value else m.cpu).basis)
        rows.append(
            [m.rung, count(m.parameters), f"{m.vocabulary:,}", _figure(m.rate), count(m.pass_tokens), f"{m.steps:,}",
             count(m.tokens), _figure(each)]
        )  # fmt: skip
    return rows


def _download_lines(report: Report) -> list[str]:
    absent = [file for file in report.files if not file.there]
    if not report.files:
        return ["Nothing is downloaded.", *_hub_lines(report)]
    if not absent:
        return ["All downloads are there.", *_hub_lines(report)]
    listed = ", ".join(f"{file.name} ({size(file.bytes) if file.bytes else 'size not known'})" for file in absent)
    found = _wrapped(f"To be downloaded, {len(absent)} of {len(report.files)} files: {listed}.")
    return found + _hub_lines(report)


def _hub_lines(report: Report) -> list[str]:
    names = hub_models(report.context.settings)
    sizes = (f"{name} ({size(known) if known else 'size not known'})" for name, known in names.items())
    return _wrapped(f"From the model hub, unless they are in its cache: {', '.join(sizes)}.") if names else []


def _room_lines(report: Report) -> list[str]:
    fetched, written = needs_room(report.plan, report.files)
    places = {free_space(report.downloads_folder): fetched}
    here = free_space(report.directory)
    same = next((p for p in places if p[0].stat().st_dev == here[0].stat().st_dev), None)
    if same:
        places[same] += written
    else:
        places[here] = written
    lines = []
    for (folder, free), needed in places.items():
        verdict = "enough" if free > needed else f"LACKS {size(needed - free)}"
        lines += _wrapped(f"Disk of {folder}: needs {size(needed)}, has {size(free)} free: {verdict}.")
    return lines


def _notes(report: Report) -> list[str]:
    context, plan = report.context, report.plan
    notes = []
    training = any(stage.name == "train" for stage in plan.stages)
    if context.machine.gpus and training:
        memory = float(context.rates.content["gpus"][context.machine.gpu]["memory"])
        notes += [found for model in plan.models[:1] if (found := too_large(model, context.settings, memory))]
    if training:
        extra = max(model.while_training for model in plan.models)
        notes.append(
            "Models train to lm.max_steps or lm.max_passes here; validation may end them earlier. While one trains, "
            f"its checkpoints take {size(extra)} more."
        )
    if context.settings.alignment.aligner == "mfa":
        shard = context.hours.total / context.settings.corpus.shards
        extra = context.stored(shard, "bytes_mfa").value
        notes.append(f"While MFA aligns a shard, it takes some {size(extra)} more (assumed).")
    if plan.unknown:
        notes.append(f"Without an estimate: {unknown_hint(plan.unknown)}.")
    return [line for note in notes for line in _wrapped(note)]


def _rate_lines(context: Context) -> list[str]:
    """Every rate that went into the plan, under where it is from."""
    lines = [f"Rates, of {context.rates.path.name}; `python benchmarks/rates.py` measures them on your machine:"]
    by_source: dict[tuple[str, str], list[str]] = {}
    for name, rate in sorted(context.rates.used.items(), key=lambda item: (BASES.index(item[1].basis), item[0])):
        listed = by_source.setdefault((rate.basis, rate.source), [])
        listed.append(f"{name} {_number(rate.value)} {context.rates.unit(name)}".rstrip())
    for (basis, source), listed in by_source.items():
        text = f"{LETTERS[basis]} {'; '.join(listed)} ({source})"
        lines += textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ")
    return lines


def as_json(report: Report) -> dict[str, Any]:
    """The same figures: bytes, hours, and what each rests on."""
    context, plan = report.context, report.plan
    fetched, written = needs_room(plan, report.files)
    return {
        "plan": report.title,
        "machine": {"cpus": context.machine.cpus, "gpus": context.machine.gpus, "gpu": context.machine.gpu},
        "hours": {"train": context.hours.train, "other": context.hours.other, "basis": context.hours.basis,
                  "source": context.hours.source},
        "dry_run_error": report.jobs.error or None,
        "stages": [_stage_json(stage) for stage in (*plan.stages, plan.total)],
        "without_estimate": plan.unknown,
        "models": [
            {"rung": m.rung, "parameters": m.parameters, "vocabulary": m.vocabulary, "steps": m.steps,
             "tokens": m.tokens, "tokens_per_pass": m.pass_tokens, "cpu_hours": m.cpu.value, "gpu_hours": m.gpu.value}
            for m in plan.models
        ],
        "downloads": [{"name": f.name, "bytes": f.bytes, "there": f.there} for f in report.files],
        "bytes": {"downloads": fetched, "written": written},
        "free": {str(folder): free for folder, free in map(free_space, (report.downloads_folder, report.directory))},
        "rates": {
            name: {"value": rate.value, "unit": context.rates.unit(name), "basis": rate.basis, "source": rate.source}
            for name, rate in context.rates.used.items()
        },
    }  # fmt: skip


def _stage_json(stage: Stage) -> dict[str, Any]:
    figures = {"hours_of_speech": stage.hours, "disk_bytes": stage.cost.disk, "cpu_hours": stage.cost.cpu,
               "gpu_hours": stage.cost.gpu, "wall_hours": stage.wall}  # fmt: skip
    out: dict[str, Any] = {"stage": stage.name, "jobs": stage.jobs}
    return out | {name: {"value": f.value, "basis": f.basis} for name, f in figures.items()}


def size(number: float) -> str:
    """Bytes as 1.2 GB."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if number >= factor:
            return f"{_number(number / factor)} {unit}"
    return f"{number / 1e3:.0f} kB"


def count(number: float) -> str:
    """1.1 B, 88 M, 32 k."""
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


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)
