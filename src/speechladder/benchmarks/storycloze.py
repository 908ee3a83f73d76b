"""Topic-StoryCloze as items: recordings of stories with a right and an off-topic ending, in one flat folder.

A file is named STORY_PREFIX_correct.wav or STORY_PREFIX_incorrect.wav; STORY may hold underscores and dashes, the last
part decides and the one before it is the prefix. The two halves of a pair have all before the last part in common;
where that leaves a file alone, its partner is the one other file of the same story that is left alone too, whatever its
prefix. No texts come with it: they are a table (columns filename and text), or an ASR heard them
(continuation.transcribe).
"""

import re
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from speechladder.benchmarks.official import Official, OfficialPair, chosen, read_member, safe
from speechladder.benchmarks.pairs import BadRow, table_rows
from speechladder.benchmarks.spoken import GIVEN, Half
from speechladder.corpora.text import normalise
from speechladder.fetch.archives import Store
from speechladder.io.errors import UserError
from speechladder.io.rejects import Rejects

AUDIO = (".wav", ".flac")
NAMES = {
    "filename": ("filename", "file", "name", "audio", "path"),
    "text": ("text", "transcript", "transcription", "story"),
}
_ENDING = re.compile(r"(?P<stem>.+?)_(?P<flag>correct|incorrect)", re.IGNORECASE)


def recordings(store: Store, where: str) -> dict[str, str]:
    """Name without suffix -> member, of every recording, sorted by name.

    Raises UserError where there is none, or two of one name.
    """
    found: dict[str, str] = {}
    for member in sorted(store.names()):
        path = PurePosixPath(member)
        if path.suffix.lower() in AUDIO and not path.name.startswith("._"):
            if path.stem in found:
                raise UserError(f"{where}: {found[path.stem]} and {member} are one recording twice; remove one")
            found[path.stem] = member
    if not found:
        raise UserError(
            f"{where}: no {' or '.join(AUDIO)} in it; set benchmarks.storycloze to Topic-StoryCloze's audio"
        )
    return dict(sorted(found.items()))


def paired(names: list[str], rejects: Rejects, where: str) -> dict[str, tuple[str, str]]:
    """Pair -> (name of the right ending, of the wrong one), by the rule above.

    Names that do not fit are mentioned in `rejects`, and so is a half without its partner.
    """
    halves: dict[str, dict[bool, str]] = defaultdict(dict)
    for name in names:
        match = _ENDING.fullmatch(name)
        if match is None:
            rejects.mention(name, "not named STORY_PREFIX_correct or STORY_PREFIX_incorrect", where)
        else:
            halves[match["stem"]][match["flag"].lower() == "correct"] = name
    whole = {stem: (own[True], own[False]) for stem, own in halves.items() if len(own) == 2}
    alone: dict[str, list[str]] = defaultdict(list)
    for stem in halves.keys() - whole.keys():
        alone[stem.rpartition("_")[0] or stem].append(stem)
    for story, stems in sorted(alone.items()):
        own = {flag: name for stem in stems for flag, name in halves[stem].items()}
        if len(stems) == 2 and len(own) == 2 and story not in whole:
            whole[story] = (own[True], own[False])
            continue
        for stem in sorted(stems):
            ((flag, name),) = halves[stem].items()
            rejects.mention(name, f"no recording of the {'incorrect' if flag else 'correct'} ending", where)
    return dict(sorted(whole.items()))


def read_texts(path: str | Path) -> dict[str, str]:
    """Recording's name without suffix -> text, from CSV, TSV or JSON lines with columns filename and text.

    Raises UserError naming file, row and column where one is missing, or a recording has two texts.
    """
    path = Path(path)
    out: dict[str, str] = {}
    for number, row in table_rows(path):
        if isinstance(row, BadRow):
            raise UserError(f"{path}, row {number}: {row}")
        present = {str(name).strip().lower(): name for name in row} if isinstance(row, dict) else {}
        columns = {field: next((present[n] for n in names if n in present), None) for field, names in NAMES.items()}
        for field, column in columns.items():
            if column is None:
                raise UserError(f"{path}, row {number}: no column '{field}' (found: {', '.join(present) or 'nothing'})")
        name = PurePosixPath(str(row[columns["filename"]] or "").strip()).name
        name = re.sub(r"\.(wav|flac)$", "", name, flags=re.IGNORECASE)
        text = str(row[columns["text"]] or "").strip()
        if out.setdefault(name, text) != text:
            raise UserError(f"{path}, row {number}: '{name}' has another text before; keep one of the two rows")
    return out


def read_storycloze(
    store: Store, where: str, texts: str | Path, max_pairs: int, rejects: Rejects, heard_by: str = ""
) -> Official:
    """The pairs of Topic-StoryCloze, at most `max_pairs` (0: all), evenly over the prefixes, which are their type.

    `texts` as `read_texts` reads them; `heard_by` names the ASR that made them. A pair of which a half has no text goes
    to `rejects`. Raises UserError where nothing is paired.
    """
    members = recordings(store, where)
    pairs = paired(list(members), rejects, where)
    if not pairs:
        raise UserError(
            f"{where}: no recording is named STORY_PREFIX_correct or STORY_PREFIX_incorrect with its partner (found: "
            f"{', '.join(list(members)[:3])})"
        )
    said = read_texts(texts)
    found: list[OfficialPair] = []
    lost = 0
    for stem, names in pairs.items():
        without = next((name for name in names if not normalise(said.get(name, ""))), None)
        if without is None:
            id, kind = safe(stem), safe(stem.rpartition("_")[2])
            halves = [_half(id, kind, n == names[0], said[n], partial(read_member, store, members[n])) for n in names]
            found.append(OfficialPair(id, kind, [tuple(halves)]))
        else:
            lost += 1
            rejects.add(f"{stem}|{GIVEN}", f"no text: {without}", texts)
    kept = chosen(found, max_pairs)
    notes = [f"Topic-StoryCloze, {len(kept):,} pairs"]
    if heard_by:
        notes.append(f"its texts were transcribed by {heard_by}, so text and phone rungs read what that heard")
    else:
        notes.append(f"texts of {Path(texts).name}")
    facts = {"splits": {"": len(kept)}, "texts": f"transcribed by {heard_by}" if heard_by else str(texts)}
    return Official([pair.takes[0] for pair in kept], lost, facts, notes)


def _half(id: str, kind: str, correct: bool, text: str, read: Callable[[], np.ndarray]) -> Half:
    item = f"{id}|{'good' if correct else 'bad'}|{GIVEN}"
    return Half(item, id, GIVEN, correct, kind, text, read, official=True)
