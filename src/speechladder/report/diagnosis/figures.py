"""The figures of a diagnosis: where each stands, its name, and what it says."""

from typing import NamedTuple

from speechladder.report.diagnosis.numbers import percent, plain
from speechladder.report.diagnosis.verdict import CAUSES
from speechladder.units.diagnostics.probe import AGAIN

# What is counted: part of a change, its name, its colour and its marker.
PARTS = {
    "units": ("units", "#c05a00", "o"),
    "dedup": ("units, each run once", "#0b62b0", "s"),
    "phones_dedup": ("phones, each run once", "#4d7d2c", "D"),
}
COLOURS = {name: colour for name, colour, _ in PARTS.values()}
ROWS = {AGAIN: "the same audio again", **CAUSES, "other": "another sentence"}
HOW = {
    AGAIN: "the base line: 0, unless the encoder is not deterministic",
    "voice": "another of eight voices, of the same accent",
    "accent": "one of three other accents",
    "rate": "faster and slower in turn, by the world's largest spread",
    "pitch": "higher and lower in turn, by the world's largest spread",
    "room": "reverberation, with the middle of the world's times",
    "noise": "pink noise, with the middle of the world's levels",
    "telephone": "the band of a telephone line",
    "context": "the sentence between two others, its own units cut out",
    "other": "the ceiling: another sentence of the same voice",
}


class Figure(NamedTuple):
    """A figure of diagnosis.json: its path, its name, and what it says with the good direction.

    `form` is a format of the value times 100 if `share`, with its unit.
    """

    path: str
    name: str
    meaning: str
    form: str = "{:.1f} %"
    share: bool = False


RATES = (
    Figure("rates.units_per_second", "units", "per second; fewer are easier for a language model", "{:.1f} /s"),
    Figure(
        "rates.entropy_bits",
        "entropy",
        "of a unit without its neighbours; neither high nor low is good by itself",
        "{:.2f} bits",
    ),
    Figure(
        "rates.bits_per_second", "bit rate", "entropy times rate; at equal quality lower is better", "{:.0f} bits/s"
    ),
    Figure("rates.dedup.units_per_second", "runs", "each run of equal units written once", "{:.1f} /s"),
    Figure("rates.dedup.entropy_bits", "entropy of runs", "the same of runs", "{:.2f} bits"),
    Figure(
        "rates.dedup.bits_per_second", "bit rate of runs", "the same; their lengths are not counted", "{:.0f} bits/s"
    ),
)
QUALITY = (
    Figure("quality.pnmi", "PNMI", "share of the phones' entropy that a unit tells; higher is better", "{:.3f}"),
    Figure("quality.pnmi_100hz", "PNMI, field's convention", "units repeated to 100 Hz; higher is better", "{:.3f}"),
    Figure(
        "quality.phone_purity", "phone purity", "frames with their unit's commonest phone; higher is better", share=True
    ),
    Figure(
        "quality.cluster_purity",
        "unit purity",
        "frames with their phone's commonest unit; higher is better",
        share=True,
    ),
    Figure("quality.dead_clusters", "dead units", "units that never occur in the speech; fewer are better", "{:,.0f}"),
    Figure("abx.units.symbols.within", "ABX, one speaker", "errors in telling triphones apart; lower is better"),
    Figure("abx.units.symbols.across", "ABX, two speakers", "the same across speakers; lower is better"),
    Figure("abx.units.centroids.within", "ABX of centroids, one speaker", "by the angle of centroids; lower is better"),
    Figure("abx.units.centroids.across", "ABX of centroids, two speakers", "the same across speakers; lower is better"),
    Figure("abx.features.within", "ABX of features, one speaker", "what the units could keep; lower is better"),
    Figure("abx.features.across", "ABX of features, two speakers", "the same across speakers; lower is better"),
    Figure(
        "speaker.share_excess",
        "on the speaker",
        "share of the speakers' entropy, less chance; lower is better",
        "{:.2f} %",
        True,
    ),
)
WORDS = (
    ("same", percent, "two tokens, one form", "how often two tokens of a word have the same form; higher is better"),
    ("forms", plain, "forms of ten tokens", "different forms among ten tokens of a word; 1 is best"),
    (
        "shared",
        percent,
        "shared forms",
        "tokens whose form another word has too; lower is better, homophones share theirs",
    ),
    ("distance", percent, "distance of two tokens", "edit distance between two tokens of a word; lower is better"),
    ("other", percent, "distance of two words", "the same between two words; higher is better"),
)
