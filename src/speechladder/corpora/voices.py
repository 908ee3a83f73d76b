"""The world's speakers: one flat voice, and what each cause of variability (factor C) adds to it."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from speechladder.io.errors import UserError, suggestion


@dataclass(frozen=True)
class Voice:
    """A speaker: an accent and a voice variant of espeak-ng, its prosody, and how far this varies between utterances.

    `rate` is in words per minute, `pitch` and `pitch_range` are on espeak-ng's scale of 0-99, `rt60` is the
    reverberation time of the room in seconds (0: no room), `snr` the distance from speech to noise in dB (infinite: no
    noise), `telephone` the share of utterances that have the band of a telephone (of one utterance: 0 or 1). Each
    spread is the half-width of a uniform distribution: `rate_spread` relative to the rate, the others in the unit of
    what they spread.
    """

    name: str
    accent: str = "en-us"
    variant: str = ""
    rate: int = 165
    pitch: int = 50
    pitch_range: int = 50
    rate_spread: float = 0.0
    pitch_spread: float = 0.0
    range_spread: float = 0.0
    rt60: float = 0.0
    rt60_spread: float = 0.0
    snr: float = math.inf
    snr_spread: float = 0.0
    telephone: float = 0.0

    @property
    def espeak(self) -> str:
        """espeak-ng's name of the voice: 'en-us+f3'."""
        return f"{self.accent}+{self.variant}" if self.variant else self.accent

    def jittered(self, rng: Random) -> "Voice":
        """The voice for one utterance, with everything that has a spread drawn within it.

        `rng` is a random.Random or a numpy Generator. Six numbers are drawn in any case, so that what one cause draws
        does not depend on the others.
        """
        rate, pitch, wide, room, noise, line = (rng.uniform(-1, 1) for _ in range(6))

        def scale(value: float) -> int:
            return round(min(99.0, max(0.0, value)))

        return replace(
            self,
            rate=round(min(300.0, max(90.0, self.rate * (1 + rate * self.rate_spread)))),
            pitch=scale(self.pitch + pitch * self.pitch_spread),
            pitch_range=scale(self.pitch_range + wide * self.range_spread),
            rt60=self.rt60 + room * self.rt60_spread,
            snr=self.snr + noise * self.snr_spread,
            telephone=float((line + 1) / 2 < self.telephone),
        )


# Variants whose long-term spectrum, share of voiced frames, pitch and pace are near those of the plain voice. Variants
# that whisper, croak, clip or sound robotic (antonio, boris, caleb, croak, Demonic, iven, klatt, robosoft, ...) are not
# used.
_EIGHT = ("m1", "f1", "m3", "f2", "m7", "f4", "m8", "f5")
_PLAIN = ("m1", "f1", "m2", "f2", "m3", "f3", "m4", "f4", "m5", "f5", "m6", "m7", "m8")
_NAMED = (
    *("Alex", "linda", "adam", "aunty", "belinda", "max", "Annie", "Michael", "grandma", "pablo"),
    *("Mario", "rob", "robert", "norbert", "quincy", "benjamin", "Diogo", "victor"),
)
_OTHER_ACCENTS = {"rp": "en-gb-x-rp", "sco": "en-gb-scotland", "nyc": "en-us-nyc"}
_WITH_OTHER_ACCENTS = ("f1", "m1", "f3", "m3", "f5", "m7", "m8")

_NO_LEVEL = 4  # of a cause that no level of variability has
# Cause -> level of variability (corpus.variability) -> what the cause changes there of one flat voice: the variants and
# accents of the pool, or fields of Voice. Alone, a cause (corpus.causes) has its last and largest strength.
CAUSES: Mapping[str, Mapping[int, Mapping[str, Any]]] = {
    "voices": {2: {"variants": _EIGHT}, 3: {"variants": _PLAIN + _NAMED}},
    "accents": {3: {"accents": _OTHER_ACCENTS}},
    "rate": {1: {"rate_spread": 0.05}, 2: {"rate_spread": 0.08}, 3: {"rate_spread": 0.18}},
    "pitch": {
        1: {"pitch_range": 50, "range_spread": 10},
        2: {"pitch_range": 50, "range_spread": 10, "pitch_spread": 4},
        3: {"pitch_range": 50, "range_spread": 30, "pitch_spread": 12},
    },
    "reverberation": {_NO_LEVEL: {"rt60": 0.375, "rt60_spread": 0.225}},
    "noise": {_NO_LEVEL: {"snr": 15.0, "snr_spread": 10.0}},
    "bandwidth": {_NO_LEVEL: {"telephone": 0.5}},
}


def voices(variability: int, causes: Collection[str] | None = None) -> list[Voice]:
    """The speaker pool of the world: at a level of variability, or with `causes` if they are given.

    0: one voice without intonation; nothing varies. 1: one voice with intonation. 2: eight speakers with one accent.
    3: 52 speakers, 21 of them with three other accents; rate, pitch and pitch range vary widely between utterances.
    Each of `causes` has its largest strength; all else is as at level 0. Raises UserError if a cause is unknown.
    """
    if causes is None:
        strengths = [cause[variability] for cause in CAUSES.values() if variability in cause]
    else:
        for name in causes:
            if name not in CAUSES:
                raise UserError(f"corpus.causes: {name!r}: {suggestion(name, CAUSES)}there are {', '.join(CAUSES)}")
        strengths = [CAUSES[name][max(CAUSES[name])] for name in causes]
    style: dict[str, Any] = {"pitch_range": 0}
    for strength in strengths:
        style |= strength
    variants, accents = style.pop("variants", ()), style.pop("accents", {})
    if not variants and not accents:
        return [Voice("one" if style["pitch_range"] else "flat", **style)]
    return [Voice(name, accent, variant, **style) for name, accent, variant in _speakers(variants, accents)]


def _speakers(variants: Collection[str], accents: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """(name, accent, variant) of each speaker: all variants in en-us, some in the other accents.

    Without variants the plain voice speaks every accent.
    """
    speakers = [("us", "en-us", variant) for variant in variants or ("",)]
    some = _WITH_OTHER_ACCENTS if variants else ("",)
    speakers += [(short, accent, variant) for variant in some for short, accent in accents.items()]
    return [(f"{short}-{variant.lower()}".rstrip("-"), accent, variant) for short, accent, variant in speakers]
