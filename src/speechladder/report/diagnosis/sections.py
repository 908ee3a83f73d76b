"""The sections of the page of a diagnosis. Each figure has a short sentence: what it says, and which way is good."""

from collections.abc import Mapping, Sequence
from typing import Any

from speechladder.report.diagnosis.figures import HOW, PARTS, QUALITY, RATES, ROWS, WORDS, Figure
from speechladder.report.diagnosis.numbers import percent, plain
from speechladder.report.diagnosis.verdict import CAUSES, verdict
from speechladder.report.page.charts import SHAPES, Mark, Scale, intervals
from speechladder.report.page.numbers import at, listed
from speechladder.report.page.palette import variable
from speechladder.report.page.section import Section, Table
from speechladder.units.diagnostics.probe import AGAIN, CAUSE_NAMES

Found = Mapping[str, Any]
TEMPLATE = "diagnosis.html.j2"


def tokenizer_name(settings: Mapping[str, Any]) -> str:
    """The settings of units that are not the default, in words."""
    return ", ".join(f"{name} {value}" for name, value in settings.items()) or "hubert-micro, the default units"


def sections(found: Found, others: Mapping[str, Found]) -> list[Section]:
    """Every section that the figures allow; `others` are diagnoses of the same speech by the name of their entry."""
    made = (
        _first(found, others),
        _invariance(found),
        _shift(found),
        _quality(found),
        _words(found),
        _resynthesis(found),
        _prediction(found),
        _entries(found, others),
    )
    return [section for section in made if section]


def _section(title: str, anchor: str, **context: Any) -> Section:
    empty: dict[str, Any] = dict.fromkeys(("lead", "paragraphs", "marks", "charts", "tables", "notes"), ())
    return Section(title, anchor, TEMPLATE, empty | context)


def _first(found: Found, others: Mapping[str, Found]) -> Section:
    of = found["conditions"]
    world = f", level {of['variability']} of variability" if "variability" in of else ""
    notes = [
        f"Speech: {of['hours'] or 'all'} h of the corpus {of['corpus']}, seed {of['seed']}{world}; {of['sentences']} "
        f"sentences of probe speech; ABX on {of['abx_minutes']:g} minutes. No language model was trained. Intervals "
        f"hold {100 * of['confidence']:.0f} %. They resample the sentences of the probe, or words; codebook and corpus "
        "are given. The probe is synthesized, so the figures compare tokenizers and are not those of natural speech."
    ]
    title = f"Diagnosis of {tokenizer_name(found['tokenizer'])}"
    return _section(title, "finding", lead=verdict(found, others), notes=notes)


def _marks(parts: Sequence[str]) -> list[Mark]:
    return [Mark(PARTS[part][0], variable(PARTS[part][0]), SHAPES[PARTS[part][2]]) for part in parts]


