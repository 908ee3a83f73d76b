"""The one list of utterances that every rung sees, and reading them shard by shard as rungs see them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from speechladder.corpora.cuts import SPLITS, Cut, read_cuts
from speechladder.io.audio import frame_count, read_audio
from speechladder.io.errors import UserError
from speechladder.io.rejects import Rejects
from speechladder.io.spans import from_rows
from speechladder.io.tables import ALIGNMENT, ITEMS, UNITS, UTTERANCES, read_table, write_table
from speechladder.rungs.functions import characters, phone_alphabet, phone_label
from speechladder.rungs.registry import SPACE, Utterance
from speechladder.settings import SAMPLE_RATE, Tokens

FRAME_TOLERANCE = 1  # frames that rounding of a window's ends may add or take away
SECONDS_TOLERANCE = 0.05  # between the alignment's end and the cut's duration


def select(
    cuts: Sequence[str | Path],
    alignments: Sequence[str | Path],
    units: Sequence[str | Path],
    out: str | Path,
    rejected: str | Path,
    max_rejected: float,
) -> None:
    """Write the UTTERANCES table: those in cuts, alignment and units alike, in the order of the cuts.

    The three lists name the shards in one order. What an earlier stage left out is left out; what does not fit
    together (a duplicate id, frames that are not the audio's, an alignment of another length, a symbol that a built-in
    rung lacks) is listed in `rejected`. Raises UserError where train or valid is left empty.
    """
    _same_length(cuts, alignments, units)
    rejects, seen, total = Rejects(), set(), 0
    rows: list[dict[str, object]] = []
    letters, phones = set(characters(Tokens(), 0)), set(phone_alphabet(Tokens(), 0))
    for shard, paths in enumerate(zip(cuts, alignments, units)):
        aligned = _by_id(read_table(paths[1], ALIGNMENT, ["id", "phones", "seconds"]))
        encoded = _by_id(read_table(paths[2], UNITS))
        for cut in read_cuts(paths[0]):
            if cut.id not in aligned or cut.id not in encoded:
                continue  # in the rejects of the stage that left it out
            total += 1
            row, frames = aligned[cut.id], len(encoded[cut.id]["units"])
            reason = _unfit(cut, row, frames, letters, phones)
            if reason is None and cut.id in seen:
                reason = "duplicate id"
            if reason:
                rejects.add(cut.id, reason, paths[0])
                continue
            seen.add(cut.id)
            fields = {"id": cut.id, "split": cut.split, "shard": shard, "speaker": cut.speaker}
            rows.append(fields | {"seconds": cut.duration, "frames": frames})
    rejects.write(rejected, total, max_rejected)
    counts = Counter(row["split"] for row in rows)
    for split in ("train", "valid"):
        if not counts[split]:
            raise UserError(
                f"no utterance is left in split {split!r} (there are {dict(counts)}); raise corpus.valid_fraction or "
                f"give more speech; what was left out is in {rejected} and in the earlier stages' lists"
            )
    write_table(out, rows, UTTERANCES)


def _unfit(cut: Cut, row: dict[str, object], frames: int, letters: set[str], phones: set[str]) -> str | None:
    """Why an utterance cannot be on every rung, or None."""
    expected = frame_count(round(cut.duration * SAMPLE_RATE))
    if cut.split not in SPLITS:
        return f"split {cut.split!r} is none of {', '.join(SPLITS)}"
    if not frames or abs(frames - expected) > FRAME_TOLERANCE:
        return f"{frames} frames of units, but the audio has {expected}"
    if abs(row["seconds"] - cut.duration) > SECONDS_TOLERANCE:
        return f"alignment of {row['seconds']:.2f} s, but the audio has {cut.duration:.2f} s"
    if not cut.text:
        return "empty transcript"
    if strange := set(cut.text.replace(" ", SPACE)) - letters:
        return f"characters that text rungs lack: {' '.join(sorted(strange))}"
    if strange := {phone_label(p["label"], Tokens()) for p in row["phones"]} - phones:
        return f"phones that phone rungs lack: {' '.join(sorted(strange))}"
    return None if row["phones"] else "alignment without phones"


def read_utterances(
    table: pa.Table,
    cuts: Sequence[str | Path],
    alignments: Sequence[str | Path],
    units: Sequence[str | Path],
    needs: Sequence[str],
    options: Tokens,
) -> Iterator[tuple[str, Utterance]]:
    """Yield (split, Utterance) for each row of `table` (UTTERANCES), holding a shard at a time.

    Reads the files that `needs` names alone. Raises UserError when an utterance is not in its shard's files.
    """
    _same_length(cuts, alignments, units)
    shards = table.column("shard").to_numpy()
    if len(shards) and shards.max() >= len(cuts):
        raise UserError(f"the table of utterances knows shard {shards.max()}, but {len(cuts)} shards were given")
    for shard, paths in enumerate(zip(cuts, alignments, units)):
        rows = table.filter(pa.array(shards == shard)).to_pylist()
        if not rows:
            continue
        wanted = {row["id"] for row in rows}
        spoken = {c.id: c for c in read_cuts(paths[0]) if c.id in wanted} if {"text", "audio"} & {*needs} else None
        aligned = _by_id(read_table(paths[1], ALIGNMENT, ["id", "words", "phones"])) if "alignment" in needs else None
        encoded = read_units(paths[2]) if "units" in needs else None
        for row in rows:
            name = row["id"]
            for path, found in zip(paths, (spoken, aligned, encoded)):
                if found is not None and name not in found:
                    raise UserError(f"{path}: utterance {name!r} is missing; give the shards in order")
            cut = spoken[name] if spoken else None
            yield (
                row["split"],
                Utterance(
                    id=name,
                    text=cut.text if cut else "",
                    words=from_rows(aligned[name]["words"]) if aligned else [],
                    phones=from_rows(aligned[name]["phones"]) if aligned else [],
                    units=encoded[name] if encoded else None,
                    frames=row["frames"],
                    seconds=row["seconds"],
                    options=options,
                    audio=cut.samples if cut else None,
                ),
            )


def read_items(
    items: str | Path, units: str | Path | None, needs: Sequence[str], options: Tokens, schema: pa.Schema = ITEMS
) -> Iterator[Utterance]:
    """Yield each benchmark item (ITEMS) or prompt (PROMPTS) as an Utterance whose id is `item`; `units` if needed.

    Raises UserError when an item has no units, or not exactly as many as its audio has frames.
    """
    columns = ["item", "text", "words", "phones", "seconds"] + ["audio"] * ("audio" in needs)
    encoded = read_units(units) if "units" in needs and units else {}
    for row in read_table(items, schema, columns).to_pylist():
        name, own = row["item"], None
        frames = frame_count(round(row["seconds"] * SAMPLE_RATE))
        if "units" in needs:
            own = encoded.get(name)
            if own is None or len(own) != frames:  # phone-repeat has exactly as many
                got = "no units" if own is None else f"{len(own)} frames of units"
                raise UserError(f"{units}: item {name!r} has {got}, its audio {frames} frames; encode the items again")
        words, phones, flac = from_rows(row["words"]), from_rows(row["phones"]), row.get("audio")
        yield Utterance(
            id=name,
            text=row["text"],
            words=words,
            phones=phones,
            units=own,
            frames=frames,
            seconds=row["seconds"],
            options=options,
            audio=(lambda flac=flac: read_audio(flac)) if flac else None,
        )


def read_units(path: str | Path) -> dict[str, np.ndarray]:
    """A UNITS table as id -> (frames,) uint16, views of one array."""
    table = read_table(path, UNITS).combine_chunks()
    if not len(table):
        return {}
    column = table.column("units").combine_chunks()
    flat, ends = column.flatten().to_numpy(), np.cumsum(column.value_lengths().to_numpy())
    return dict(zip(table.column("id").to_pylist(), np.split(flat, ends[:-1])))


def _by_id(table: pa.Table) -> dict[str, dict[str, object]]:
    return {row["id"]: row for row in table.to_pylist()}


def _same_length(*lists: Sequence[str | Path]) -> None:
    if len({len(paths) for paths in lists}) != 1:
        counts = ", ".join(str(len(paths)) for paths in lists)
        raise UserError(f"cuts, alignment and units must name the same shards in the same order; got {counts} files")
