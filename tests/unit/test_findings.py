"""The page of findings: sentences keep to intervals, blocks are filled from tables, no figure is written by hand."""

import random
import re
from pathlib import Path

import pytest

from speechladder.analysis.causes import COLUMNS as CAUSES
from speechladder.analysis.causes import SHARE_COLUMNS
from speechladder.analysis.csv_tables import interval_columns, percent_cells, read_csv, write_csv
from speechladder.analysis.published import read_published
from speechladder.analysis.questions import ARMS, COLUMNS
from speechladder.analysis.variability import CHANGE_COLUMNS
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import NORMS
from speechladder.io.errors import UserError
from speechladder.report.findings import (
    answer,
    causes_block,
    published_block,
    question_block,
    verdict,
    write_findings,
)
from speechladder.report.markdown import marks

ROOT = Path(__file__).resolve().parents[2]
PAGE, DATA = ROOT / "docs" / "findings.md", ROOT / "data" / "published"
BLOCKS = ("CAUSES", "OQ1", "OQ2", "OQ3", "CHECK", "PUBLISHED")
NUMBER = r"[+-]?\d+\.\d"
# Where a sentence says that something changed: the interval that it gives.
CLAIM = re.compile(rf"(?:gains|loses) ({NUMBER}) \[({NUMBER}), ({NUMBER})\] points")


def claims(text):
    return [tuple(map(float, found)) for found in CLAIM.findall(" ".join(text.split()))]


def block_of(page, name):
    begin, end = marks(name)
    assert page.count(begin) == page.count(end) == 1
    return page[page.index(begin) + len(begin) : page.index(end)]


def row(task, difference, norm="sum", **cells):
    """A row of questions.csv with a difference and its interval in points."""
    value, low, high = difference
    found = dict(zip(interval_columns("difference"), (f"{value:.1f}", f"{low:.1f}", f"{high:.1f}")))
    usual = {
        "task": task,
        "norm": norm,
        "base": "speech-hubert",
        "floor": "false",
        "p_holm": "0.02",
        "one_seed": "false",
    }
    return dict.fromkeys(COLUMNS, "") | usual | found | cells


def test_a_sentence_claims_no_difference_whose_interval_holds_0():
    draw = random.Random(3)
    claimed = set()
    for _ in range(500):
        value = draw.uniform(-12, 12)
        low, high = value - draw.uniform(0, 12), value + draw.uniform(0, 12)
        here = row("swuggy", (value, low, high))
        printed = [float(here[name]) for name in interval_columns("difference")]
        text = verdict(here)
        apart = printed[1] > 0 or printed[2] < 0
        assert bool(claims(text)) == apart and ("no difference" in text) != apart
        claimed.add(text.split()[0])
        for size, least, most in claims(text):
            assert 0 < least <= size <= most and size == abs(printed[0])
    assert claimed == {"gains", "loses", "shows"}


@pytest.mark.parametrize("difference", [(5.0, 2.0, 8.0), (-5.0, -8.0, -2.0)])
@pytest.mark.parametrize("weak", [{"one_seed": "true"}, {"one_seed": ""}, {"p_holm": "0.05"}, {"p_holm": ""}])
def test_one_model_or_a_p_value_above_the_level_claims_nothing(difference, weak):
    assert claims(verdict(row("swuggy", difference)))
    here = row("swuggy", difference, **weak)
    assert not claims(verdict(here)) and ("one model" in verdict(here)) == (weak.get("one_seed") is not None)
    text = answer([here | {"arm": arm, "task": task} for task in TASKS for arm in "ab"])
    assert ("no difference is claimed for any" if here["p_holm"] else "nothing was compared") in text


def test_a_loss_from_chance_is_not_claimed():
    text = verdict(row("swuggy", (-5.0, -8.0, -2.0), floor="true"))
    assert not claims(text) and "at chance" in text
    assert claims(verdict(row("swuggy", (5.0, 2.0, 8.0), floor="true")))