def _chart(name: str, title: str, rows: Mapping[str, str], found: Found, parts: Sequence[str]) -> Any:
    records = []
    for kind, label in rows.items():
        for part in parts:
            if of := found[kind].get(part):
                low, high = (of["value"] if of[end] is None else of[end] for end in ("low", "high"))
                ends = {"value": 100 * of["value"], "low": 100 * low, "high": 100 * high}
                words = {
                    "label": label,
                    "series": PARTS[part][0],
                    "text": f"{100 * of['value']:.0f}",
                    "said": percent(of),
                }
                records.append(words | ends)
    top = max([10.0, *(record["high"] for record in records)])
    scale = Scale("share that changes, %", 0, 10 * -(-top // 10))
    hover = (("label", "changed"), ("series", "counted"), ("said", "share"))
    label = f"{title}; the figures are in the table."
    labels = list(dict.fromkeys(record["label"] for record in records))
    return intervals(
        (name, title, label), records, rows=labels, marks=_marks(parts), scale=scale, hover=hover, side_by_side=True
    )


def _invariance(found: Found) -> Section:
    of, parts = found["invariance"], list(PARTS)
    shown = ("units", "dedup", "phones_dedup", "of_other")
    rows = [
        [ROWS[kind], *(percent(of[kind].get(part)) for part in shown), HOW[kind]]
        for kind in (AGAIN, *CAUSE_NAMES, "other")
    ]
    head = ["changed", "units", "units, each run once", "phones, each run once", "of another sentence", "how"]
    table = Table("Share of a sentence's units that change", head, rows, frozenset({5}))
    paragraphs = [
        "The same sentences are spoken again with one thing changed. The share is the edit distance to the first "
        "recording, divided by the longer of the two. Lower is better. What phones change by themselves, through other "
        "pronunciations or durations, no tokenizer should hide; what units change beyond that is a loss.",
        "A change of rate moves units even where every phone keeps its own, because the frames are more or fewer. Each "
        "run of equal units written once leaves that out, mostly.",
    ]
    notes = (
        [f"No figure for {CAUSES['context']}: {found['reasons']['context']}."] if "context" in found["reasons"] else []
    )
    chart = _chart("invariance", "What changes the units of a sentence", ROWS, of, parts)
    return _section(
        "Invariance",
        "invariance",
        paragraphs=paragraphs,
        marks=_marks(parts),
        charts=[chart],
        tables=[table],
        notes=notes,
    )


def _shift(found: Found) -> Section:
    of, parts = found["shift"], ("units", "phones", "dedup", "phones_dedup")
    rows = [
        [f"{name.removesuffix('ms')} ms", *(percent(change.get(part)) for part in parts)] for name, change in of.items()
    ]
    head = ("units", "phones, by the frame", "units, each run once", "phones, each run once")
    table = Table("Share of units that change if the audio begins later", ["shift", *head], rows)
    text = (
        "The same audio a few milliseconds later. One hears no change. Phones move to other frames at their edges, as "
        "the column of phones by the frame shows. What units change beyond that is noise of the tokenizer, which a "
        "language model has to learn as well. Lower is better."
    )
    return _section("Shift", "shift", paragraphs=[text], tables=[table])


def _figure_table(found: Found, caption: str, figures: Sequence[Figure]) -> Table:
    values = [(figure, at(found, figure.path)) for figure in figures]
    rows = [
        [figure.name, figure.form.format((100 if figure.share else 1) * value), figure.meaning]
        for figure, value in values
        if value is not None
    ]
    return Table(caption, ["figure", "value", "what it says"], rows, frozenset({2}))


def _quality(found: Found) -> Section:
    tables = [_figure_table(found, "Rates", RATES), _figure_table(found, "Phones and speakers", QUALITY)]
    notes = []
    if at(found, "quality.pnmi") is None:
        notes.append("The units have no times, so figures by the frame are left out (units.rate).")
    return _section("Rates and phones", "quality", tables=tables, notes=notes)


def _words(found: Found) -> Section:
    words = found["words"]
    if not words:
        return _section("Words", "words", paragraphs=[f"No figures: {found['reasons']['words']}."])
    rows = [
        [title, *(write(words[kind][name]) for kind in ("units", "dedup", "phones")), meaning]
        for name, write, title, meaning in WORDS
    ]
    head = ["figure", "units", "each run once", "phones", "what it says"]
    text = (
        f"A form is the sequence of units of one token of a word. {words['tokens']:,} tokens of {words['words']:,} "
        "words were taken at the edges of the alignment. A unit belongs to the word that holds its middle. Figures "
        "are means over words with two tokens or more."
    )
    notes = []
    if words["without_units"]:
        notes.append(f"{words['without_units']:,} tokens hold the middle of no unit and are left out.")
    return _section(
        "Words", "words", paragraphs=[text], tables=[Table("Forms of words", head, rows, frozenset({4}))], notes=notes
    )


def _resynthesis(found: Found) -> Section:
    of = found["resynthesis"]
    if not of:
        return _section("Resynthesis", "resynthesis", paragraphs=[f"No figure: {found['reasons']['resynthesis']}."])
    rows = [
        ["from the units", percent(of | {"value": of["wer"]})],
        ["recordings", percent(of["original"] | {"value": of["original"]["wer"]})],
        ["difference", percent(of["above_original"] | {"value": of["above_original"]["difference"]})],
    ]
    text = (
        f"{of['utterances']} held-out utterances are spoken again from their units, by a vocoder trained on this run's "
        "speech, and transcribed. Lower is better. The vocoder is small and its training short, so the rate compares "
        "tokenizers under these conditions only."
    )
    return _section(
        "Resynthesis", "resynthesis", paragraphs=[text], tables=[Table("Word error rate", ["speech", "errors"], rows)]
    )


def _prediction(found: Found) -> Section:
    of = found["prediction"]
    if not of:
        return _section(
            "Predicted sWUGGY", "prediction", paragraphs=[f"No prediction: {found['reasons']['prediction']}."]
        )
    conditions = of["conditions"]
    inputs = listed([{"pnmi": "PNMI", "abx_across": "ABX across speakers"}.get(name, name) for name in of["inputs"]])
    hours = listed([f"{hour:,.0f} h" for hour in conditions["hours"] if hour])
    units = listed([f"{count:,.0f}" for count in conditions["units"] if count])
    lead = (
        f"Predicted, not measured: {of['value']:.1f} % [{of['low']:.1f}, {of['high']:.1f}] of sWUGGY. The line is a "
        f"regression on {inputs} over {of['systems']} published systems of {of['families']} families. The interval "
        f"holds {100 * of['coverage']:.0f} % of its errors on families that it did not see. The root mean square of "
        f"these is {of['error']:.1f} points."
    )
    text = (
        f"The published systems are those of {listed(conditions['source'])}: {units} units, {hours} of natural "
        f"speech, {listed(conditions['lm'])}, norm {listed(conditions['score_norm'])}. The figures of this tokenizer "
        "are of synthesized speech, which is easier, and not of LibriSpeech. So this is an extrapolation, and the "
        "interval does not know of it. docs/leaderboard.md compares predictions with what was measured."
    )
    if of["extrapolated"]:
        text += " A figure given to it also lies outside the range of the published systems."
    return _section("Predicted sWUGGY", "prediction", paragraphs=[lead, text], tables=[_neighbours(found)])


def _neighbours(found: Found) -> Table:
    own, of = found["prediction"], found["prediction"]["given"]
    rows = [
        [
            "this tokenizer, predicted",
            plain(of["pnmi_100hz"], 3),
            plain(of["abx_across"], 1),
            plain(own["value"], 1),
            "",
        ]
    ]
    rows += [
        [row["system"], plain(row["pnmi"], 3), plain(row["abx_across"], 1), plain(row["swuggy"], 1), row["source"]]
        for row in found["neighbours"]
    ]
    head = ["system", "PNMI", "ABX across, %", "sWUGGY, %", "source"]
    return Table("The nearest published systems", head, rows, frozenset({4}))


def _entries(found: Found, others: Mapping[str, Found]) -> Section | None:
    """This tokenizer beside the leaderboard's entries on the same speech; None without any."""
    if not others:
        return None
    head = ["entry", "PNMI (100 Hz)", "ABX across, %", *(CAUSES[name] for name in CAUSE_NAMES), "two tokens, one form"]

    def row(name: str, of: Found) -> list[str]:
        changed = (percent(at(of, f"invariance.{cause}.dedup"), 0) for cause in CAUSE_NAMES)
        figures = [plain(at(of, "quality.pnmi_100hz"), 3), plain(at(of, "abx.units.symbols.across"), 1)]
        return [name, *figures, *changed, percent(at(of, "words.dedup.same"))]

    rows = [row("this tokenizer", found), *(row(name, of) for name, of in others.items())]
    text = (
        "Entries of the leaderboard that were diagnosed on the same speech. Changes are of runs of units; lower is "
        "better."
    )
    return _section("Beside the leaderboard", "entries", paragraphs=[text], tables=[Table("Entries", head, rows)])
