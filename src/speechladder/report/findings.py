"""The measured parts of docs/findings.md: what the tables of causes and questions say, in sentences and tables.

A sentence says that an arm gains or loses only if the interval of the difference, as printed, lacks 0, if its p-value
after Holm's adjustment is below ALPHA, and if no side has one model alone. No arm is called the best: that it has the
highest figure of several is not tested. Sentences and tables are on the sum of the log-likelihoods.
"""

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import fill

from speechladder.analysis.costs import read_job
from speechladder.analysis.csv_tables import fixed, interval_columns, read_csv
from speechladder.analysis.published import headlines
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.report.markdown import WIDTH, fill_blocks, interval, table_lines
from speechladder.report.notes import Row, variability_notes
from speechladder.settings.causes import FLAT

PAPER = "2412.17048"  # arXiv number
ALPHA = 0.05  # the p-value after Holm's adjustment from which nothing is claimed
QUESTIONS = ("OQ1", "OQ2", "OQ3", "check")
# What this module reads of the tables.
_COMPARED = ("base", "task", "norm", "one_seed", "floor", "p_holm", "pnmi", "valid_bits_per_second")
_COMPARED += interval_columns("difference")
ARMS = ("question", "arm", "answers", "units_per_second", "resynthesis_wer", *_COMPARED, *interval_columns("repaired"))
ARMS += interval_columns("accuracy")
CAUSES = ("kind", "name", "isolates", *_COMPARED)
SHARES = ("of", "task", "norm", "floor", *(c for n in ("c", "given_back", "recovered") for c in interval_columns(n)))
# The benchmark files of the jobs that a target adds to a run.
COSTS = {
    "causes": [
        "causes/*/results/costs/*/*.tsv",
        *(f"costs/*/{rung}*.tsv" for rung in ("phone-repeat-even", "phone-confused", "unit-[!w]")),
    ],
    "questions": ["questions/**/costs/*/*.tsv", *(f"costs/*/{rung}*.tsv" for rung in ("unit-words", "text-units"))],
}


def write_findings(page: Path, results: Path = Path("results"), published: Path = Path("data/published")) -> None:
    """Put what the tables of a run say between the marks of a page, and the figures of the run beside the page.

    A table that the run lacks leaves a sentence that says how to make it.

    Args:
        page: page with lines <!-- CAUSES --> and <!-- /CAUSES -->, likewise OQ1, OQ2, OQ3, CHECK and PUBLISHED
        results: folder with causes.csv, causes_share.csv, questions.csv and variability_change.csv
        published: folder of published evidence
    """
    for figure in (results / "figures" / f"{name}.png" for name in COSTS):
        if figure.is_file():
            shutil.copyfile(figure, page.parent / figure.name)
    blocks = {"CAUSES": causes_block(results, page.parent)}
    blocks |= {name.upper(): question_block(results, name, page.parent) for name in QUESTIONS}
    blocks["PUBLISHED"] = published_block(published)
    fill_blocks(page, blocks)


def claimed(row: Mapping[str, str], of: str = "difference") -> int:
    """1 if a difference is claimed as a gain, -1 as a loss, 0 if nothing is claimed.

    A loss from chance is none.
    """
    _, low, high = (float(row[name]) for name in interval_columns(of))
    if row["one_seed"] != "false" or not row["p_holm"] or float(row["p_holm"]) >= ALPHA:
        return 0
    return int(low > 0) or -int(high < 0 and row["floor"] != "true")


def size(row: Mapping[str, str], sign: int, of: str = "difference") -> str:
    """A gain, or a loss if `sign` is below 0, without its sign, in points with its interval: '24.7 [18.7, 30.5]'."""
    value, low, high = (float(row[name]) for name in interval_columns(of))
    return interval((value, low, high) if sign > 0 else (-value, -high, -low), 1, 1)


def verdict(row: Mapping[str, str], of: str = "difference") -> str:
    """What a difference in points says: gains, loses, or that none can be seen or claimed."""
    tested = f" (p {row['p_holm']})" * bool(row["p_holm"])
    if found := claimed(row, of):
        return f"{'gains' if found > 0 else 'loses'} {size(row, found, of)} points{tested}"
    value, low, high = (float(row[name]) for name in interval_columns(of))
    shown = f"{interval((value, low, high), 1, 1, '+')} points{tested}"
    if row["one_seed"] != "false":
        return f"has one model, from which nothing is claimed, at {shown}"
    floor = "; the baseline is at chance, where no loss can show" if row["floor"] == "true" else ""
    seen = "no difference that can be seen" if low <= 0 <= high else "a difference that the adjusted p does not confirm"
    return f"shows {seen}, {shown}{floor}"


def share(row: Mapping[str, str], of: str) -> str:
    """The share of factor C that is given back, with its interval; empty if the table has none."""
    if not row[of]:
        return ""
    value, low, high = (row[name] for name in interval_columns(of))
    return f", {value} % of C [{low}, {high}]"


# --- the questions ---


