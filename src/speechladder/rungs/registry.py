"""The definition of a rung, and the list of all of them. Loads no torch.

`@rung(...)` above a function Utterance -> symbols puts a rung on the ladder. The package fills the list by importing
`rungs.functions`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from speechladder.io.errors import UserError, suggestion
from speechladder.io.spans import Span
from speechladder.rungs.confusions import Confusions
from speechladder.settings import Tokens

SPACE = "\u2581"  # a space between words as a symbol, as SentencePiece writes it
# pauses: the alignment, if tokens.text_pauses is set; frames: units of which each is a 50 Hz frame, beside "units";
# confusions: phones and their units, counted over the train split; seed: the run's seed and the number of units
NEEDS = ("text", "pauses", "alignment", "units", "audio", "frames", "confusions", "seed")
# characters; phones; a phone per 50 Hz frame; a unit u0, u1, ... per 50 Hz frame; each run of equal units once
TRANSCRIBED_AS = ("text", "phones", "phone-frames", "units", "unit-runs")
PER_FRAME = ("phone-frames", "units")  # of these, the kinds with a token per 50 Hz frame


@dataclass(frozen=True, eq=False)
class Utterance:
    """An utterance or a benchmark item as a rung sees it.

    `text` is normalised; `words` (no silences) and `phones` (ARPAbet as aligned, SIL, contiguous) are spans in
    seconds; `units` is (frames,) uint16 at 50 Hz, or the user's external units as they were written; `options` are
    the settings under `tokens`; `audio()` reads (n,) float32 at 16 kHz; `split` is that of the corpus, and None of an
    item or a prompt; `confusions` draws the phone that is heard in place of a phone; `seed` is that of the run, and
    `clusters` the number of different units. Fields that a rung does not name in its `needs` are empty or None.
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
    split: str | None = None
    confusions: Confusions | None = None
    seed: int | None = None
    clusters: int | None = None


Symbolise = Callable[[Utterance], list[str]]
Alphabet = Callable[[Tokens, int], Sequence[str]]  # of the settings under `tokens` and `units.clusters`


@dataclass(frozen=True)
class Rung:
    """A registered rung.

    `alphabet`: every symbol that the function may return, so that a symbol outside the training data still has an id;
    None takes the symbols of the train split, sorted. `bpe`: the vocabulary size of a SentencePiece BPE over the
    symbols, as a number or as the name of a field of settings.Tokens; None makes each symbol a token. `isolated`:
    symbols that BPE never merges with a neighbour. `transcribed_as`: the kind of the symbols when a continuation is
    turned into words (TRANSCRIBED_AS); None leaves the rung out of the continuation task. `per_frame`: whether tokens
    last one 50 Hz frame, so that `lm.run_curriculum` applies. `spelled`: symbols of which the curriculum shortens no
    run, since it is no duration (the letters of "all").
    """

    name: str
    function: Symbolise
    needs: tuple[str, ...]
    alphabet: Alphabet | None
    bpe: int | str | None
    isolated: tuple[str, ...]
    transcribed_as: str | None = None
    per_frame: bool = False
    spelled: Alphabet | None = None

    def bpe_size(self, options: Tokens) -> int | None:
        """Pieces of the BPE vocabulary, specials included; None if each symbol is a token."""
        return getattr(options, self.bpe) if isinstance(self.bpe, str) else self.bpe


RUNGS: dict[str, Rung] = {}


def rung(
    name: str,
    *,
    needs: str | Iterable[str],
    alphabet: Alphabet | None = None,
    bpe: int | str | None = None,
    isolated: Iterable[str] = (),
    transcribed_as: str | None = None,
    per_frame: bool | None = None,
    spelled: Alphabet | None = None,
) -> Callable[[Symbolise], Symbolise]:
    """Register a function Utterance -> list of symbols as the rung `name`; the function itself is unchanged.

    Symbols are non-empty strings without white space. See `Rung` for the arguments and docs/adding-a-rung.md for an
    example; `per_frame` is by default what `transcribed_as` says. Raise ValueError if the name is taken, or if `needs`
    or `transcribed_as` names something unknown.
    """
    wanted = (needs,) if isinstance(needs, str) else tuple(needs)
    if name in RUNGS:
        raise ValueError(f"the rung {name!r} is registered already")
    if not wanted or set(wanted) - set(NEEDS):
        raise ValueError(f"rung {name!r}: needs is {wanted}, allowed: {', '.join(NEEDS)}")
    if transcribed_as is not None and transcribed_as not in TRANSCRIBED_AS:
        raise ValueError(f"rung {name!r}: transcribed_as is {transcribed_as!r}, allowed: {', '.join(TRANSCRIBED_AS)}")

    def register(function: Symbolise) -> Symbolise:
        frames = transcribed_as in PER_FRAME if per_frame is None else per_frame
        RUNGS[name] = Rung(name, function, wanted, alphabet, bpe, tuple(isolated), transcribed_as, frames, spelled)
        return function

    return register


def get(name: str) -> Rung:
    """The rung of that name. Raise UserError with the nearest spelling if there is none."""
    if name not in RUNGS:
        hint = suggestion(name, RUNGS)
        raise UserError(f"rungs: no rung {name!r}; {hint}known: {', '.join(RUNGS)}")
    return RUNGS[name]


def names() -> tuple[str, ...]:
    """The names of all registered rungs, from text to speech."""
    return tuple(RUNGS)
