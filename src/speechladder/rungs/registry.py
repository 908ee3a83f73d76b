"""What a rung is, and the list of them: `@rung(...)` above a function Utterance -> symbols puts it on the ladder.

Light on purpose: the workflow asks for the names when it checks a configuration.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from speechladder.io.errors import UserError, suggestion
from speechladder.io.spans import Span
from speechladder.settings import Tokens

SPACE = "\u2581"  # a space between words as a symbol, as SentencePiece writes it
NEEDS = ("text", "alignment", "units", "audio")
# characters; phones; a phone per 50 Hz frame; a unit u0, u1, ... per 50 Hz frame; each run of the same unit once
HEARD_AS = ("text", "phones", "phone-frames", "units", "unit-runs")


@dataclass(frozen=True, eq=False)
class Utterance:
    """An utterance or a benchmark item as a rung sees it.

    `text` is normalised; `words` (no silences) and `phones` (ARPAbet as aligned, SIL, contiguous) are spans in
    seconds; `units` is (frames,) uint16 at 50 Hz, the user's
    own (units.source: given) as they were written; `options` are the settings under `tokens`; `audio()` reads
    (n,) float32 at 16 kHz. What a rung does not name in its `needs` is empty or None.
    """

    id: str
    text: str
    words: list[Span]
    phones: list[Span]
    units: np.ndarray | None
    frames: int
    seconds: float
    options: Tokens = field(default_factory=Tokens)
    audio: Callable[[], np.ndarray] | None = None


Symbolise = Callable[[Utterance], list[str]]
Alphabet = Callable[[Tokens, int], Sequence[str]]  # of the settings under `tokens` and `units.clusters`


@dataclass(frozen=True)
class Rung:
    """A registered rung.

    `alphabet`: every symbol that the function may give, so that what training never showed still has an id; None
    takes the symbols of the train split, sorted. `bpe`: the vocabulary of a SentencePiece BPE over the symbols, as a
    number or as the name of a field of settings.Tokens; None makes each symbol a token. `isolated`: symbols that BPE
    never merges with a neighbour. `heard`: what the symbols are when a continuation is turned into words (HEARD_AS);
    None leaves the rung out of the continuation task.
    """

    name: str
    function: Symbolise
    needs: tuple[str, ...]
    alphabet: Alphabet | None
    bpe: int | str | None
    isolated: tuple[str, ...]
    heard: str | None = None

    def bpe_size(self, options: Tokens) -> int | None:
        """Pieces of the BPE vocabulary, specials included; None where each symbol is a token."""
        return getattr(options, self.bpe) if isinstance(self.bpe, str) else self.bpe


RUNGS: dict[str, Rung] = {}


def rung(
    name: str,
    *,
    needs: str | Iterable[str],
    alphabet: Alphabet | None = None,
    bpe: int | str | None = None,
    isolated: Iterable[str] = (),
    heard: str | None = None,
) -> Callable[[Symbolise], Symbolise]:
    """Register a function Utterance -> list of symbols as the rung `name`; the function itself is unchanged.

    Symbols are non-empty strings without white space. See `Rung` for the arguments, docs/adding-a-rung.md for an
    example. Raises ValueError when the name is taken or `needs` names something unknown.
    """
    wanted = (needs,) if isinstance(needs, str) else tuple(needs)
    if name in RUNGS:
        raise ValueError(f"the rung {name!r} is registered already")
    if not wanted or set(wanted) - set(NEEDS):
        raise ValueError(f"rung {name!r}: needs is {wanted}, allowed: {', '.join(NEEDS)}")
    if heard is not None and heard not in HEARD_AS:
        raise ValueError(f"rung {name!r}: heard is {heard!r}, allowed: {', '.join(HEARD_AS)}")

    def register(function: Symbolise) -> Symbolise:
        RUNGS[name] = Rung(name, function, wanted, alphabet, bpe, tuple(isolated), heard)
        return function

    return register


def get(name: str) -> Rung:
    """The rung of that name; raises UserError with the nearest spelling."""
    import speechladder.rungs.functions  # noqa: F401 - fills RUNGS

    if name not in RUNGS:
        hint = suggestion(name, RUNGS)
        raise UserError(f"rungs: no rung {name!r}; {hint}known: {', '.join(RUNGS)}")
    return RUNGS[name]


def names() -> tuple[str, ...]:
    """Every registered rung, from text to speech."""
    import speechladder.rungs.functions  # noqa: F401 - fills RUNGS

    return tuple(RUNGS)
