"""The table and the steps of a run as README.md shows them, so that README's figures are pasted by a command."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill

from speechladder.analysis.csv_tables import accuracy_columns, interval_columns, read_csv
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.io.errors import UserError
from speechladder.io.files import atomic
from speechladder.report.notes import Row, seeds_note, twos_note
from speechladder.settings import Analysis

FACTS = ("rung", "vocab_size", "tokens_per_second", "passes", "valid_bits_per_second")
WIDTH = 130  # of the text
TITLES = ("rung", "vocabulary", "tokens/s", "passes", "valid bits/s")
STEPS = ("factor", "task", "norm", "from_rung", "to_rung", *interval_columns("difference"), "floor", "p_holm")


def write_readme_table(results: Path = Path("results"), readme: Path | None = None) -> None:
    """Print the table and the steps of a run as Markdown, or put them into a page.

    Args:
        results: folder with table.csv and factors.csv
        readme: page whose lines between <!-- TABLE --> and <!-- /TABLE --> are replaced (default: print)
    """
    text = readme_table(results)
    if readme is None:
        sys.stdout.write(text)
        return
    fill_blocks(readme, {"TABLE": text})


def marks(name: str) -> tuple[str, str]:
    """The lines of a page around the block of this name."""
    return f"<!-- {name} -->", f"<!-- /{name} -->"


def fill_blocks(page: Path, blocks: Mapping[str, str]) -> None:
    """Put texts between the marks of their names in a page, in place of what is there.

    Raises UserError if the page lacks the marks of a name.
    """
    found = page.read_text(encoding="utf-8")
    for name, text in blocks.items():
        begin, end = marks(name)
        before, opened, rest = found.partition(begin + "\n")
        _, closed, after = rest.partition(end)
        if not opened or not closed:
            raise UserError(f"{page}: no lines '{begin}' and '{end}' to put the table between; add them")
        found = f"{before}{opened}{text}{closed}{after}"
    with atomic(page) as temporary:
        temporary.write_text(found, encoding="utf-8")


def readme_table(results: Path) -> str:
    """The rungs, the steps between them and what their intervals hold, as Markdown.

    Raises UserError if a table is missing or lacks a column.
    """
    columns = (*FACTS, "seeds", *accuracy_columns(), *accuracy_columns(kind="pairwise_"), *interval_columns("ppl"))
    rows = read_csv(results / "table.csv", columns)
    tasks = [task.short_title for task in TASKS.values()]
    table = [[*TITLES, *tasks, "continuation PPL"], *map(_rung, rows)]
    changes = [row for row in read_csv(results / "factors.csv", STEPS) if row["norm"] == "sum"]
    steps = [["step", *tasks], *_steps(changes)]
    floor = any(row["floor"] == "true" for row in changes)
    below = (
        "Accuracies are percentages by summed log-likelihood, chance is 50; brackets are "
        f"{100 * Analysis().confidence:g} % intervals.",
        seeds_note(rows),
        *twos_note(rows),
        "Steps are percentage points. The p-values, adjusted over the steps of a task (Holm), are of these very "
        "models: a small p beside an interval over 0 is not shown for other seeds.",
        *(["(floor): the step starts at chance, where no loss can show."] if floor else []),
    )
    return "\n".join(
        [*table_lines(table), "", *table_lines(steps), "", fill(" ".join(below), WIDTH, break_on_hyphens=False), ""]
    )


def table_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table; the first row is its head."""
    return [*map(_line, [rows[0], ["---"] * len(rows[0]), *rows[1:]])]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |" if set(cells) != {"---"} else f"|{'|'.join(cells)}|"


def _rung(row: Row) -> list[str]:
    facts = [f"{float(row['tokens_per_second']):.1f}", row["passes"], f"{float(row['valid_bits_per_second']):.1f}"]
    cells = [interval([float(row[name]) for name in interval_columns(f"{task}_sum")], 1, 0) for task in TASKS]
    ppl = interval([float(row[name]) for name in interval_columns("ppl")], 0, 0) if row["ppl_low"] else "-"
    return [row["rung"], f"{int(row['vocab_size']):,}", *facts, *cells, ppl]


def _steps(rows: Sequence[Row]) -> list[list[str]]:
    """A line per step, a cell per task, from the rows of one norm."""
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        cell = interval([float(row[name]) for name in interval_columns("difference")], 1, 1, "+")
        mark = " (floor)" if row["floor"] == "true" else f", p {float(row['p_holm']):.2g}"
        step = f"**{row['factor']}**: {row['from_rung']} → {row['to_rung']}"
        found.setdefault(step, {})[row["task"]] = cell + mark
    return [[step, *(cells.get(task, "-") for task in TASKS)] for step, cells in found.items()]


def interval(ends: Sequence[float], decimals: int, of_ends: int, sign: str = "") -> str:
    """A value with its interval, '85.3 [82, 88]', with thousands separated.

    `sign` "+" writes the sign of positive numbers too.
    """
    value, low, high = ends
    return f"{value:{sign},.{decimals}f} [{low:{sign},.{of_ends}f}, {high:{sign},.{of_ends}f}]"