def test_the_answer_is_two_sentences_of_what_is_claimed_and_of_what_is_left():
    differences = {
        "flat": (1.0, -2.0, 4.0),
        "speaker-norm": (5.0, 2.0, 8.0),
        "utterance-norm": (6.0, 2.0, 8.0),
        "flat-c": (-30.0, -35.0, -25.0),
    }
    rows = [
        row(task, difference, arm=arm, base="phone-repeat of flat" if arm == "flat-c" else "speech-hubert")
        | (percent_cells("repaired", (0.1, 0.02, 0.2)) if arm == "flat-c" else {})
        | ({"one_seed": "true"} if arm == "utterance-norm" else {})
        for task in TASKS
        for arm, difference in differences.items()
    ]
    text = answer(rows)
    assert len(re.findall(r"\.(?: |$)", text)) == 2
    assert text.startswith(
        "On sWUGGY (words), flat-c loses 30.0 [25.0, 35.0] points (p 0.02) against phone-repeat of flat, 10.0 % of C "
        "[2.0, 20.0] given back, and of 3 arms speaker-norm gains 5.0 [2.0, 8.0] points (p 0.02), no difference is "
        "claimed for 2 (1 of one model)."
    )
    assert "flat shows" not in text


def test_what_one_flat_voice_gives_back_needs_several_models_and_the_p_value_of_its_row(filled):
    page, results = filled
    share = read_csv(results / "causes_share.csv")
    part = percent_cells("given_back", (0.05, 0.02, 0.08))
    write_csv(results / "causes_share.csv", SHARE_COLUMNS, [row | part for row in share])
    rows = [r for r in read_csv(results / "causes.csv") if r["name"] == "unit-vote"]
    names = ("run", "flat", "phone-repeat", "flat phone-repeat")
    four = [r | {"name": name, "kind": "corpus", "p_holm": "0.01"} for name in names for r in rows]

    def said(changed):
        write_csv(results / "causes.csv", CAUSES, [*rows, *(r | changed.get(r["name"], {}) for r in four)])
        return " ".join(causes_block(results, page.parent).split())

    assert "one flat voice gains 5.0 [2.0, 8.0] points (p 0.01)" in said({})
    for name in names:
        assert "one flat voice has one model, from which nothing is claimed" in said({name: {"one_seed": "true"}})
    assert "one flat voice shows a difference that the adjusted p does not confirm" in said({"run": {"p_holm": "0.2"}})


def test_the_dial_of_one_model_is_no_sentence(filled):
    page, results = filled
    table = read_csv(results / "questions.csv")
    change = dict.fromkeys(CHANGE_COLUMNS, "") | {"task": "swuggy", "norm": "sum", "from_level": "0", "to_level": "3"}
    change |= {"change": "-9.0", "change_low": "-15.0", "change_high": "-3.0", "apart": "true", "floor": "false"}
    write_csv(results / "variability_change.csv", CHANGE_COLUMNS, [change])
    for one, claimed in (("true", False), ("", False), ("false", True)):
        level = row("swuggy", (-9.0, -15.0, -3.0), question="OQ3", arm="variability-0-3", one_seed=one, p_holm="")
        write_csv(results / "questions.csv", COLUMNS, [*table, level])
        text = " ".join(question_block(results, "OQ3", page.parent).split())
        assert ("levels 0 and 3 are apart" in text) == claimed


@pytest.fixture
def filled(tmp_path):
    """A page that was filled from tables with one arm of each question, and its results folder."""
    results = tmp_path / "results"
    rows = [
        row(task, (4.0, low, 9.0), norm, question=question, arm=arm, answers=answers, accuracy="60.0")
        for arm, (question, answers) in ARMS.items()
        for low, task in zip((1.0, -1.0, -3.0), TASKS)
        for norm in NORMS
    ]
    rows[0] |= {"one_seed": "true", "floor": "true"}
    write_csv(results / "questions.csv", COLUMNS, rows)
    cause = dict.fromkeys(CAUSES, "") | {
        "kind": "rung",
        "name": "unit-vote",
        "base": "phone-repeat",
        "isolates": "identity",
    }
    cells = {"one_seed": "false", "floor": "false", "p_holm": "0.01"} | percent_cells("difference", (-0.3, -0.4, -0.2))
    write_csv(
        results / "causes.csv",
        CAUSES,
        [cause | cells | {"task": task, "norm": norm} for task in TASKS for norm in NORMS],
    )
    part = dict.fromkeys(SHARE_COLUMNS, "") | {"of": "run", "floor": "false"} | percent_cells("c", (-0.4, -0.5, -0.3))
    part |= percent_cells("given_back", (0.02, -0.03, 0.07)) | percent_cells("recovered", (0.05, -0.08, 0.17))
    write_csv(
        results / "causes_share.csv",
        SHARE_COLUMNS,
        [part | {"task": task, "norm": norm} for task in TASKS for norm in NORMS],
    )
    (results / "figures").mkdir()
    (results / "figures" / "questions.png").write_bytes(b"png")
    page = tmp_path / "docs" / "page.md"
    page.parent.mkdir()
    page.write_text("before\n" + "".join(f"{marks(name)[0]}\nstale\n{marks(name)[1]}\n" for name in BLOCKS) + "after\n")
    write_findings(page, results, DATA)
    return page, results


