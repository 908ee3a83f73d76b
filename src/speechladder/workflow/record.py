"""The record of a run, results/run.json: the settings that its artefacts were made with.

A run writes it when it starts. The next run reads it, so that it does not replace the corpus of another run. A plan
reads it too: figures in `results/` count as measured only if they were made with the same settings.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from speechladder import __version__
from speechladder.io.errors import UserError
from speechladder.io.files import read_json, write_json
from speechladder.settings import Settings, tracked

FILE = "run.json"
SCHEMA = 1  # of the file; raise it when its fields change meaning
CORPUS = ("seed", "corpus")  # settings that decide which speech a run has
# Settings that make it another corpus. Others are changed in place: a rerun with a larger test split is no accident.
IDENTITY = ("name", "path", "manifests", "archives", "text", "shards", "hours", "speech")
# Recordings depend on none of these; their texts that are spoken again depend on the seed.
WORLD_IDENTITY = ("seed", "corpus.variability", "corpus.causes")
SHOWN = 4  # differences that an error lists

Record = Mapping[str, Any]  # settings by name, as `tracked` gives them


def write_record(results: Path, settings: Settings) -> None:
    """Write the settings of a run to `results`/run.json."""
    write_json(results / FILE, {"schema": SCHEMA, "version": __version__, "settings": tracked(settings)})


def read_record(results: Path) -> Record | None:
    """Return the settings of the last run in `results`; None if it left no record.

    Raise UserError if the file is no record.
    """
    path = results / FILE
    if not path.is_file():
        return None
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("settings"), dict):
        raise UserError(
            f"{path}: not the record of a run (its field 'settings' is missing); restore it, or work in "
            "another folder with --directory OTHER; without it this run may replace another corpus"
        )
    if content.get("schema") != SCHEMA:
        raise UserError(
            f"{path}: has schema {content.get('schema')}, this version reads {SCHEMA}; use the version of speechladder "
            f"that wrote it ({content.get('version')}), or work in another folder with --directory OTHER"
        )
    return content["settings"]


def differences(record: Record, settings: Settings, sections: tuple[str, ...]) -> list[str]:
    """Return one line for each setting of `sections` that differs: 'corpus.hours: 10.0 there, 4.0 here'.

    A field that the record lacks, because an older version wrote it, counts as its default.
    """
    here, default, out = tracked(settings), tracked(Settings()), []
    for section in sections:
        new, usual, old = here[section], default[section], record.get(section, default[section])
        if not isinstance(new, dict):
            new, usual, old = {"": new}, {"": usual}, {"": old}
        for field, value in new.items():
            before = old.get(field, usual.get(field))
            if before != value:
                out.append(f"{section}.{field}".rstrip(".") + f": {_shown(before)} there, {_shown(value)} here")
    return out


def check_same_corpus(results: Path, settings: Settings, replace: bool = False) -> None:
    """Raise UserError if `results` holds the corpus of another run, which this run would replace.

    The message says what differs and how to go on. `replace` says that the corpus is to be made again on purpose. A
    folder without a corpus or without a record passes.
    """
    identity = {f"corpus.{field}" for field in IDENTITY}
    if settings.corpus.name == "world":
        identity |= set(WORLD_IDENTITY)
    elif settings.corpus.speech == "synthesized":
        identity.add("seed")
    if replace or not any((results / "corpus").glob("*")):
        return
    record = read_record(results)
    found = differences(record, settings, CORPUS) if record is not None else []
    found = [line for line in found if line.partition(":")[0] in identity]
    if not found:
        return
    more = [f"and {len(found) - SHOWN} more settings"] if len(found) > SHOWN else []
    listed = "".join(f"\n  {line}" for line in [*found[:SHOWN], *more])
    name = (record or {}).get("corpus", {}).get("name", "another")
    raise UserError(
        f"{results.resolve()} holds a run on another corpus ({name}), which this run would replace:{listed}\n"
        "To keep both runs, give this one a folder of its own: --directory OTHER. To replace the run that is there, "
        f"delete {results.resolve()}, or add -R build_corpus or --forceall."
    )


def _shown(value: Any) -> str:
    """A setting's value in a message, cut if it is long."""
    text = "null" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
