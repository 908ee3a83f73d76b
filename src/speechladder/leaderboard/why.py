"""Why entries differ: what the diagnosis of each says of its units, beside those of the first such entry."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scipy.stats import spearmanr

from speechladder.analysis.csv_tables import fixed
from speechladder.leaderboard.board import MAIN, Standing
from speechladder.report.diagnosis.verdict import CAUSES, against, causes
from speechladder.report.markdown import table_lines
from speechladder.report.page.numbers import at

AS_THEY_ARE = "speech-hubert"  # the rung whose tokens are the units
# The changes of the table: path in diagnosis.json -> title.
CHANGES = {
    **{f"invariance.{cause}": CAUSES[cause] for cause in ("voice", "room", "noise", "context")},
    "shift.10ms": "shift of 10 ms",
}


def why(standings: Sequence[Standing]) -> Iterator[str]:
    """The lines of the section; `standings` are in the order of the leaderboard. Nothing without a diagnosis."""
    found = {standing.entry.name: standing.entry.diagnosis for standing in standings}
    known = {name: of for name, of in found.items() if of}
    if not known:
        return
    yield from ("", "## What the units keep", "")
    titles = ["PNMI", "PNMI (100 Hz)", "ABX across, %", *(f"{title}, %" for title in CHANGES.values())]
    titles += ["speaker, bits", "forms per word", "resynthesis WER, %"]
    rows = [[name, *(_cells(of) if of else [""] * len(titles))] for name, of in found.items()]
    yield from table_lines([["entry", *titles], *rows])
    yield ""
    yield (
        f"From `diagnosis.json` of each entry (`make diagnose`, [diagnosis.md](diagnosis.md)): {_conditions(known)}. "
        "Its codebook is trained on that speech, so its PNMI is not that of the first table. Rungs without units have "
        "empty cells. PNMI (100 Hz): by the field's convention. ABX across: errors of units as symbols, two speakers. "
        "Changes: the share of a sentence's units that change if one thing of its sound does, each run of equal units "
        "written once, and in parentheses the same of the phones of the same audio. Speaker: what a unit tells of the "
        "speaker, less chance. Forms: different sequences of units among ten tokens of a word, each run once. High is "
        "good for PNMI, low for the rest. Fewer different units change less: compare entries of equal numbers. "
        "These figures are of units, which an entry does not hold: their "
        "conditions are checked, and they are not computed again."
    )
    yield ""
    best = next(iter(known))
    for name, of in known.items():
        yield f"- **{name}**: {_sentence(of, known[best], best, name == best)}"
    yield from _predictions(standings)


def _predictions(standings: Sequence[Standing]) -> Iterator[str]:
    """How the line of the published systems does here, on entries whose tokens are their units, written as they are."""
    inside, outside, points = 0, [], {}
    for standing in standings:
        found = standing.entry.diagnosis.get("prediction")
        if not found or standing.entry.about["rung"] != AS_THEY_ARE:
            continue
        measured = 100 * standing.accuracies["swuggy", MAIN].value
        points[standing.entry.name] = (measured, at(standing.entry.diagnosis, "quality.pnmi_100hz"))
        if found["low"] <= measured <= found["high"]:
            inside += 1
            continue
        beyond = ", beyond the published systems" if found["extrapolated"] else ""
        ends = f"{found['value']:.1f} [{found['low']:.1f}, {found['high']:.1f}]{beyond}"
        outside.append(f"{standing.entry.name} (predicted {ends}; measured {measured:.1f})")
    if inside or outside:
        yield ""
        yield (
            "A line that was fitted on published systems predicts sWUGGY from PNMI ([published.md](published.md)). Of "
            f"{inside + len(outside)} entries of the rung {AS_THEY_ARE}, the accuracy measured here lies within the "
            f"interval of the prediction for {inside}" + (f", and not for {'; '.join(outside)}." if outside else ".")
        )
    if len(points) > 2:
        found = spearmanr(*zip(*points.values()))
        yield ""
        yield (
            f"Spearman's correlation of sWUGGY with PNMI (100 Hz) over these {len(points)} entries is "
            f"{found.statistic:+.2f} (p {found.pvalue:.2g}). What units keep of phones does not explain "
            "the order alone; what else was found to count is in [findings.md](findings.md)."
        )


def _conditions(known: Mapping[str, Mapping[str, Any]]) -> str:
    of = next(iter(known.values()))["conditions"]
    return (
        f"{of['hours']:g} hours of the {of['corpus']}, seed {of['seed']}, {of['sentences']} sentences spoken again, "
        f"intervals of {of['confidence']:.0%}"
    )


def _sentence(of: Mapping[str, Any], best: Mapping[str, Any], name: str, itself: bool) -> str:
    """Where the units of an entry lose most against those of the first entry with a diagnosis; of that one, to what."""
    if itself:
        return f"the first entry that is made of units. {causes(of)}"
    if of["tokenizer"] == best["tokenizer"]:
        return f"It has the units of {name}, so only the tokens made of them differ."
    return against(of, best, name)


def _cells(of: Mapping[str, Any]) -> list[str]:
    figures = [fixed(at(of, f"quality.{name}"), 3) for name in ("pnmi", "pnmi_100hz")]
    figures.append(fixed(at(of, "abx.units.symbols.across"), 1))
    for path in CHANGES:
        phones = at(of, f"{path}.phones_dedup.value")
        beside = "" if phones is None else f" ({100 * phones:.0f})"
        figures.append(_interval(at(of, f"{path}.dedup"), "value", 100, 0) + beside)
    figures.append(fixed(at(of, "speaker.mi_excess_bits"), 2))
    figures.append(_interval(at(of, "words.dedup.forms"), "value", 1, 1))
    return [*figures, _interval(of.get("resynthesis"), "wer", 100, 0)]


def _interval(found: Mapping[str, Any] | None, name: str, scale: float, decimals: int) -> str:
    """'37 [30, 44]'; the value alone where it has no interval, and nothing for None."""
    if not found or found.get(name) is None:
        return ""
    value, low, high = (
        "" if found.get(part) is None else fixed(scale * found[part], decimals) for part in (name, "low", "high")
    )
    return f"{value} [{low}, {high}]" if low and high else value
