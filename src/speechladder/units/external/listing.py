"""What a tokenizer of the user's own has to encode: units/to_encode/, audio files and lists of them."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from speechladder.corpora.cuts import Cut, read_cuts
from speechladder.io.audio import AudioError, encode_flac
from speechladder.io.columns import batches
from speechladder.io.errors import UserError
from speechladder.io.files import atomic_folder
from speechladder.io.progress import progress, say
from speechladder.io.tables import ITEMS
from speechladder.units.external.names import file_name

AT_ONCE = 256  # items whose audio is held: an official benchmark is gigabytes


def write_listing(items: Sequence[Path], cuts: Sequence[Path], out: Path, copy_cuts: bool = False) -> None:
    """Write the folder `out`: {task}/{item}.flac of every item and prompt (16 kHz, mono), items.jsonl and cuts.jsonl.

    A line is {"id", "path", "seconds"}, an item's id is task/item, paths are absolute. Utterances are read in place:
    their lines also have "start", in seconds from the begin of the file at `path`, which may lie in a tar
    (x.tar#OFFSET+SIZE); with `copy_cuts` each has a file of its own in cuts/ instead. Audio that cannot be read is left
    out of the list, and said. Raises UserError where an id cannot be a file's name.
    """
    home = Path(out).resolve()
    with atomic_folder(out) as folder:
        for name, lines in (("items", _items(items, folder, home)), ("cuts", _cuts(cuts, folder, home, copy_cuts))):
            with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as handle:
                for line in lines:
                    handle.write(json.dumps(line, ensure_ascii=False) + "\n")


def _items(items: Sequence[Path], folder: Path, home: Path) -> Iterator[dict[str, Any]]:
    for table in items:
        task = table.parent.name
        (folder / task).mkdir()
        for batch in batches(table, ITEMS, ["item", "seconds", "audio"], AT_ONCE):
            for row in batch.to_pylist():
                if not row["audio"]:
                    raise UserError(f"{table}: item {row['item']!r} has no audio; make the items again")
                name = f"{file_name(row['item'])}.flac"
                (folder / task / name).write_bytes(row["audio"])
                path = str(home / task / name)
                yield {"id": f"{task}/{row['item']}", "path": path, "seconds": row["seconds"]}


def _cuts(cuts: Sequence[Path], folder: Path, home: Path, copy: bool) -> Iterator[dict[str, Any]]:
    unread: list[str] = []
    with progress("to encode: utterances", len(cuts), "shards/s") as bar:
        for shard, path in enumerate(cuts):
            if copy:
                (folder / "cuts" / str(shard)).mkdir(parents=True)
            for cut in read_cuts(path):
                line = {
                    "id": cut.id,
                    "path": str(Path(cut.path).resolve()),
                    "start": cut.start,
                    "seconds": cut.duration,
                }
                if copy:
                    name = f"cuts/{shard}/{file_name(cut.id)}.flac"
                    if not _copied(cut, folder / name):
                        unread.append(cut.id)
                        continue
                    line |= {"path": str(home / name), "start": 0.0}
                yield line
            bar.advance(1)
    if unread:
        say(f"to encode: {len(unread)} utterances could not be read, first {', '.join(unread[:3])}")


def _copied(cut: Cut, path: Path) -> bool:
    try:
        path.write_bytes(encode_flac(cut.samples()))
    except AudioError:
        return False
    return True
