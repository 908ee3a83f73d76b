"""An entry of a leaderboard, made from the results of a finished run: leaderboard/entries/{name}/."""

import hashlib
import json
import os
import platform
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from speechladder.analysis.costs import read_job
from speechladder.analysis.csv_tables import write_csv
from speechladder.analysis.diagnosis import SCHEMA as DIAGNOSIS_SCHEMA
from speechladder.analysis.table import model_facts, read_scores, table_columns, table_row, token_facts
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.io.columns import batches
from speechladder.io.errors import UserError
from speechladder.io.files import atomic_folder, read_json, write_json
from speechladder.io.hashing import files_sha256
from speechladder.io.progress import say
from speechladder.io.tables import ITEM_TOKENS, SCORES, UNITS, read_table
from speechladder.leaderboard.contract import (
    FOLDER,
    INDEX,
    NAME,
    SCHEMA,
    Contract,
    World,
    check_run,
    check_stages,
    frozen,
    read_contract,
    run_record,
    shard_files,
    stage_versions,
)
from speechladder.lm.output import commit
from speechladder.report.page.sections.run import PACKAGES, installed, processor, trained_at
from speechladder.rungs.tokenizers import UNK
from speechladder.settings.tokenizer import portable_units
from speechladder.units.diagnostics.quality import entropy
from speechladder.workflow.rungs import reads_units

ENTRY, ANSWERS, TABLE, DIAGNOSIS = "entry.json", "scores.parquet", "table.csv", "diagnosis.json"
# A score without what the contract's index of items says of the item, and without layers.
ANSWER_COLUMNS = [
    field for field in SCORES if field.name not in INDEX.names[2:] and not field.name.startswith("layer_")
]
ANSWER = pa.schema([("task", pa.string()), *ANSWER_COLUMNS])
QUALITY = ("pnmi", "pnmi_100hz", "phone_purity", "bits_per_second", "entropy_bits")  # kept of units/quality.json
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_ROUNDING = 1e-6  # of a sum of likelihoods
_SCORE = ("task", "item", "nll", "tokens", "span_nll", "span_tokens")
_FLOATS = ("nll", "span_nll")  # columns that are stored byte by byte, which compresses better


def make_entry(
    results: Path,
    name: str,
    rung: str = "",
    contract: Path = FOLDER / f"{NAME}.json",
    out: Path = FOLDER / "entries",
    diagnosis: Path | None = None,
) -> None:
    """Write {out}/{name} from a finished run, after all its speech, items and settings were compared with the contract.

    Nothing is trained or scored. An entry of that name is replaced. Raises UserError if the run is not the contract's,
    or if models, items or files are missing.

    Args:
        results: results of the run
        name: name of the entry: small letters, digits and hyphens
        rung: the rung that was scored; not needed if the run has one
        contract: file of the contract
        out: folder of the entries
        diagnosis: diagnosis.json of the same units (make diagnose), if there is one
    """
    check_name(name)
    frozen_contract = read_contract(contract)
    rung = rung or only_rung(results)
    check_stages(results, stage_versions(), frozen_contract)
    world = check_run(results, frozen_contract)
    answers = read_answers(results, rung)
    check_answers(results / "scores" / rung, answers, frozen_contract)
    about = _about(results, name, rung, frozen_contract, world)
    found = read_diagnosis(diagnosis, about["units"], frozen_contract) if diagnosis and reads_units(rung) else None
    analysis, seed = frozen_contract.analysis, frozen_contract.settings["seed"]
    scores = read_scores(results, [rung])
    with atomic_folder(out / name) as folder:
        write_json(folder / ENTRY, about)
        _write_answers(folder / ANSWERS, answers)
        write_csv(folder / TABLE, table_columns(), [table_row(results, rung, scores, seed, analysis)])
        if found:
            write_json(folder / DIAGNOSIS, found)
    size = sum(path.stat().st_size for path in (out / name).iterdir())
    say(f"{out / name}: {len(answers):,} answers, {size / 1000:.0f} kB; now run make leaderboard")


def check_name(name: str) -> None:
    """Raise UserError unless `name` can be that of an entry."""
    if not _NAME.fullmatch(name):
        raise UserError(f"NAME={name}: write small letters, digits and single hyphens, such as hubert-l9-k500")


def only_rung(results: Path) -> str:
    """The rung of a run that has one. Raises UserError if it has none or several."""
    rungs = run_record(results).get("rungs", [])
    if len(rungs) != 1:
        raise UserError(f"{results}/run.json: rungs are {', '.join(rungs) or 'not noted'}; say which with --rung")
    return rungs[0]


