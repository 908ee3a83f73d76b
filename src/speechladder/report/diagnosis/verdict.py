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
Found = Mapping[str, Any]  # the content of a diagnosis.json
# Figure that a tokenizer may be worse in, its path, and whether more of it is worse. All are shares; changes are of
# runs of units.
_BY = "changes by "
COMPARED = {
    **{f"{_BY}{CAUSES[cause]}": (f"invariance.{cause}.dedup", True) for cause in CAUSE_NAMES},
    f"{_BY}a shift of 10 ms": ("shift.10ms.dedup", True),
    "the same form of a word": ("words.dedup.same", False),
    "words that share a form": ("words.dedup.shared", True),
    "word errors of resynthesis": ("resynthesis", True),
}


def verdict(found: Found, others: Mapping[str, Found]) -> list[str]:
    """Sentences on where the tokenizer loses against phones of the same speech, and against hubert-micro."""
    return [text for text in (causes(found), _words(found), _against_default(found, others)) if text]


def causes(found: Found) -> str:
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


def _words(found: Found) -> str:
    same, phones = (at(found, f"words.{kind}.same") for kind in ("dedup", "phones"))
    if not same or not phones:
        return ""
    return (
        f"Two tokens of a word have the same units in {percent(same)} of cases, with each run of equal units written "
        f"once; their phones are the same in {percent(phones['value'])}."
    )


def _against_default(found: Found, others: Mapping[str, Found]) -> str:
    """What the default tokenizer does better, and worse, on the same speech; "" if its diagnosis is not at hand."""
    default = next((other for other in others.values() if not other.get("tokenizer")), None)
    return against(found, default, "hubert-micro") if default is not None and found["tokenizer"] else ""


def against(found: Found, other: Found, name: str) -> str:
    """Where a tokenizer loses most against another one, called `name`, and what else is clearly apart."""
    worse, better = {}, []
    for title, (path, more_is_worse) in COMPARED.items():
        one, two = (_estimate(of, path) for of in (found, other))
        if apart(one, two):
            more = one["value"] - two["value"]
            if (more > 0) == more_is_worse:
                worse[title] = (abs(more), one, two)
            else:
                better.append(title)
    pnmi = [at(of, "quality.pnmi_100hz") for of in (found, other)]
    said = [f"Its PNMI is {pnmi[0]:.3f} where that of {name} is {pnmi[1]:.3f}."] if all(pnmi) else []
    first, *rest = sorted(worse, key=lambda title: -worse[title][0]) or [""]
    if first:
        _, one, two = worse[first]
        said.append(f"It loses most against {name} in {first}: {percent(one)}, and there {percent(two)}.")
    said += [f"It also loses in {_together(rest)}."] if rest else []
    said += [f"It is better in {_together(better)}."] if better else []
    if not worse and not better:
        said.append(f"No other figure is clearly apart from those of {name}.")
    return " ".join(said)


def _together(titles: list[str]) -> str:
    """Titles of COMPARED as a list, in which "changes by" stands once."""
    causes_of = [title.removeprefix(_BY) for title in titles if title.startswith(_BY)]
    changes = [_BY + listed(causes_of)] if causes_of else []
    return ", and in ".join([*changes, *(title for title in titles if not title.startswith(_BY))])


def _estimate(found: Found, path: str) -> Mapping[str, Any] | None:
    of = at(found, path)
    return of | {"value": of["wer"]} if of and "wer" in of else of
