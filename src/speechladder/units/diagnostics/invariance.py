"""How much the units of a sentence change if one thing of its sound changes (the probe speech of `probe`)."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechladder.alignment.frames import frame_centres, frame_labels
from speechladder.constants import SAMPLE_RATE
from speechladder.corpora.phones import strip_stress
from speechladder.io.audio import frame_count
from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.io.spans import from_rows
from speechladder.io.tables import ITEMS, read_table
from speechladder.units.diagnostics.probe import AGAIN, BASE, CAUSE_NAMES, CONTEXT, SHIFTS, shift_name
from speechladder.units.diagnostics.quality import deduplicate, edit_distance
from speechladder.units.diagnostics.timed import Timed, read_timed

OTHER = "other"  # another sentence of the same voice
KINDS = (AGAIN, *CAUSE_NAMES, *map(shift_name, SHIFTS), OTHER)
NO_TIMES = "the units have no times, so those of the sentence cannot be cut out of the speech around it"


@dataclass(frozen=True)
class Change:
    """The share of a sentence's units that differ from those of its first recording, each (sentences,) float64.

    It is the edit distance divided by the longer length: of the units as they are, and of the units with each run of
    equal ones written once. `phones` and `phones_dedup` are the same of the phone at each 50 Hz frame, which tell what
    the speech itself changes.
    """

    units: np.ndarray
    dedup: np.ndarray
    phones: np.ndarray
    phones_dedup: np.ndarray


Pair = tuple[np.ndarray, np.ndarray]


def share_changed(a: np.ndarray, b: np.ndarray) -> float:
    """Edit distance as a share of the longer length; 0 for two empty sequences."""
    return edit_distance(a, b) / max(len(a), len(b), 1)


def changes(items: Path, about: Path, units: Path) -> dict[str, Change | None]:
    """The change of each of KINDS; None where the sentence cannot be cut out of its context.

    Raise UserError naming an item without units.

    Args:
        items: probe/items.parquet
        about: probe/about.json
        units: probe/units.parquet: the units of these items
    """
    table = read_table(items, ITEMS, columns=["item", "id", "type", "voice", "phones", "seconds"]).to_pylist()
    windows, spoken, phones = read_json(about)[CONTEXT], dict(read_timed(units)), _phones(table)
    missing = [row["item"] for row in table if row["item"] not in spoken]
    if missing:
        raise UserError(f"{units}: item '{missing[0]}' of {items} is missing; delete the table and run again")
    found: dict[str, dict[str, tuple]] = defaultdict(dict)
    for row in table:
        both = (spoken[row["item"]], phones[row["item"]])
        window = windows.get(row["item"])
        found[row["id"]][row["type"]] = tuple(of.utterance(*window) if window else of.units for of in both)
    pairs = {kind: [(own[BASE], own[kind]) for own in found.values()] for kind in KINDS if kind != OTHER}
    pairs[OTHER] = _neighbours(table, {name: own[BASE] for name, own in found.items()})
    return {kind: _change(of) for kind, of in pairs.items()}


def _phones(table: list[Mapping]) -> dict[str, Timed]:
    """The phone at each 50 Hz frame of each item as a number, without stress."""
    codes: dict[str, int] = {}
    out = {}
    for row in table:
        spans = [span._replace(label=strip_stress(span.label)) for span in from_rows(row["phones"])]
        labels = frame_labels(spans, frame_count(round(row["seconds"] * SAMPLE_RATE)))
        numbers = np.array([codes.setdefault(label, len(codes)) for label in labels], dtype=np.int64)
        out[row["item"]] = Timed(numbers, frame_centres(len(numbers)), framed=True)
    return out


def _neighbours(table: list[Mapping], base: dict[str, tuple]) -> list[tuple]:
    """Each sentence with the next one of the same voice, in a circle."""
    voices: dict[str, list[str]] = defaultdict(list)
    for row in table:
        if row["type"] == BASE:
            voices[row["voice"]].append(row["id"])
    rings = [(ids, ids[1:] + ids[:1]) for ids in voices.values() if len(ids) > 1]
    return [(base[a], base[b]) for ids, others in rings for a, b in zip(ids, others, strict=True)]


def _change(pairs: list[tuple]) -> Change | None:
    units, phones = ([(a[at], b[at]) for a, b in pairs] for at in (0, 1))
    if any(b is None for _, b in units):
        return None
    return Change(*(_shares(of, dedup) for of in (units, phones) for dedup in (False, True)))


def _shares(pairs: list[Pair], dedup: bool) -> np.ndarray:
    ready = [(deduplicate(a), deduplicate(b)) for a, b in pairs] if dedup else pairs
    return np.array([share_changed(a, b) for a, b in ready])
