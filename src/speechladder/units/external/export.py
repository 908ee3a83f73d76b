"""Export the audio that the user's own tokenizer has to encode: units/export/."""

import json
from collections.abc import Iterator, Sequence
from itertools import chain
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

AT_ONCE = 256  # items whose audio is in memory at once, since an official benchmark has gigabytes


def export_audio(
    out: Path, items: Sequence[Path] = (), cuts: Sequence[Path] = (), copy_cuts: bool = False, one_list: bool = False
) -> None:
    """Write the audio of items and prompts for your own tokenizer, and lists of all that it has to encode.

    The folder has {task}/{item}.flac of every item and prompt (16 kHz, mono), items.jsonl and cuts.jsonl. A line is
    {"id", "path", "seconds"}. The id of an item is task/item. Paths are absolute. Utterances are not copied: their
    lines also have "start", in seconds from the beginning of the file at "path", which may be in a tar
    (x.tar#OFFSET+SIZE). Audio that cannot be read is left out of the list, with a message. Raise UserError if an id
    cannot be a file name.

    Args:
        out: folder to write
        items: benchmarks/{task}/items.parquet of every task, and continuation/prompts.parquet
        cuts: corpus/cuts.{shard}.jsonl.gz of every shard
        copy_cuts: write a FLAC file for each utterance too, in cuts/
        one_list: write both lists as one, audio.jsonl
    """
    home = Path(out).resolve()
    with atomic_folder(out) as folder:
        lists = {"items": _items(items, folder, home), "cuts": _cuts(cuts, folder, home, copy_cuts)}
        for name, lines in ({"audio": chain(*lists.values())} if one_list else lists).items():
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
    with progress("export: utterances", len(cuts), "shards/s") as bar:
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
        say(f"export: {len(unread)} utterances could not be read, first {', '.join(unread[:3])}")


def _copied(cut: Cut, path: Path) -> bool:
    """Write the audio of a cut to `path`. Return whether it could be read."""
    try:
        path.write_bytes(encode_flac(cut.samples()))
    except AudioError:
        return False
    return True
