"""What the official benchmarks have in common: recorded pairs, read from an archive and validated."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from speechladder.benchmarks.pairs import spread
from speechladder.benchmarks.spoken import Take
from speechladder.fetch.archives import Store
from speechladder.io.audio import AudioError, read_audio
from speechladder.io.errors import UserError


@dataclass(frozen=True)
class OfficialPair:
    """A pair in all its voices. `length`: phones of the word as the gold table counts them."""

    id: str
    type: str
    takes: list[Take]
    length: int | None = None


@dataclass
class Official:
    """An official benchmark.

    `takes`: its pairs voice by voice; `lost`: how many of them could not be used and are listed already; `facts`: for
    about.json; `notes`: what the table's reader should know; `metadata`: of items.parquet.
    """

    takes: list[Take]
    lost: int
    facts: dict[str, object]
    notes: list[str]
    metadata: dict[str, str] = field(default_factory=dict)


def chosen(pairs: Sequence[OfficialPair], most: int) -> list[OfficialPair]:
    """At most `most` pairs (0: all), as evenly over their types as they allow, evenly spaced in each."""
    by_type: dict[str, list[OfficialPair]] = defaultdict(list)
    for pair in pairs:
        by_type[pair.type].append(pair)
    return spread(by_type, most)


def safe(text: str) -> str:
    """A part of an id: without slashes, bars and spaces, by which ids are put together."""
    return re.sub(r"[/|\s]+", "_", text.strip())


def read_member(store: Store, member: str) -> np.ndarray:
    """A recording of an archive, (n,) float32 at 16 kHz; raises AudioError, also where the archive is broken there."""
    try:
        return read_audio(store.read(member))
    except UserError as error:
        raise AudioError(str(error)) from None
    except AudioError as error:  # the place in memory says nothing, and is another one each time
        raise AudioError(re.sub(r"<_io\.BytesIO[^>]*>", member, str(error))) from None