def question_block(results: Path, question: str, folder: Path) -> str:
    """The answer to a question, its figure if `folder` has it, the rows of its arms and what they took, as Markdown."""
    path, change = results / "questions.csv", results / "variability_change.csv"
    if not path.is_file():
        return absent("questions")
    table = [row for row in read_csv(path, ARMS) if row["norm"] == "sum"]
    rows = [row for row in table if row["question"] == question]
    if not rows:
        return "The last run has no row for this.\n"
    notes = [
        "Differences are percentage points by summed log-likelihood, to speech-hubert of the run or to the base that "
        "is named, with their intervals and the p-value after Holm's adjustment.",
        *(["(floor): the baseline is at chance, where no loss can show."] * _any(rows, "floor")),
        *(["Rows of one seed are marked: their intervals hold the items only."] * _any(rows, "one_seed")),
        *(variability_notes(change) if question == "OQ3" and change.is_file() and _has_seeds(rows) else []),
        minutes(results, "questions"),
    ]
    return _block(
        answer(rows), folder / "questions.png", _arm_table([r for r in table if r["question"] == "run"] + rows), notes
    )


def _has_seeds(rows: Sequence[Row]) -> bool:
    """Whether the levels of the dial that are quoted have several models each."""
    return all(row["one_seed"] == "false" for row in rows if row["arm"].startswith("variability-"))


def answer(rows: Sequence[Row]) -> str:
    """Two sentences: what the arms of a question do to words, and what to syntax and meaning."""
    clauses = [f"on {TASKS[task].title}, {_clause([r for r in rows if r['task'] == task])}" for task in TASKS]
    sentences = (clauses[0], "; ".join(clauses[1:]))
    return " ".join(f"{sentence[0].upper()}{sentence[1:]}." for sentence in sentences)


def _clause(rows: Sequence[Row]) -> str:
    """What one task says: of arms with a baseline of their own each, of the others those that gain or lose."""
    compared = [row for row in rows if row["difference"] and row["p_holm"]]
    own = [row for row in compared if row["base"].startswith("phone-repeat")]
    others = [row for row in compared if row not in own]
    said = [f"{row['arm']} {verdict(row)} against {row['base']}{share(row, 'repaired')}" for row in own]
    said = [
        text + " given back" * ("% of C" in text and float(row["repaired_low"]) > 0) for row, text in zip(own, said)
    ]
    if len(others) == 1:
        said.append(f"{others[0]['arm']} {verdict(others[0])}{share(others[0], 'repaired')}")
    elif others:
        said.append(_of_several(others, "arm", lambda row: f"{row['arm']} {verdict(row)}{share(row, 'repaired')}"))
    return ", and ".join(said) or "nothing was compared"


def _of_several(rows: Sequence[Row], noun: str, say: Callable[[Row], str]) -> str:
    """What is claimed of several rows, gains first, then losses by size, and for how many nothing is."""
    found = sorted(
        (row for row in rows if claimed(row)), key=lambda row: (-claimed(row), -abs(float(row["difference"])))
    )
    said = [say(row) for row in found]
    if rest := len(rows) - len(found):
        single = sum(row["one_seed"] != "false" for row in rows)
        marked = f" ({single} of one model)" * bool(single)
        said.append(f"no difference is claimed for {'any' if rest == len(rows) else rest}{marked}")
    return f"of {len(rows)} {noun}{'s' * (len(rows) > 1)} {', '.join(said)}"


def _arm_table(rows: Sequence[Row]) -> list[str]:
    names = [task.short_title for task in TASKS.values()]
    head = ["arm", "what", "units/s", "PNMI", "bits/s", "WER of resynthesis, %", *names, "% of C, words"]
    lines = [head]
    for of in _by_name(rows, "arm"):
        first = next(iter(of.values()))
        facts = ("units_per_second", "pnmi", "valid_bits_per_second", "resynthesis_wer")
        base = "" if first["base"] in ("speech-hubert", "") else f"; base: {first['base']}"
        lines.append(
            [
                first["arm"] + " (one seed)" * (first["one_seed"] == "true"),
                first["answers"] + base,
                *(first[name] or "-" for name in facts),
                *(_cell(of[task]) if task in of else "-" for task in TASKS),
                share(of[next(iter(TASKS))], "repaired").removeprefix(", ").replace(" % of C", "") or "-",
            ]
        )
    return table_lines(lines)


def _by_name(rows: Sequence[Row], column: str) -> list[dict[str, Row]]:
    """The rows of each name in `column`, by task."""
    names = dict.fromkeys(row[column] for row in rows)
    return [{row["task"]: row for row in rows if row[column] == name} for name in names]


def _cell(row: Row) -> str:
    """A difference with its interval and p-value; the accuracy of a quoted row that has no difference."""
    if not row["difference"]:
        value, low, high = (row[name] for name in interval_columns("accuracy"))
        return f"accuracy {value} [{low}, {high}]" if value else "-"
    text = interval([float(row[name]) for name in interval_columns("difference")], 1, 1, "+")
    return text + (f", p {row['p_holm']}" if row["p_holm"] else "") + " (floor)" * (row["floor"] == "true")


