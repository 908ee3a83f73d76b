"""The first paragraph of a diagnosis: where the tokenizer loses, computed from its figures and their intervals."""

from collections.abc import Mapping
from typing import Any

from speechladder.report.diagnosis.numbers import apart, percent
from speechladder.report.page.numbers import at, listed
from speechladder.units.diagnostics.probe import CAUSE_NAMES

CAUSES = {
    "voice": "another voice",
    "accent": "another accent",
    "rate": "another rate",
    "pitch": "another pitch",
    "room": "a room",
    "noise": "noise",
    "telephone": "a telephone line",
    "context": "speech around it",
}
# Figure that a tokenizer may be worse in, its path, and whether more of it is worse.
COMPARED = {
    **{f"changes by {CAUSES[cause]}": (f"invariance.{cause}.dedup", True) for cause in CAUSE_NAMES},
    "the same form of a word": ("words.dedup.same", False),
    "words that share a form": ("words.dedup.shared", True),
    "resynthesis": ("resynthesis", True),
}


def verdict(found: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Sentences on where the tokenizer loses against phones of the same speech, and against hubert-micro."""
    return [text for text in (_causes(found), _words(found), _against_default(found, others)) if text]


def _causes(found: Mapping[str, Any]) -> str:
    """Which causes change more units than they change phones."""
    above = {cause: at(found, f"invariance.{cause}.above_phones") for cause in CAUSE_NAMES}
    lost = {cause: of for cause, of in above.items() if of and (of["low"] or 0.0) > 0}
    scale = at(found, "invariance.other.dedup")
    if not lost:
        return "No cause of variability changes clearly more of the units of a sentence than of its phones."
    first, *rest = sorted(lost, key=lambda cause: -lost[cause]["value"])
    tied = [cause for cause in rest if not apart(lost[first], lost[cause])]
    text = (
        f"The units lose most to {CAUSES[first]}: {percent(at(found, f'invariance.{first}.dedup'))} of a sentence's "
        f"units change, and {percent(at(found, f'invariance.{first}.phones_dedup')['value'])} of its phones"
    )
    text += f" (another sentence: {percent(scale['value'])})." if scale else "."
    if tied:
        text += f" {listed([CAUSES[cause] for cause in tied]).capitalize()} may cost as much: the intervals overlap."
    if kept := [CAUSES[cause] for cause, of in above.items() if of and cause not in lost]:
        text += f" No loss shows from {listed(kept)}."
    return text


def _words(found: Mapping[str, Any]) -> str:
    same, phones = (at(found, f"words.{kind}.same") for kind in ("dedup", "phones"))
    if not same or not phones:
        return ""
    return (
        f"Two tokens of a word have the same units in {percent(same)} of cases, with each run of equal units written "
        f"once; their phones are the same in {percent(phones['value'])}."
    )


def _against_default(found: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]) -> str:
    """What the default tokenizer does better, and worse, on the same speech; "" if its diagnosis is not at hand."""
    default = next((other for other in others.values() if not other.get("tokenizer")), None)
    if default is None or not found["tokenizer"]:
        return ""
    worse, better = [], []
    for name, (path, more_is_worse) in COMPARED.items():
        one, other = (_estimate(of, path) for of in (found, default))
        if apart(one, other):
            (worse if (one["value"] > other["value"]) == more_is_worse else better).append(name)
    pnmi = [at(of, "quality.pnmi_100hz") for of in (found, default)]
    said = f"Its PNMI is {pnmi[0]:.3f} where that of hubert-micro is {pnmi[1]:.3f}." if all(pnmi) else ""
    said += f" Against hubert-micro it is worse in {listed(worse)}." if worse else ""
    said += f" It is better in {listed(better)}." if better else ""
    return (said + ("" if worse or better else " No other figure is clearly apart from those of hubert-micro.")).strip()


def _estimate(found: Mapping[str, Any], path: str) -> Mapping[str, Any] | None:
    of = at(found, path)
    return of | {"value": of["wer"]} if of and "wer" in of else of