# --- answers ---


def read_answers(results: Path, rung: str) -> pa.Table:
    """The scores of a rung on all tasks, as ANSWER. Raises UserError if they are not of the tokens that lie there."""
    parts = []
    for task in TASKS:
        path = results / "scores" / rung / f"{task}.parquet"
        table = read_table(path, SCORES)
        tokens = read_table(results / "benchmarks" / task / f"{rung}.parquet", ITEM_TOKENS)
        lengths = dict(zip(tokens["item"].to_pylist(), tokens["tokens"].combine_chunks().value_lengths().to_pylist()))
        for item, count in zip(table["item"].to_pylist(), table["tokens"].to_pylist()):
            if lengths.get(item) != count + 1:  # <s>
                raise UserError(
                    f"{path}: item '{item}' was scored with {count} tokens and has {(lengths.get(item) or 1) - 1}; the "
                    "scores are of other units: run snakemake to its end again"
                )
        parts.append(table.select(ANSWER.names[1:]).add_column(0, "task", pa.array([task] * len(table), pa.string())))
    order = [("task", "ascending"), ("item", "ascending"), ("seed", "ascending")]
    return pa.concat_tables(parts).cast(ANSWER).sort_by(order)


def check_answers(source: Path, answers: pa.Table, contract: Contract) -> None:
    """Raise UserError unless each of the contract's items was answered once by the model of each of its seeds."""
    seeds = sorted(set(answers["seed"].to_pylist()))
    if seeds != sorted(contract.seeds):
        raise UserError(f"{source}: models of the seeds {seeds}; {contract.name} has {contract.seeds}, all are needed")
    index = contract.index()
    wanted = {(*item, seed) for item in _columns(index, "task", "item") for seed in contract.seeds}
    found = [*_columns(answers, "task", "item", "seed")]
    for kind, rows in (("missing", wanted - set(found)), ("unknown", set(found) - wanted)):
        if rows:
            task, item, seed = min(rows)
            raise UserError(
                f"{source}: {len(rows)} answers are {kind}, such as item '{item}' of {task}, seed {seed}; an entry "
                f"answers the items of {contract.name}, all and no others"
            )
    if len(found) != len(wanted):
        raise UserError(f"{source}: {len(found)} answers to {len(wanted)} questions; some are there twice: score again")
    _check_values(source, answers)


def _check_values(source: Path, answers: pa.Table) -> None:
    """Raise UserError unless a span is a part of its item, and the models of all seeds read the same tokens."""
    lengths: dict[tuple[str, str], tuple[int, int]] = {}
    for task, item, nll, tokens, span_nll, span_tokens in _columns(answers, *_SCORE):
        if not (0 <= span_nll <= nll * (1 + _ROUNDING) and 0 < span_tokens <= tokens):
            raise UserError(
                f"{source}: item '{item}' of {task} has nll {nll} over {tokens} tokens and span_nll {span_nll} over "
                f"{span_tokens}; a span is a part of its item: score again"
            )
        if lengths.setdefault((task, item), (tokens, span_tokens)) != (tokens, span_tokens):
            raise UserError(f"{source}: item '{item}' of {task} has other tokens for another seed; score again")


def _columns(table: pa.Table, *names: str) -> Any:
    return zip(*(table[name].to_pylist() for name in names))


def _write_answers(path: Path, answers: pa.Table) -> None:
    bytewise = {name: "BYTE_STREAM_SPLIT" for name in _FLOATS if name in answers.schema.names}
    others = [name for name in answers.schema.names if name not in bytewise]
    pq.write_table(
        answers, path, compression="zstd", compression_level=19, use_dictionary=others, column_encoding=bytewise
    )


# --- what the entry says of itself ---


def _about(results: Path, name: str, rung: str, contract: Contract, world: World) -> dict[str, Any]:
    record = run_record(results)
    units = portable_units(record.get("units", {}))
    at = commit()
    return {
        "schema": SCHEMA,
        "name": name,
        "contract": {"name": contract.name, **asdict(world)},
        "rung": rung,
        "units": units,
        "units_sha256": _units_sha256(results) if reads_units(rung) else None,
        "tokens_sha256": files_sha256(_token_files(results, rung)),
        "settings": frozen(record),
        "stages": stage_versions(),
        "facts": _facts(results, rung, contract.seeds),
        "quality": _quality(results) if reads_units(rung) else None,
        "command": entry_command(name, rung, units),
        "commit": at.rstrip("+"),
        "clean": not at.endswith("+") and at != "unknown",
        "trained_at": trained_at(results, rung) or None,
        "packages": {package: found for package in PACKAGES if (found := installed(package))},
        "python": platform.python_version(),
        "machine": f"{processor()}, {os.cpu_count()} cores, {platform.system()}",
        "date": datetime.now(UTC).date().isoformat(),
        "costs": _costs(results, rung, record.get("units", {}).get("source") != "external"),
    }


