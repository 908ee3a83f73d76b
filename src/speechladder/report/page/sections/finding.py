"""The finding of a run in two sentences, computed from its tables.

The first sentence describes: what the first and the last rung get. The second says which steps between rungs lose or
gain, under the rule of `report.findings.claimed`: the interval as printed lacks 0, the p-value after Holm's adjustment
is below ALPHA, and a loss does not start at chance.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from speechladder.analysis.csv_tables import accuracy_columns, interval_columns, read_csv
from speechladder.analysis.factors import COLUMNS as FACTORS
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.report.findings import claimed, size
from speechladder.report.notes import Row, seeds_note
from speechladder.report.page.numbers import listed
from speechladder.report.page.section import Section

MEANING = {  # what a step of the ladder changes, as the subject of a sentence
    "A-bpe": "phones in place of letters, both as BPE",
    "A-raw": "phones in place of letters",
    "B": "phones repeated at 50 Hz",
    "C": "speech units in place of phones",
    "dedup": "runs of equal units written once",
}
TRAINED_ON = {"text-bpe": "text", "text-raw": "letters", "speech-hubert": "speech units"}


def section(results: Path) -> Section:
    """The sentences, and the note that says what their intervals hold."""
    rows = read_csv(results / "table.csv", ("rung", "seeds", *accuracy_columns()))
    steps = [row for row in read_csv(results / "factors.csv", FACTORS) if row["norm"] == "sum"]
    found = sentences(rows, steps)
    return Section("The finding", "finding", "finding.html.j2", {"sentences": found, "note": seeds_note(rows)})


def sentences(rows: Sequence[Row], steps: Sequence[Row]) -> list[str]:
    """What the ends of the ladder get, and what the steps between them do, from rows of the sum of log-likelihoods."""
    first, last = rows[0], rows[-1]
    ends = f"A model of {_trained_on(first)} is right in {_accuracies(first)}"
    if last is not first:
        ends += f"; a model of {_trained_on(last)} in {_accuracies(last)}"
    described = f"{ends}, where chance is 50 %."
    if not steps:
        return [described, "No two neighbouring rungs are in this run, so that it measures no step between them."]
    found = changes(steps)
    if min(int(row["seeds"]) for row in rows) == 1:  # another seed may say something else
        found = f"In these models, {found[0].lower()}{found[1:]}"
    return [described, found]


def changes(steps: Sequence[Row]) -> str:
    """The steps that lose or gain with what they do to each task, the last step of the ladder first, as a sentence."""
    clauses, silent = [], dict.fromkeys(row["task"] for row in steps)
    for factor in reversed(dict.fromkeys(row["factor"] for row in steps)):
        # what the intervals of one seed hold is said below the sentence
        seen = [(claimed(dict(row) | {"one_seed": "false"}), row) for row in steps if row["factor"] == factor]
        kinds = {1: [], -1: []}
        for sign, row in seen:
            if sign:
                silent.pop(row["task"], None)
                kinds[sign].append(f"{size(row, sign)}{' points' * (not kinds[sign])} on {subject(row['task'])}")
        said = [f"{verb} {listed(sizes)}" for verb, sizes in (("lose", kinds[-1]), ("gain", kinds[1])) if sizes]
        if said:
            clauses.append(f"{MEANING.get(factor, 'step')} ({factor}) {listed(said)}")
    if not clauses:
        count = len(dict.fromkeys(row["factor"] for row in steps))
        return f"No loss or gain can be claimed for {f'any of the {count} steps' if count > 1 else 'the only step'}."
    if silent:
        clauses.append(f"on {listed([subject(task) for task in silent])} no loss or gain can be claimed")
    text = "; ".join(clauses)
    return f"{text[0].upper()}{text[1:]}."


def subject(task: str) -> str:
    """What a task tests, as its title says in parentheses: 'sWUGGY (words)' is 'words'."""
    found = re.search(r"\(([^)]+)\)", TASKS[task].title)
    return found[1] if found else TASKS[task].title


def _accuracies(row: Row) -> str:
    """'99.3 % [97.6, 100.0] of the pairs on words, 95.9 % [93.8, 97.8] on syntax and ...'."""
    cells = []
    for task in TASKS:
        value, low, high = (row[name] for name in interval_columns(f"{task}_sum"))
        cells.append(f"{value} % [{low}, {high}] on {subject(task)}")
    return listed(cells).replace("] on", "] of the pairs on", 1)


def _trained_on(row: Row) -> str:
    kind = TRAINED_ON.get(row["rung"])
    return f"{kind} ({row['rung']})" if kind else row["rung"]
