"""The frozen contract of a leaderboard: the speech, the items and the settings that all entries share.

Speech and items are known by hashes of what the models and the scores depend on. Of audio that is the decoded 16-bit
samples, whatever the files' compression: each utterance as the cut that its units are made of, each item as it is
stored. Settings and the versions of stages are kept as values, so that an error can name the one that differs.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from speechladder.analysis.diagnosis import conditions
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.corpora.cuts import Cut, read_cuts
from speechladder.io.audio import AudioError, pcm, read_audio
from speechladder.io.errors import UserError
from speechladder.io.files import read_json, write_json
from speechladder.io.hashing import files_sha256
from speechladder.io.progress import progress
from speechladder.io.tables import ALIGNMENT, ITEMS, UTTERANCES, read_table, write_table
from speechladder.report.page.sections.run import flat
from speechladder.settings import STAGES, Analysis, Settings, tracked
from speechladder.workflow.inputs import Inputs
from speechladder.workflow.presets import HOME, configuration, preset_file
from speechladder.workflow.record import Record, read_record

SCHEMA = 1  # of a contract and of an entry; raise it when their fields change meaning
FOLDER = HOME / "leaderboard"
NAME = "ladder-v1"
# The stages of which an entry's scores depend, whatever its units are. The stages of the speech are not versioned here:
# the hashes say whether they made the same.
STAGES_OF_SCORES = ("select_utterances", "tokenize_rung", "train_lm", "tokenize_items", "score_rung")
STAGES_OF_WORLD = ("build_corpus", "speak_corpus", "align", "make_items")
# The entry's own choices, and what is scored beside the items, which changes no score of them.
FREE = {"rungs", "scores.layers", "scores.learning", "scores.learning_pairs"}
INDEX = pa.schema(
    [("task", pa.string()), *(ITEMS.field(name) for name in ("item", "id", "voice", "correct", "type", "split", "two"))]
)
PARTS = ("texts", "audio", "alignment", "items")  # the hashes


@dataclass(frozen=True)
class World:
    """What the speech and the items of a run are: SHA-256 of each part (hex), and how much there is."""

    texts: str
    audio: str
    alignment: str
    items: dict[str, str]  # by task
    utterances: int
    seconds: float


@dataclass(frozen=True)
class Contract:
    """What all entries share. `path` is its file; the index of its items lies beside it."""

    path: Path
    name: str
    world: World
    settings: dict[str, Any]  # section.field -> value
    stages: dict[str, Any]  # rule -> version
    index_sha256: str
    diagnosis: dict[str, Any]  # the conditions of a diagnosis of an entry's units

    @property
    def seeds(self) -> list[int]:
        """The seeds of the models of an entry."""
        return list(self.settings["lm.seeds"])

    @property
    def analysis(self) -> Analysis:
        """The settings of the intervals."""
        return Analysis(**{name: self.settings[f"analysis.{name}"] for name in Analysis.model_fields})

    def index(self) -> pa.Table:
        """The items, as INDEX. Raises UserError if the file is not the contract's."""
        path = index_file(self.path)
        table = read_table(path, INDEX)
        if files_sha256([path]) != self.index_sha256:
            raise UserError(f"{path}: is not the index of {self.path}; restore it from git")
        return table


def index_file(contract: Path) -> Path:
    """The table of a contract's items."""
    return contract.with_suffix(".items.parquet")


def read_contract(path: Path = FOLDER / f"{NAME}.json") -> Contract:
    """Read a contract. Raises UserError if the file is missing or of another schema."""
    found = read_json(path)
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise UserError(f"{path}: no contract of schema {SCHEMA}; restore it from git")
    known = {name: found[name] for name in ("name", "settings", "stages", "index_sha256", "diagnosis")}
    return Contract(path, world=World(**found["world"]), **known)


def frozen_fields() -> list[str]:
    """The settings, as section.field, that a contract fixes: what its stages read, but for units and `FREE`."""
    rules = (*STAGES_OF_WORLD, *STAGES_OF_SCORES, "make_table")
    read = {field for rule in rules for field in STAGES[rule].reads}
    return sorted(field for field in read - FREE if not field.startswith("units."))


