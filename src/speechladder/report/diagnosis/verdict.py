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
# Figure that a tokenizer may be worse in, its path, and whether more of it is worse. All are shares. A path with {}
# is of runs of units (dedup) and of units as they are (units). A language model reads the one or the other, so a
# difference is said if both show it; its figures are those of runs.
_BY = "changes by "
COMPARED = {
    **{f"{_BY}{CAUSES[cause]}": (f"invariance.{cause}.{{}}", True) for cause in CAUSE_NAMES},
    f"{_BY}a shift of 10 ms": ("shift.10ms.{}", True),
    "two tokens of a word with the same form": ("words.{}.same", False),
    "tokens whose form another word has too": ("words.{}.shared", True),
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
    share, phones = (at(found, f"invariance.{first}.{kind}") for kind in ("dedup", "phones_dedup"))
    most = listed([CAUSES[cause] for cause in (first, *tied)])
    text = (
        f"Of what changes the sound of a sentence, {most} {'change' if tied else 'changes'} most of its units: "
        f"{f'{CAUSES[first]} ' if tied else ''}{percent(share)}, and {percent(phones['value'])} of its phones"
    )
    text += f" (another sentence: {percent(scale['value'])} of the units)." if scale else "."
    text += " The intervals do not order them." if tied else ""
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
        both = [[_estimate(of, path.format(kind)) for of in (found, other)] for kind in ("dedup", "units")]
        (one, two), (here, there) = both
        if apart(one, two) and apart(here, there):
            more = one["value"] - two["value"]
            if (here["value"] > there["value"]) != (more > 0):
                continue
            if (more > 0) == more_is_worse:
                worse[title] = (abs(more), one, two)
            else:
                better.append(title)
    pnmi = [at(of, "quality.pnmi_100hz") for of in (found, other)]
    said = [f"Its PNMI is {pnmi[0]:.3f} where that of {name} is {pnmi[1]:.3f}."] if all(pnmi) else []
    first, *rest = sorted(worse, key=lambda title: -worse[title][0]) or [""]
    if first:
        _, one, two = worse[first]
        said.append(f"It loses most against {name} in {first}: {percent(one)}, and {name} has {percent(two)}.")
    said += [f"It also loses in {_together(rest)}."] if rest else []
    said += [f"It is better in {_together(better)}."] if better else []
    if not worse and not better:
        said.append(f"No figure with an interval is clearly apart from those of {name}.")
    return " ".join(said)


def _together(titles: list[str]) -> str:
    """Titles of COMPARED as a list, in which "changes by" stands once."""
    causes_of = [title.removeprefix(_BY) for title in titles if title.startswith(_BY)]
    changes = [_BY + listed(causes_of)] if causes_of else []
    return ", and in ".join([*changes, *(title for title in titles if not title.startswith(_BY))])


def _estimate(found: Found, path: str) -> Mapping[str, Any] | None:
    of = at(found, path)
    return of | {"value": of["wer"]} if of and "wer" in of else of
