"""The utterances that are aligned."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from speechladder.corpora.cuts import Cut, read_cuts
from speechladder.io.errors import paired
from speechladder.io.spans import Span, from_rows
from speechladder.io.tables import ALIGNMENT, read_table


def aligned_ids(alignment: str | Path) -> set[str]:
    """The ids of the utterances in an ALIGNMENT table."""
    return set(read_table(alignment, ALIGNMENT, columns=["id"])["id"].to_pylist())


def aligned_cuts(cuts: Sequence[Path], alignment: Sequence[Path]) -> Iterator[tuple[int, Cut]]:
    """Yield (index of the shard, cut) of the aligned utterances; only the ids of one shard are in memory.

    Raise UserError if there is not one alignment for each file of cuts.
    """
    for shard, (path, aligned) in enumerate(paired(cuts=cuts, alignment=alignment)):
        known = aligned_ids(aligned)
        yield from ((shard, cut) for cut in read_cuts(path) if cut.id in known)


def phones_of(alignment: Sequence[Path], cuts: Collection[tuple[int, Cut]]) -> dict[str, list[Span]]:
    """The phones of cuts by their ids; each cut comes with the index of its shard. A shard is in memory at a time."""
    out: dict[str, list[Span]] = {}
    for shard in sorted({shard for shard, _ in cuts}):
        wanted = {cut.id for other, cut in cuts if other == shard}
        table = read_table(alignment[shard], ALIGNMENT, columns=["id", "phones"])
        for row, name in enumerate(table["id"].to_pylist()):
            if name in wanted:
                out[name] = from_rows(table["phones"][row].as_py() or [])
    return out
