"""Topic-StoryCloze as items: recordings of stories with a right and an off-topic ending, in one flat folder.

A file is named STORY_PREFIX_correct.wav or STORY_PREFIX_incorrect.wav. STORY may hold underscores and dashes. The last
part says which ending the recording has, and the part before it is the prefix. The two halves of a pair have the same
name up to the last part. If a file has no partner by this rule, its partner is the only other file of the same story
that has none either, whatever its prefix. The archive holds no texts. They come from a table with the columns filename
and text, or from a speech recogniser (continuation.transcribe).
"""

import re
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from speechladder.benchmarks.official import OfficialPair, id_part, read_member, spread_over_types
from speechladder.benchmarks.spoken import GIVEN, Half, Stimuli
from speechladder.benchmarks.table_files import BadRow, cell_text, table_rows
from speechladder.corpora.text import EMPTY, text_problem
from speechladder.fetch.archives import Store, open_store
from speechladder.fetch.members import rejects_summary
from speechladder.io.errors import UserError
from speechladder.io.files import read_jsonl
from speechladder.io.rejects import Rejects
from speechladder.settings import Benchmarks

TITLE = "Topic-StoryCloze"
AUDIO = (".wav", ".flac")
NAMES = {
    "filename": ("filename", "file", "name", "audio", "path"),
    "text": ("text", "transcript", "transcription", "story"),
}
_ENDING = re.compile(r"(?P<stem>.+?)_(?P<flag>correct|incorrect)", re.IGNORECASE)


def recordings(store: Store, where: str) -> dict[str, str]:
    """Name without suffix -> member of the archive, for every recording, sorted by name.

    Raises UserError if there is no recording, or if two have the same name.
    """
    found: dict[str, str] = {}
    for member in sorted(store.names()):
        path = PurePosixPath(member)
        if path.suffix.lower() in AUDIO:
            if path.stem in found:
                raise UserError(f"{where}: {found[path.stem]} and {member} have the same name; remove one of them")
            found[path.stem] = member
    if not found:
        raise UserError(
            f"{where}: no {' or '.join(AUDIO)} in it{rejects_summary(store.rejects)}; set benchmarks.storycloze to "
            "Topic-StoryCloze's audio"
        )
    return dict(sorted(found.items()))


def paired(names: list[str], rejects: Rejects, where: str) -> dict[str, tuple[str, str]]:
    """Pair -> (name of the right ending, name of the wrong ending), by the rule in the module's docstring.

    `rejects` mentions each name of another form and each half without a partner.
    """
    halves: dict[str, dict[bool, str]] = defaultdict(dict)
    for name in names:
        match = _ENDING.fullmatch(name)
        if match is None:
            (rejects or Rejects()).mention(name, "not named STORY_PREFIX_correct or STORY_PREFIX_incorrect", where)
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
            (rejects or Rejects()).mention(
                name, f"no recording of the {'incorrect' if flag else 'correct'} ending", where
            )
    return dict(sorted(whole.items()))


def read_texts(path: str | Path, rejects: Rejects | None = None) -> dict[str, str]:
    """Name of a recording without suffix -> text, from CSV, TSV or JSON lines with the columns filename and text.

    `rejects` mentions each row that cannot be read. Raises UserError that names file, row and column if a column is
    missing or a recording has two texts.
    """
    path = Path(path)
    out: dict[str, str] = {}
    for number, row in table_rows(path):
        if isinstance(row, BadRow):
            (rejects or Rejects()).mention(f"{path.name}, row {number}", row, path)
            continue
        present = {str(name).strip().lower(): name for name in row}
        columns = {field: next((present[n] for n in names if n in present), None) for field, names in NAMES.items()}
        for field, column in columns.items():
            if column is None:
                raise UserError(f"{path}, row {number}: no column '{field}' (found: {', '.join(present) or 'nothing'})")
        name = PurePosixPath(cell_text(row[columns["filename"]]) or "").name
        name = re.sub(r"\.(wav|flac)$", "", name, flags=re.IGNORECASE)
        text = cell_text(row[columns["text"]]) or ""
        if out.setdefault(name, text) != text:
            raise UserError(
                f"{path}, row {number}: '{name}' has another text in an earlier row; keep one of the two rows"
            )
    return out


def read_storycloze(
    store: Store, where: str, texts: str | Path, max_pairs: int, rejects: Rejects, recogniser: str = ""
) -> Stimuli:
    """The pairs of Topic-StoryCloze, at most `max_pairs` (0: all), spread evenly over the prefixes, their types.

    `texts` is a table for `read_texts`; `recogniser` is the name of the ASR that made it. A pair with a half without
    text goes to `rejects`. Raises UserError if no recording has a partner.
    """
    members = recordings(store, where)
    pairs = paired(list(members), rejects, where)
    if not pairs:
        raise UserError(
            f"{where}: no recording is named STORY_PREFIX_correct or STORY_PREFIX_incorrect with its partner (found: "
            f"{', '.join(list(members)[:3])})"
        )
    text_of = read_texts(texts, rejects)
    found: list[OfficialPair] = []
    lost = 0
    for stem, names in pairs.items():
        problem = next((reason for name in names if (reason := _problem(name, text_of.get(name, "")))), None)
        if problem is None:
            id, kind = id_part(stem), id_part(stem.rpartition("_")[2])
            halves = [
                _half(id, kind, n == names[0], text_of[n], partial(read_member, store, members[n])) for n in names
            ]
            found.append(OfficialPair(id, kind, [tuple(halves)]))
        else:
            lost += 1
            rejects.add(f"{stem}|{GIVEN}", problem, texts)
    kept = spread_over_types(found, max_pairs)
    notes = [f"{TITLE}, {len(kept):,} pairs"]
    if recogniser:
        notes.append(f"its texts were transcribed by {recogniser}, so text and phone rungs read its transcripts")
    else:
        notes.append(f"its texts are those of {Path(texts).name}")
    facts = {"splits": {"": len(kept)}, "texts": f"transcribed by {recogniser}" if recogniser else str(texts)}
    return Stimuli([pair.voiced[0] for pair in kept], where, lost, facts, notes)


def read_with_texts(settings: Benchmarks, transcripts: Path | None, rejects: Rejects) -> Stimuli:
    """The pairs of benchmarks.storycloze, with the texts of `transcripts` or else of benchmarks.storycloze_text.

    Raises UserError if there are no texts.
    """
    texts = transcripts or settings.storycloze_text
    if not texts:
        raise UserError(
            f"benchmarks.storycloze_text: {TITLE} needs its texts; name a table of them, or give --transcripts"
        )
    recogniser = next((str(row.get("asr", "")) for row in read_jsonl(texts)), "") if transcripts else ""
    archive = settings.storycloze
    return read_storycloze(open_store(archive), archive, texts, settings.max_pairs, rejects, recogniser)


def _problem(name: str, text: str) -> str | None:
    """Why the text of a recording cannot be used, or None."""
    problem = text_problem(text)
    return f"no text: {name}" if problem == EMPTY else problem and f"{problem}, in the text of {name}"


def _half(id: str, kind: str, correct: bool, text: str, read: Callable[[], np.ndarray]) -> Half:
    item = f"{id}|{'good' if correct else 'bad'}|{GIVEN}"
    return Half(item, id, GIVEN, correct, kind, text, read, official=True)
