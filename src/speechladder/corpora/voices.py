"""The world's speakers at each level of variability (factor C): from one flat voice to many speakers and styles."""

from dataclasses import dataclass, replace
from random import Random


@dataclass(frozen=True)
class Voice:
    """A speaker: an accent and a voice variant of espeak-ng, its prosody, and how far this varies between utterances.

    `rate` is in words per minute, `pitch` and `pitch_range` are on espeak-ng's scale of 0-99. Each spread is the
    half-width of a uniform distribution: `rate_spread` relative to the rate, the others in points of the scale.
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
        """espeak-ng's name of the voice: 'en-us+f3'."""
        return f"{self.accent}+{self.variant}" if self.variant else self.accent

    def jittered(self, rng: Random) -> "Voice":
        """The voice for one utterance, with rate, pitch and pitch range drawn within the spreads.

        `rng` is a random.Random or a numpy Generator. Three numbers are drawn in any case.
        """
        rate, pitch, wide = (rng.uniform(-1, 1) for _ in range(3))

        def scale(value: float) -> int:
            return round(min(99.0, max(0.0, value)))

        return replace(
            self,
            rate=round(min(300.0, max(90.0, self.rate * (1 + rate * self.rate_spread)))),
            pitch=scale(self.pitch + pitch * self.pitch_spread),
            pitch_range=scale(self.pitch_range + wide * self.range_spread),
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


def voices(variability: int) -> list[Voice]:
    """The speaker pool at a level of variability (corpus.variability).

    0: one voice without intonation; nothing varies. 1: one voice with intonation. 2: eight speakers with one accent.
    3: 52 speakers, 21 of them with three other accents; rate, pitch and pitch range vary widely between utterances.
    """
    if variability == 0:
        return [Voice("flat", pitch_range=0)]
    if variability == 1:
        return [Voice("one", rate_spread=0.05, range_spread=10)]
    if variability == 2:
        return [Voice(f"us-{v}", variant=v, rate_spread=0.08, pitch_spread=4, range_spread=10) for v in _EIGHT]
    speakers = [
        *((f"us-{v.lower()}", "en-us", v) for v in _PLAIN + _NAMED),
        *((f"{short}-{v}", accent, v) for v in _WITH_OTHER_ACCENTS for short, accent in _OTHER_ACCENTS.items()),
    ]
    return [
        Voice(name, accent, variant, rate_spread=0.18, pitch_spread=12, range_spread=30)
        for name, accent, variant in speakers
    ]
