"""The list of utterances that all rungs share, and reading them shard by shard as rungs need them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from speechladder.constants import SAMPLE_RATE
from speechladder.corpora.cuts import SPLITS, Cut, read_cuts
from speechladder.io.audio import frame_count, read_audio
from speechladder.io.columns import SeenIds, SpanColumn, batches, growing_table
from speechladder.io.errors import UserError
from speechladder.io.rejects import Rejects
from speechladder.io.spans import Span, from_rows
from speechladder.io.tables import ALIGNMENT, ITEMS, UNITS, UTTERANCES, read_table
from speechladder.rungs.functions import characters, phone_alphabet, phone_label
from speechladder.rungs.registry import SPACE, Utterance
from speechladder.settings import Corpus, Tokens

FRAME_TOLERANCE = 1  # frames that rounding at the ends of a window may add or remove
SECONDS_TOLERANCE = 0.05  # between the end of the alignment and the duration of the cut
LETTERS = set(characters(Tokens(text_pauses=False), 0))


def select_utterances(
    cuts: list[Path],
    alignment: list[Path],
    units: list[Path],
    out: Path,
    rejected: Path,
    max_rejected: float = Corpus().max_rejected,
) -> None:
    """Select the utterances that every rung sees: those that have a transcript, an alignment and units.

    Writes the UTTERANCES table in the order of the cuts. Utterances that an earlier stage rejected are left out.
    Utterances whose parts do not fit together (a duplicate id, another number of frames than the audio has, an
    alignment of another length, a symbol that a built-in rung lacks) are listed in `rejected`. Raise UserError if train
    or valid is left empty.

    Args:
        cuts: corpus/cuts.{shard}.jsonl.gz, all shards in order
        alignment: alignment/{shard}.parquet, in the same order
        units: units/{shard}.parquet, in the same order
        out: tokens/utterances.parquet to write
        rejected: tokens/rejected.jsonl to write
    """
    _same_length(cuts, alignment, units)
    rejects, seen, total = Rejects(), SeenIds(), 0
    counts: Counter[str] = Counter()
    with growing_table(out, UTTERANCES) as table:
        for shard, paths in enumerate(zip(cuts, alignment, units)):
            made = _Made(*paths[1:])
            before, rows = seen.among(made.ids), _Rows(shard)
            for cut in read_cuts(paths[0]):
                if cut.id not in made:
                    continue  # among the rejects of an earlier stage
                total += 1
                frames = made.frames(cut)
                reason = _unfit(cut, made, frames)
                if reason is None and (cut.id in before or cut.id in rows):
                    reason = "duplicate id"
                if reason:
                    rejects.add(cut.id, reason, paths[0])
                    continue
                rows.add(cut, frames)
                counts[cut.split] += 1
            table.append(rows.columns())
            seen.add(rows.ids)
        rejects.write(rejected, total, max_rejected)
        for split in ("train", "valid"):
            if not counts[split]:
                rejects.log()
                raise UserError(
                    f"no utterance is left in split {split!r} (there are {dict(counts)}); raise corpus.valid_fraction "
                    f"or give more speech; {len(rejects.rows)} were rejected here and are listed above; those that "
                    "earlier stages rejected are in corpus, alignment and units, rejected.*.jsonl"
                )


class _Made:
    """The alignment and units of the utterances of a shard, as columns."""

    def __init__(self, alignment: str | Path, units: str | Path) -> None:
        aligned = read_table(alignment, ALIGNMENT, ["id", "phones", "seconds"])
        encoded = read_table(units, UNITS)
        self._row = _row_numbers(aligned)
        self._seconds = aligned.column("seconds").to_pylist()
        spans = SpanColumn(aligned.column("phones"))
        self._phones = spans.lengths.tolist()
        known = set(phone_alphabet(Tokens(), 0))
        self._strange = spans.rows_with({name for name in spans.names if phone_label(name, Tokens()) not in known})
        lengths = encoded.column("units").combine_chunks().value_lengths().to_pylist()
        self._frames = dict(zip(encoded.column("id").to_pylist(), lengths))
        self._given = _is_given(encoded)

    @property
    def ids(self) -> list[str]:
        return list(self._row)

    def __contains__(self, name: str) -> bool:
        return name in self._row and name in self._frames

    def frames(self, cut: Cut) -> int:
        """50 Hz frames: those of the units, or those of the audio if units are external, which were checked before."""
        found = self._frames[cut.id] or 0
        return frame_count(round(cut.duration * SAMPLE_RATE)) if self._given and found else found

    def seconds(self, name: str) -> float:
        return self._seconds[self._row[name]]

    def strange(self, name: str) -> set[str]:
        """The phones of an utterance that phone rungs lack."""
        return {phone_label(label, Tokens()) for label in self._strange.get(self._row[name], ())}

    def has_phones(self, name: str) -> bool:
        return self._phones[self._row[name]] > 0


class _Rows:
    """The rows of a shard in UTTERANCES."""

    def __init__(self, shard: int) -> None:
        self._shard = shard
        self.ids: dict[str, None] = {}
        self._columns: tuple[list[str], list[str], list[float], list[int]] = ([], [], [], [])

    def __contains__(self, name: str) -> bool:
        return name in self.ids

    def add(self, cut: Cut, frames: int) -> None:
        self.ids[cut.id] = None
        for column, value in zip(self._columns, (cut.split, cut.speaker, cut.duration, frames)):
            column.append(value)

    def columns(self) -> dict[str, list[object]]:
        split, speaker, seconds, frames = self._columns
        values = [*self.ids], split, [self._shard] * len(split), speaker, seconds, frames
        return dict(zip(UTTERANCES.names, values))


def _unfit(cut: Cut, made: _Made, frames: int) -> str | None:
    """Why an utterance cannot be on every rung, or None."""
    expected = frame_count(round(cut.duration * SAMPLE_RATE))
    seconds = made.seconds(cut.id)
    if cut.split not in SPLITS:
        return f"split {cut.split!r} is none of {', '.join(SPLITS)}"
    if not frames or abs(frames - expected) > FRAME_TOLERANCE:
        return f"{frames} frames of units, but the audio has {expected}"
    if abs(seconds - cut.duration) > SECONDS_TOLERANCE:
        return f"alignment of {seconds:.2f} s, but the audio has {cut.duration:.2f} s"
    if not cut.text:
        return "empty transcript"
    if strange := set(cut.text.replace(" ", SPACE)) - LETTERS:
        return f"characters that text rungs lack: {' '.join(sorted(strange))}"
    if strange := made.strange(cut.id):
        return f"phones that phone rungs lack: {' '.join(sorted(strange))}"
    return None if made.has_phones(cut.id) else "alignment without phones"


def read_utterances(
    table: pa.Table | str | Path,
    cuts: Sequence[str | Path],
    alignments: Sequence[str | Path],
    units: Sequence[str | Path],
    needs: Sequence[str],
    options: Tokens,
    **common: Any,
) -> Iterator[tuple[str, Utterance]]:
    """Yield (split, Utterance) for each row of `table` (UTTERANCES, or its file), with one shard in memory at a time.

    Reads only the files that `needs` names. `common` are fields that all utterances share: confusions, seed, clusters.
    Raise UserError if an utterance is missing from the files of its shard, or if rows are not in the order of the
    shards.
    """
    _same_length(cuts, alignments, units)
    for shard, rows in _by_shard(table):
        if shard >= len(cuts):
            raise UserError(f"the table of utterances names shard {shard}, but {len(cuts)} shards were given")
        paths, wanted = (cuts[shard], alignments[shard], units[shard]), {row["id"] for row in rows}
        spoken = {c.id: c for c in read_cuts(paths[0]) if c.id in wanted} if {"text", "audio"} & {*needs} else None
        times = "alignment" in needs or ("pauses" in needs and options.text_pauses)
        aligned = _Aligned(paths[1]) if times else None
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
                    words=aligned.words(name) if aligned else [],
                    phones=aligned.phones(name) if aligned else [],
                    units=encoded[name] if encoded else None,
                    frames=row["frames"],
                    seconds=row["seconds"],
                    options=options,
                    audio=cut.samples if cut else None,
                    split=row["split"],
                    **common,
                ),
            )


def _by_shard(table: pa.Table | str | Path) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Yield the rows of each shard that has any; a file is never in memory as a whole."""
    columns = ["id", "split", "shard", "seconds", "frames"]
    if isinstance(table, pa.Table):
        parts: Iterable[pa.RecordBatch] = table.select(columns).to_batches()
    else:
        parts = batches(table, UTTERANCES, columns)
    last, rows = -1, []
    for part in parts:
        for row in part.to_pylist():
            if row["shard"] != last:
                if rows:
                    yield last, rows
                if row["shard"] < last:
                    raise UserError(
                        "the table of utterances is not in the order of the shards; run select_utterances again"
                    )
                last, rows = row["shard"], []
            rows.append(row)
    if rows:
        yield last, rows