def test_every_block_is_filled_and_nothing_else_changes(filled):
    page, results = filled
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "stale" not in text
    for question in ("OQ1", "OQ2", "OQ3"):
        here = block_of(text, question)
        assert {arm for arm, (of, _) in ARMS.items() if of == question} == set(
            re.findall(r"^\| ([a-z]+-?[\w-]+)", here, re.M)
        ) - {"arm"}
        several = sum(of == question for of, _ in ARMS.values()) - (question == "OQ1")  # one arm has one model
        assert "![questions](questions.png)" in here and claims(here) == [(4.0, 1.0, 9.0)] * several
        assert "on Topic-SC (meaning)" in here and "no difference is claimed for any" in " ".join(here.split())
    assert "(one seed)" in block_of(text, "OQ1") and "(floor)" in block_of(text, "OQ1")
    assert (page.parent / "questions.png").read_bytes() == b"png"
    causes = block_of(text, "CAUSES")
    assert (
        "one flat voice has one model, from which nothing is claimed, at +2.0 [-3.0, +7.0] points, 5.0 % of C"
        in " ".join(causes.split())
    )
    assert (
        "On words, of 1 step unit-vote loses 30.0 [20.0, 40.0] points (p 0.01) against phone-repeat (identity)."
        in " ".join(causes.split())
    )
    before = page.read_text()
    write_findings(page, results, DATA)
    assert page.read_text() == before


def test_a_missing_table_says_how_to_make_it_and_a_missing_mark_is_an_error(filled, tmp_path):
    page, results = filled
    assert "results/causes.csv" in causes_block(tmp_path / "absent", tmp_path)
    write_findings(page, tmp_path / "absent", DATA)
    assert page.read_text().count("Not measured yet") == 5
    page.write_text(page.read_text().replace("<!-- OQ2 -->", ""))
    with pytest.raises(UserError, match="no lines '<!-- OQ2 -->'"):
        write_findings(page, results, DATA)


# --- the page itself ---


def test_published_evidence_has_the_change_that_the_paper_reports():
    paper = {row.system: row for row in read_published(DATA, "paper")}
    for task, name in (("swuggy", "swuggy"), ("sblimp", "sblimp"), ("topic", "tsc")):
        before, after = (getattr(paper[system], name) for system in ("Phone-Repeat", "Speech-HuBERT"))
        assert TASKS[task].paper_factors["C"] == pytest.approx(100 * (after / before - 1), abs=0.1)


def test_the_page_has_its_blocks_and_quotes_no_figure_of_its_own():
    page = PAGE.read_text()
    prose = page
    for name in BLOCKS:
        prose = prose.replace(block_of(page, name), "")
    assert block_of(page, "PUBLISHED") == "\n" + published_block(DATA)
    prose = re.sub(r"```.*?```|`[^`]*`|arXiv \d+\.\d+", "", prose, flags=re.S)
    known = set(re.findall(r"\d+\.\d", published_block(DATA)))
    assert set(re.findall(r"\d+\.\d", prose)) <= known
    assert not re.search(r"\d+(?:\.\d+)? ?(?:%|points)", prose), "a percentage or points outside the measured blocks"
    for value, low, high in claims(page):
        assert 0 < low <= value <= high
