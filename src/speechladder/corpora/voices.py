"""The speakers of the world, and the dial for factor C: from one flat voice to many speakers and styles."""

from dataclasses import dataclass, replace
from typing import Protocol


class _Uniform(Protocol):
    def uniform(self, a: float, b: float) -> float: ...


@dataclass(frozen=True)
class Voice:
    """A speaker: an accent and a voice variant of espeak-ng, how it speaks, and how far that varies by utterance.

    `rate` in words per minute, `pitch` and `pitch_range` on espeak-ng's scale of 0-99; `rate_spread` is relative,
    the other spreads are in the scale's points, each the half-width of a uniform distribution.
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

    @property
    def espeak(self) -> str:
        """espeak-ng's name: 'en-us+f3'."""
        return f"{self.accent}+{self.variant}" if self.variant else self.accent

    def jittered(self, rng: _Uniform) -> "Voice":
        """The voice for one utterance: rate, pitch and pitch range drawn within the spreads.

        `rng` is a random.Random or a numpy Generator; three numbers are always drawn.
        """
        rate, pitch, wide = (float(rng.uniform(-1, 1)) for _ in range(3))

        def scale(value: float) -> int:
            return round(min(99.0, max(0.0, value)))

        return replace(
            self,
            rate=round(min(300.0, max(90.0, self.rate * (1 + rate * self.rate_spread)))),
            pitch=scale(self.pitch + pitch * self.pitch_spread),
            pitch_range=scale(self.pitch_range + wide * self.range_spread),
        )


_EIGHT = ("m1", "f1", "m3", "f2", "m7", "f4", "m8", "f5")
_MANY = tuple(f"f{i}" for i in range(1, 6)) + tuple(f"m{i}" for i in range(1, 9))


def voices(variability: int) -> list[Voice]:
    """The speaker pool at a setting of the dial (corpus.variability).

    0: one voice without intonation, nothing varies. 1: one voice with intonation. 2: eight speakers of one accent.
    3: many speakers in four accents, whose rate, pitch and pitch range vary from one utterance to the next.
    """
    if variability == 0:
        return [Voice("flat", pitch_range=0)]
    if variability == 1:
        return [Voice("one", rate_spread=0.05, range_spread=10)]
    if variability == 2:
        return [Voice(f"us-{v}", variant=v, rate_spread=0.08, pitch_spread=4, range_spread=10) for v in _EIGHT]
    accents = {"us": "en-us", "nyc": "en-us-nyc", "rp": "en-gb-x-rp", "sco": "en-gb-scotland"}
    return [
        Voice(f"{short}-{v}", accent, v, rate_spread=0.18, pitch_spread=12, range_spread=30)
        for short, accent in accents.items()
        for v in _MANY
    ]