class _Aligned:
    """The alignment of a shard, one row at a time."""

    def __init__(self, path: str | Path) -> None:
        table = read_table(path, ALIGNMENT, ["id", "words", "phones"])
        self._row = _row_numbers(table)
        self._words, self._phones = (SpanColumn(table.column(name)) for name in ("words", "phones"))

    def __contains__(self, name: str) -> bool:
        return name in self._row

    def words(self, name: str) -> list[Span]:
        return self._words[self._row[name]]

    def phones(self, name: str) -> list[Span]:
        return self._phones[self._row[name]]


def read_items(
    items: str | Path,
    units: str | Path | None,
    needs: Sequence[str],
    options: Tokens,
    schema: pa.Schema = ITEMS,
    **common: Any,
) -> Iterator[Utterance]:
    """Yield each benchmark item (ITEMS) or prompt (PROMPTS) as an Utterance whose id is `item`, with units if needed.

    `common`: as in `read_utterances`. Raise UserError if an item has no units, or not exactly as many as its audio has
    frames (external units were checked against the audio when they were loaded).
    """
    columns = ["item", "text", "words", "phones", "seconds"] + ["audio"] * ("audio" in needs)
    encoded, given = {}, False
    if "units" in needs and units:
        encoded, given = read_units(units), _is_given(read_table(units, UNITS, ["id"]))
    for row in read_table(items, schema, columns).to_pylist():
        name, own = row["item"], None
        frames = frame_count(round(row["seconds"] * SAMPLE_RATE))
        if "units" in needs:
            own = encoded.get(name)
            if own is None or (len(own) != frames and not given):  # phone-repeat has exactly as many
                got = "no units" if own is None else f"{len(own)} frames of units"
                raise UserError(
                    f"{units}: item {name!r} has {got}, its audio has {frames} frames; encode the items again"
                )
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
            audio=(lambda flac=flac: read_audio(flac, silent=True)) if flac else None,
            **common,
        )


def _is_given(table: pa.Table) -> bool:
    """Whether units are not those of 50 Hz frames (io.tables.EXTERNAL_UNITS): the user's own, or segments."""
    return b"rate" in (table.schema.metadata or {})


def read_units(path: str | Path) -> dict[str, np.ndarray]:
    """A UNITS table as id -> (units,) uint16, views of one array."""
    table = read_table(path, UNITS).combine_chunks()
    if not len(table):
        return {}
    column = table.column("units").combine_chunks()
    flat, ends = column.flatten().to_numpy(), np.cumsum(column.value_lengths().to_numpy())
    return dict(zip(table.column("id").to_pylist(), np.split(flat, ends[:-1])))


def _row_numbers(table: pa.Table) -> dict[str, int]:
    """The row of each id."""
    return {name: row for row, name in enumerate(table.column("id").to_pylist())}


def _same_length(*lists: Sequence[str | Path]) -> None:
    if len({len(paths) for paths in lists}) != 1:
        counts = ", ".join(str(len(paths)) for paths in lists)
        raise UserError(f"cuts, alignment and units must name the same shards in the same order; got {counts} files")