def frozen(record: Record) -> dict[str, Any]:
    """The frozen settings of a run's record. A field that an older version did not record has its default."""
    given = flat(tracked(Settings())) | flat(record)
    return {field: given[field] for field in frozen_fields() if field in given}


def stage_versions() -> dict[str, Any]:
    """The versions of the stages that a contract fixes, as JSON has them."""
    return json.loads(json.dumps({rule: STAGES[rule].version for rule in STAGES_OF_SCORES}))


def diagnosis_conditions(preset: str = "diagnose") -> dict[str, Any]:
    """The conditions of the diagnoses that `make diagnose` makes, as diagnosis.json has them."""
    from speechladder.settings import load

    settings = load(configuration([preset_file(preset)], []), preset)
    spoken = json.loads(Inputs(settings, HOME).spoken(None))
    return conditions(spoken, settings.seed, settings.diagnosis.sentences, settings.analysis)


def freeze_contract(results: Path, preset: str = NAME, out: Path = FOLDER) -> None:
    """Write the contract of a preset: {out}/{name}.json and {name}.items.parquet.

    Its settings are those of the preset, and its hashes are of the speech and items of a finished run. Raises UserError
    if the run was made with other settings of the speech.

    Args:
        results: results of a run of the contract's world
        preset: the preset of the contract, by name or by path
        out: folder of the two files
    """
    from speechladder.settings import load

    file = preset_file(preset)
    path = out / f"{file.stem}.json"
    settings = frozen(tracked(load(configuration([file], []), str(file))))
    found = frozen(run_record(results))
    speech = {field for rule in STAGES_OF_WORLD for field in STAGES[rule].reads}
    _refuse(results, [_differs(field, found[field], settings[field]) for field in settings if field in speech])
    world, index = measure_world(results), index_file(path)
    write_table(index, pa.concat_tables(_index_of(results)), INDEX)
    content = {"schema": SCHEMA, "name": file.stem, "world": asdict(world), "settings": settings}
    content |= {"stages": stage_versions(), "diagnosis": diagnosis_conditions()}
    write_json(path, content | {"index_sha256": files_sha256([index])})


def check_run(results: Path, contract: Contract) -> World:
    """The world of a run. Raises UserError unless settings, speech and items are the contract's, and no utterance
    was left out: each must have units."""
    check_settings(results / "run.json", frozen(run_record(results)), contract)
    found = measure_world(results)
    check_world(results, found, contract)
    path = results / "tokens" / "utterances.parquet"
    used = {*read_table(path, UTTERANCES, ["id"])["id"].to_pylist()}
    missing = [cut.id for cut in _cuts(results) if cut.id not in used]
    if missing:
        raise UserError(
            f"{path}: {len(missing)} of {found.utterances} utterances are left out, such as {missing[0]!r}; every "
            f"entry has the same training speech, so give them units too ({results}/units/rejected.*.jsonl says why)"
        )
    return found


def check_settings(source: Path, settings: Mapping[str, Any], contract: Contract) -> None:
    """Raise UserError that names each setting of `source` that is not the contract's."""
    usual = flat(tracked(Settings()))
    lines = [
        _differs(field, settings.get(field, usual.get(field)), value) for field, value in contract.settings.items()
    ]
    _refuse(source, lines, contract.name)


def check_stages(source: Path, stages: Mapping[str, Any], contract: Contract) -> None:
    """Raise UserError that names each stage of `source` whose version is not the contract's."""
    lines = [_differs(f"stage {rule}", stages.get(rule), version) for rule, version in contract.stages.items()]
    _refuse(source, lines, contract.name)


def other_parts(found: Mapping[str, Any], contract: Contract) -> list[str]:
    """The parts of the speech and the items whose hashes in `found`, a World as a mapping, are not the contract's."""
    return [part for part in PARTS if found.get(part) != getattr(contract.world, part)]


