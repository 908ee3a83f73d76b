"""Sentences under the table, types below chance, and README's table."""

import io
import re
from pathlib import Path

import pytest
from ladder_results import make, scores

from speechladder.analysis import factors, table, types
from speechladder.analysis.csv_tables import read_csv, write_csv
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.io.errors import UserError
from speechladder.io.tables import SCORES, write_table
from speechladder.report.markdown import marks, readme_table, write_readme_table
from speechladder.report.notes import seeds_note, types_notes
from speechladder.report.terminal import show
from speechladder.settings import Analysis

BEGIN, END = marks("TABLE")
README = Path(__file__).parents[2] / "README.md"
RUNGS = ["phone-raw", "phone-repeat", "speech-hubert"]
ANALYSIS = Analysis(resamples=200)
NUMBER = r"[-+]?[\d,]+(\.\d)?"
INTERVAL = rf"{NUMBER} \[{NUMBER}, {NUMBER}\]"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Three rungs; 'hard', a fifth of sBLIMP, is nearly always wrong on phone-raw."""
    folder = tmp_path_factory.mktemp("results")
    make(folder, RUNGS, ids=50, layers=0, learning=0, twos=["topic"])
    rows = scores("phone-raw", "sblimp", ids=50, layers=0)
    for row in rows:
        row["type"] = "hard" if int(row["id"]) % 5 == 0 else "easy"
        if row["type"] == "hard":
            row["nll"] = 2.0 if row["correct"] == (row["id"] != "0000") else 1.0
    write_table(folder / "scores" / "phone-raw" / "sblimp.parquet", rows, SCORES)
    found = table.read_scores(folder, RUNGS)
    for write in (table.write_table, factors.write_factors, types.write_types):
        write(folder, RUNGS, found, 0, ANALYSIS)
    return folder


def test_types_below_chance_are_shown(results):
    rows = read_csv(results / "types.csv", types.COLUMNS)
    hard, easy = (
        next(
            r for r in rows if [r[k] for k in ("rung", "task", "type", "norm")] == ["phone-raw", "sblimp", kind, "sum"]
        )
        for kind in ("hard", "easy")
    )
    assert (hard["n"], hard["accuracy"], hard["below_chance"]) == ("10", "10.0", "true")
    assert (easy["n"], easy["below_chance"]) == ("40", "false")
    assert all((row["below_chance"] == "true") == (float(row["high"]) < 50) for row in rows)
    whole = read_csv(results / "table.csv")[0]["sblimp_sum"]
    weighed = sum(float(row["accuracy"]) * int(row["n"]) for row in (hard, easy)) / 50
    assert float(whole) == pytest.approx(weighed, abs=0.1)
    assert {row["n"] for row in rows if row["task"] == "topic"} == {"13", "12"}  # twos, of two types together
    (line,) = [line for line in types_notes(results) if "hard" in line]
    assert line.startswith(f"  phone-raw, sBLIMP, hard: sum 10.0 [{hard['low']}, {hard['high']}], n 10; mean 10.0 [")


def test_nothing_is_said_if_no_type_is_below(tmp_path):
    row = dict(zip(types.COLUMNS, ("a", "topic", "x", "sum", "9", "50.0", "20.0", "80.0", "false")))
    write_csv(tmp_path / "types.csv", types.COLUMNS, [row])
    assert types_notes(tmp_path) == []


def test_the_terminal_says_what_the_figures_cannot(results):
    out = io.StringIO()
    show(results, file=out, width=80)
    words = " ".join(out.getvalue().split())
    assert "one model per rung cannot tell what another seed gives" in words
    assert "Topic-SC counts crossed twos; by single pairs, the field's figure: phone-raw" in words
    assert "phone-raw, sBLIMP, hard: sum 10.0" in words
    floors = [r for r in read_csv(results / "factors.csv") if r["floor"] == "true" and r["norm"] == "sum"]
    assert floors
    for row in floors:
        assert re.search(rf"{TASKS[row['task']].short_title}: [^.]*{row['factor']} \(from {row['from_rung']}\)", words)


def test_the_seeds_note_counts_the_models():
    assert "3 models per rung" in seeds_note([{"seeds": "3"}, {"seeds": "4"}])
    assert "one model per rung" in seeds_note([{"seeds": "3"}, {"seeds": "1"}])


# --- README's table ---


def tables_of(text):
    """The Markdown tables of a text, each as rows of cells."""
    found = re.findall(r"(?:^\|.*\|\n)+", text, flags=re.M)
    return [[[c.strip() for c in line.strip("|").split("|")] for line in one.splitlines()] for one in found]


def check_format(text):
    """Assert that `text` holds the table of the rungs and that of the steps."""
    rungs, steps = tables_of(text)
    names = [task.short_title for task in TASKS.values()]
    assert rungs[0] == ["rung", "vocabulary", "tokens/s", "passes", "valid bits/s", *names, "continuation PPL"]
    assert steps[0] == ["step", *names]
    assert len(rungs) > 3 and len(steps) > 3
    for _, vocabulary, *facts in rungs[2:]:
        assert re.fullmatch(r"[\d,]+", vocabulary)
        assert all(re.fullmatch(NUMBER, cell) for cell in facts[:3])
        assert all(re.fullmatch(INTERVAL, cell) for cell in facts[3:-1])
        assert re.fullmatch(rf"{INTERVAL}|-", facts[-1])
    for step, *cells in steps[2:]:
        assert re.fullmatch(r"\*\*[\w-]+\*\*: [\w-]+ → [\w-]+", step)
        assert all(re.fullmatch(rf"{INTERVAL}( \(floor\)|, p [\d.e-]+)", cell) for cell in cells)


def test_the_command_writes_the_tables(results, tmp_path, capsys):
    text = readme_table(results)
    check_format(text)
    assert "(floor): the step starts at chance" in text
    row = read_csv(results / "table.csv")[0]
    assert f"| {float(row['swuggy_sum']):.1f} [{float(row['swuggy_sum_low']):.0f}, " in text
    write_readme_table(results)
    assert capsys.readouterr().out == text
    page = tmp_path / "page.md"
    page.write_text(f"a\n{BEGIN}\nold\n{END}\nb\n")
    write_readme_table(results, page)
    assert page.read_text() == f"a\n{BEGIN}\n{text}{END}\nb\n"
    page.write_text("a\n")
    with pytest.raises(UserError, match=r"page\.md: no lines '<!-- TABLE -->'"):
        write_readme_table(results, page)


def test_the_floor_is_explained_if_a_step_starts_there(results, tmp_path):
    rows = [row | {"floor": "false"} for row in read_csv(results / "factors.csv")]
    write_csv(tmp_path / "factors.csv", factors.COLUMNS, rows)
    (tmp_path / "table.csv").write_bytes((results / "table.csv").read_bytes())
    text = readme_table(tmp_path)
    check_format(text)
    assert "floor" not in text


def test_readme_has_the_tables_and_says_what_their_intervals_hold():
    page = README.read_text()
    text = page[page.index(BEGIN) : page.index(END)]
    check_format(text)
    words = " ".join(text.split())
    assert "A-raw" in words and ("one model per rung cannot tell" in words or "hold items and seeds" in words)