# --- causes ---


def causes_block(results: Path, folder: Path) -> str:
    """What factor C is made of: the answer, its figure if `folder` has it, and the rows of causes.csv, as Markdown."""
    path, shares = results / "causes.csv", results / "causes_share.csv"
    if not path.is_file():
        return absent("causes")
    rows = [row for row in read_csv(path, CAUSES) if row["norm"] == "sum"]
    parts = [row for row in read_csv(shares, SHARES) if row["norm"] == "sum" and row["of"] == "run"]
    names = [task.short_title for task in TASKS.values()]
    table = [["row", "compared with", "what that isolates", "PNMI", "bits/s", *names]]
    for of in _by_name(rows, "name"):
        first = next(iter(of.values()))
        marked = first["name"] + " (one seed)" * (first["one_seed"] == "true")
        facts = [first[column] or "-" for column in ("base", "isolates", "pnmi", "valid_bits_per_second")]
        table.append([marked, *facts, *(_cause_cell(of[task]) for task in TASKS)])
    notes = ["Differences are as in the tables below.", minutes(results, "causes")]
    return _block(_causes_answer(rows, parts), folder / "causes.png", table_lines(table), notes)


def _cause_cell(row: Row) -> str:
    return _cell(row | dict.fromkeys(interval_columns("accuracy"), ""))


def _causes_answer(rows: Sequence[Row], parts: Sequence[Row]) -> str:
    """What is left of factor C in one flat voice, and which steps between rungs cost or give words."""
    task = next(iter(TASKS))
    words = [row for row in rows if row["task"] == task]
    flat = [row for row in words if row["name"] == FLAT and row["difference"]]
    said = [f"In one flat voice, the step from repeated phones to units {verdict(row)} on words." for row in flat]
    for part in (part for part in parts if part["task"] == task):
        c = interval([float(part[name]) for name in interval_columns("c")], 1, 1, "+")
        gain = verdict(part | _test_of_flat(words), "given_back")
        said.append(
            f"In the run's speech this step, factor C, is {c} points. Compared with the units of the run's speech, one "
            f"flat voice {gain}{share(part, 'recovered')}."
        )
    if steps := [row for row in words if row["kind"] == "rung" and row["difference"]]:
        said.append(f"On words, {_of_several(steps, 'step', _say_step)}.")
    return " ".join(said)


def _say_step(row: Row) -> str:
    return f"{row['name']} {verdict(row)} against {row['base']} ({row['isolates']})"


def _test_of_flat(rows: Sequence[Row]) -> dict[str, str]:
    """The p-value of the units of one flat voice against the run's, and whether C or they have one model, of a task."""
    by_name = {row["name"]: row for row in rows}
    four = (by_name.get(name, {}) for name in ("run", "flat", "phone-repeat", "flat phone-repeat"))
    several = all(row.get("one_seed") == "false" for row in four)
    return {"p_holm": by_name.get("run", {}).get("p_holm", ""), "one_seed": str(not several).lower()}


# --- the rest ---


def published_block(folder: Path) -> str:
    """The headline rows of the published evidence as a Markdown table, the paper's first."""
    titles = ("source", "system", "training speech, h", "language model", "score", "sWUGGY", "sBLIMP", "tSC", "note")
    lines = [list(titles)]
    for row in sorted(headlines(folder), key=lambda found: found.arxiv != PAPER):
        source = row.source + f" ({row.arxiv})" * bool(row.arxiv)
        speech = " ".join(filter(None, (row.training_data, fixed(row.hours, 0))))
        figures = [fixed(figure, 1) for figure in (row.swuggy, row.sblimp, row.tsc)]
        lines.append([cell or "-" for cell in (source, row.system, speech, row.lm, row.score_norm, *figures, row.note)])
    return "\n".join([*table_lines(lines), ""])


def absent(target: str) -> str:
    """The sentence in place of a table that the run lacks."""
    return f"Not measured yet: `snakemake --cores all results/{target}.csv`, then `python scripts/findings_page.py`.\n"


def minutes(results: Path, target: str) -> str:
    """What the jobs of a target took, in CPU minutes; empty if nothing was measured."""
    jobs = [read_job(path)["cpu_time"] for pattern in COSTS[target] for path in sorted(results.glob(pattern))]
    seconds = sum(found for found in jobs if not math.isnan(found))
    return f"Beside the run itself, `results/{target}.csv` took {seconds / 60:.0f} CPU minutes." if seconds else ""


def _any(rows: Sequence[Row], column: str) -> bool:
    return any(row[column] == "true" for row in rows)


def _block(text: str, figure: Path, table: Sequence[str], notes: Sequence[str]) -> str:
    picture = [f"![{figure.stem}]({figure.name})", ""] if figure.is_file() else []
    below = fill(" ".join(filter(None, notes)), WIDTH, break_on_hyphens=False)
    return "\n".join([fill(text, WIDTH, break_on_hyphens=False), "", *picture, *table, "", below, ""])