def check_world(source: Path, world: World, contract: Contract) -> None:
    """Raise UserError that names each part of the speech and the items that is not the contract's."""
    if other := other_parts(asdict(world), contract):
        raise UserError(
            f"{source}: {', '.join(other)}: not those of {contract.name} by their hash; an entry needs the contract's "
            "own speech and items: delete the run and make the entry again. If they differ again, another version of "
            "espeak-ng or of a package of requirements.lock made them"
        )


def _refuse(source: Path, lines: Iterable[str], name: str = "the preset") -> None:
    found = [line for line in lines if line]
    if found:
        listed = "".join(f"\n  {line}" for line in found)
        raise UserError(f"{source}: not as {name} has it:{listed}\nmake entry runs it with the contract's own")


def _differs(field: str, found: Any, wanted: Any) -> str:
    return "" if found == wanted else f"{field}: {found} there, {wanted} in the contract"


def run_record(results: Path) -> Record:
    """The settings of a run. Raises UserError without them."""
    record = read_record(results)
    if record is None:
        raise UserError(f"{results}/run.json: no such file; name the folder results of a run of the workflow")
    return record


# --- hashes ---


def measure_world(results: Path) -> World:
    """The hashes of the speech and the items of a run. Decodes all audio. Raises UserError if a file is missing."""
    texts, audio, cuts = hashlib.sha256(), hashlib.sha256(), [*_cuts(results)]
    seconds = sum(cut.duration for cut in cuts)
    with progress("hash speech", seconds, "h of speech per h") as meter:
        for cut in cuts:
            texts.update(_line([cut.id, cut.split, cut.speaker, cut.text]))
            audio.update(_line([cut.id]) + pcm(_samples(results, cut)))
            meter.advance(cut.duration)
    alignment = _rows_sha256(
        row for path in shard_files(results, "alignment/*.parquet") for row in read_table(path, ALIGNMENT).to_pylist()
    )
    items = {task: _rows_sha256(_items(results, task)) for task in TASKS}
    return World(texts.hexdigest(), audio.hexdigest(), alignment, items, len(cuts), round(seconds, 3))


def _items(results: Path, task: str) -> Iterator[dict[str, Any]]:
    """The rows of a task's items; audio is the SHA-256 of its samples."""
    for row in read_table(results / "benchmarks" / task / "items.parquet", ITEMS).to_pylist():
        yield row | {"audio": hashlib.sha256(pcm(read_audio(row["audio"], silent=True))).hexdigest()}


def _index_of(results: Path) -> Iterator[pa.Table]:
    for task in TASKS:
        table = read_table(results / "benchmarks" / task / "items.parquet", ITEMS, INDEX.names[1:])
        yield table.add_column(0, "task", pa.array([task] * len(table), pa.string())).cast(INDEX)


def _cuts(results: Path) -> Iterator[Cut]:
    for path in shard_files(results, "corpus/cuts.*.jsonl.gz"):
        yield from read_cuts(path)


def shard_files(results: Path, pattern: str) -> list[Path]:
    """The files of all shards in order. Raises UserError if there is none."""
    found = [path for path in results.glob(pattern) if path.name.removeprefix("cuts.").partition(".")[0].isdigit()]
    if not found:
        raise UserError(f"{results}/{pattern}: no such file; name the folder results of a finished run")
    return sorted(found, key=lambda path: int(path.name.removeprefix("cuts.").partition(".")[0]))


def _samples(results: Path, cut: Cut) -> np.ndarray:
    """The samples of a cut, whose path is relative to the folder in which the run was started."""
    path = results.resolve().parent / cut.path
    try:
        return replace(cut, path=str(path)).samples()
    except AudioError as error:
        raise UserError(f"{path}: {cut.id} cannot be read ({error}); delete the file and run again") from None


def _line(row: Any) -> bytes:
    return json.dumps(row, sort_keys=True, ensure_ascii=True).encode() + b"\n"


def _rows_sha256(rows: Iterable[Any]) -> str:
    out = hashlib.sha256()
    for row in rows:
        out.update(_line(row))
    return out.hexdigest()