def entry_command(name: str, rung: str, units: Mapping[str, Any]) -> str:
    """The command that makes an entry of these units."""
    words = [f"NAME={name}"]
    if units:
        given = ", ".join(f"{key}: {json.dumps(value)}" for key, value in units.items())
        words.append(f"UNITS={shlex.quote('{' + given + '}')}")
    return " ".join(["make entry", *words, *([f"RUNG={rung}"] if rung != "speech-hubert" else [])])


def _facts(results: Path, rung: str, seeds: list[int]) -> dict[str, float]:
    """Of the tokens and the models. `bits_per_second`: tokens a second times the entropy of a token, in training."""
    tokens, models = token_facts(results, rung), model_facts(results, rung, seeds)
    ids = np.fromfile(results / "tokens" / rung / "train.bin", np.uint16)
    bits = entropy(np.bincount(ids[ids > UNK])) * tokens["tokens_per_second"]
    return tokens | {"bits_per_second": bits} | models


def _quality(results: Path) -> dict[str, Any]:
    found = read_json(results / "units" / "quality.json")
    return {name: found[name] for name in QUALITY if name in found} | {"encoder": found.get("encoder")}


def _units_sha256(results: Path) -> str:
    """SHA-256 (hex) over the units of the corpus and of the items: each id, and its units as 16-bit integers."""
    out = hashlib.sha256()
    items = (results / "benchmarks" / task / "units.parquet" for task in TASKS)
    for path in (*shard_files(results, "units/*.parquet"), *items):
        for part in batches(path, UNITS, UNITS.names):
            for row in part.to_pylist():
                out.update(row["id"].encode() + b"\n" + np.asarray(row["units"], "<u2").tobytes())
    return out.hexdigest()


def _token_files(results: Path, rung: str) -> list[Path]:
    folder = results / "tokens" / rung
    return [folder / f"{split}.bin" for split in ("train", "valid", "test")] + [
        results / "benchmarks" / task / f"{rung}.parquet" for task in TASKS
    ]


def _costs(results: Path, rung: str, encodes: bool) -> dict[str, dict[str, float]]:
    """CPU and wall seconds of the stages that the entry's scores depend on, but for the speech and the items."""
    rules, found = ["tokenize_rung", "train_lm", "score_rung"], {}
    if reads_units(rung):  # else what lies there is of units that the rung does not read
        rules += ["extract_units", "extract_item_units", *(("sample_features", "train_kmeans") if encodes else ())]
    for rule in rules:
        every = sorted((results / "costs" / rule).glob("*.tsv"))
        jobs = [read_job(path) for path in every if path.stem == "all" or path.stem.isdigit() or _of(path, rung)]
        if jobs:
            # a job that ended before Snakemake measured it has no CPU time (NaN), which JSON cannot hold
            totals = {name: np.nansum([job[of] for job in jobs]) for name, of in (("cpu", "cpu_time"), ("wall", "s"))}
            found[rule] = {f"{name}_seconds": round(float(value), 1) for name, value in totals.items()}
    return found


def _of(path: Path, rung: str) -> bool:
    """Whether a file of costs is of a rung: {rung}.tsv or {rung}.seed{n}.tsv."""
    return path.name[:-4].partition(".")[0] == rung


def read_diagnosis(path: Path, units: Mapping[str, Any], contract: Contract) -> dict[str, Any]:
    """The diagnosis in a file. Raises UserError if it is of other units than `units`, the settings of the entry's, or
    was made under other conditions than the contract's."""
    found = read_json(path)
    if not isinstance(found, dict) or found.get("schema") != DIAGNOSIS_SCHEMA:
        raise UserError(f"{path}: no diagnosis of schema {DIAGNOSIS_SCHEMA}; make it again: make diagnose")
    if found.get("tokenizer") != dict(units):
        raise UserError(
            f"{path}: a diagnosis of the units {found.get('tokenizer')}, and the entry's are {dict(units)}; make it "
            "again with the UNITS= of the entry: make diagnose"
        )
    if found.get("conditions") != contract.diagnosis:
        raise UserError(
            f"{path}: a diagnosis under the conditions {found.get('conditions')}; those of {contract.name} are "
            f"{contract.diagnosis}: make diagnose without other settings in ARGS="
        )
    return found
