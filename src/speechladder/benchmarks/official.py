"""What the readers of official benchmarks share: recorded pairs in an archive."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from speechladder.benchmarks.pairs import spread
from speechladder.benchmarks.spoken import VoicedPair
from speechladder.fetch.archives import Store
from speechladder.io.audio import AudioError, read_audio
from speechladder.io.errors import UserError


@dataclass(frozen=True)
class OfficialPair:
    """A pair in all its voices. `length` is the number of phones of its word in the gold table."""

    id: str
    type: str
    voiced: list[VoicedPair]
    length: int | None = None
    two: str = ""  # no official benchmark has crossed twos


def spread_over_types(pairs: Sequence[OfficialPair], max_pairs: int) -> list[OfficialPair]:
    """At most `max_pairs` pairs (0: all), as evenly over their types as possible and evenly spaced in each type."""
    by_type: dict[str, list[OfficialPair]] = defaultdict(list)
    for pair in pairs:
        by_type[pair.type].append(pair)
    return spread(by_type, max_pairs)


def id_part(text: str) -> str:
    """`text` as a part of an id. Slashes, bars and spaces become "_", since ids are joined by slashes and bars."""
    return re.sub(r"[/|\s]+", "_", text.strip())


def read_member(store: Store, member: str) -> np.ndarray:
    """A recording of an archive, (n,) float32 at 16 kHz; raises AudioError, also if the archive is broken there."""
    try:
        return read_audio(store.read(member))
    except UserError as error:
        raise AudioError(str(error)) from None
    except AudioError as error:  # the address of the buffer in memory differs in each run
        raise AudioError(re.sub(r"<_io\.BytesIO[^>]*>", member, str(error))) from None
