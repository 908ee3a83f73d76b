"""The page says what the tables say, claims nothing that the intervals do not bear, and needs no other file."""

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from page_results import ANALYSIS, RUNGS, make_run, set_times

from speechladder.analysis import compare as comparison
from speechladder.analysis import continuation, rejected
from speechladder.analysis.csv_tables import read_csv, write_csv
from speechladder.analysis.factors import COLUMNS as FACTORS
from speechladder.analysis.published import read_published
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import NORMS
from speechladder.io.errors import UserError
from speechladder.io.files import read_json, write_json
from speechladder.report.looks import LOOKS, OTHER_LOOKS
from speechladder.report.page import build, compare, palette
from speechladder.report.page.charts import run_colours
from speechladder.report.page.sections import costs, curves, finding, ladder, run, steps, units

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run") / "results")


@pytest.fixture(scope="module")
def html(results):
    build.write_page(results, results.parent / "report.html")
    return (results.parent / "report.html").read_text()


class Addresses(HTMLParser):
    """What a browser would load: every src, href and data of a tag."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("src", "href", "data", "poster", "srcset")]


# --- the page ---


def test_the_page_is_one_file_that_loads_nothing(html):
    parser = Addresses()
    parser.feed(html)
    assert parser.found and all(address.startswith(("#", "data:")) for address in parser.found)
    assert "@import" not in html.partition("</style>")[0] and len(html) < 3_000_000


def test_its_sections_stand_in_order_and_what_a_run_lacks_is_left_out(html, tmp_path):
    anchors = re.findall(r'<section id="([\w-]+)"', html)
    assert anchors[:3] == ["finding", "ladder", "steps"] and anchors[-1] == "run"
    assert {"layers", "learning", "lengths", "units", "costs", "rejected"} <= set(anchors)
    small = make_run(tmp_path / "results", ("speech-hubert",), layers=0, learning=0, spoken=False)
    (small / "units" / "quality.json").unlink()
    (small / "alignment" / "quality.json").unlink()
    build.write_page(small, tmp_path / "report.html")
    found = re.findall(r'<section id="([\w-]+)"', (tmp_path / "report.html").read_text())
    assert not {"steps", "layers", "learning", "units"} & set(found) and "ladder" in found


def test_the_same_run_gives_the_same_page(results, html):
    build.write_page(results, results.parent / "again.html")
    assert (results.parent / "again.html").read_text() == html


def test_texts_of_a_run_are_no_markup(results, tmp_path):
    nasty = "</script><script>alert(1)</script>"
    rows = [{"stage": "corpus", "reason": nasty, "count": 3}]
    kept = (results / "rejected.csv").read_text()
    try:
        write_csv(results / "rejected.csv", rejected.COLUMNS, rows)
        build.write_page(results, tmp_path / "report.html")
    finally:
        (results / "rejected.csv").write_text(kept)
    page = (tmp_path / "report.html").read_text()
    assert "alert(1)" in page and "<script>alert" not in page
    assert "</script" not in build.json_in_html({"text": nasty})


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(UserError, match=r"table.csv: no such file"):
        build.write_page(tmp_path, tmp_path / "report.html")


# --- the finding ---


def step(factor="C", task="swuggy", value=-20.0, low=-25.0, high=-15.0, p=0.001, floor="false"):
    known = {"factor": factor, "task": task, "norm": "sum", "from_rung": "phone-repeat", "to_rung": "speech-hubert"}
    cells = {"difference": value, "difference_low": low, "difference_high": high, "p_holm": p, "floor": floor}
    return dict.fromkeys(FACTORS, "") | known | {name: str(cell) for name, cell in cells.items()}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (step(), "Speech units in place of phones (C) lose 20.0 [15.0, 25.0] points on words."),
        (
            step(value=4.0, low=1.0, high=7.0),
            "Speech units in place of phones (C) gain 4.0 [1.0, 7.0] points on words.",
        ),
        (step(high=0.0), None),  # the interval touches 0
        (step(high=0.4), None),
        (step(p=0.05), None),
        (step(floor="true"), None),  # nothing can be lost from chance
    ],
)
def test_a_step_is_claimed_only_if_its_interval_and_p_bear_it(row, said):
    assert finding.changes([row]) == (said or "No loss or gain can be claimed for the only step.")


def test_the_finding_is_two_sentences_with_the_figures_of_the_run(results):
    rows = read_csv(results / "table.csv")
    text = finding.section(results).context["sentences"]
    assert len(text) == 2 and all(sentence.endswith(".") for sentence in text)
    for row in (rows[0], rows[-1]):
        for task in TASKS:
            assert f"{row[f'{task}_sum']} % [{row[f'{task}_sum_low']}, {row[f'{task}_sum_high']}]" in text[0]
    assert text[1].startswith("In these models, ")
    several = [row | {"seeds": "3"} for row in rows]
    assert finding.sentences(several, [step()])[1].startswith("Speech units")
    assert f"({rows[0]['rung']})" in text[0] and "(speech-hubert)" in text[0]
    assert finding.changes([step(), step(task="sblimp", p=0.5)]).endswith(
        "points on words; on syntax no loss or gain can be claimed."
    )
    both = finding.changes([step("B", "topic"), step(), step(task="sblimp", value=-9.0, low=-12.0, high=-6.0)])
    assert both == (
        "Speech units in place of phones (C) lose 20.0 [15.0, 25.0] points on words and 9.0 [6.0, 12.0] on syntax; "
        "phones repeated at 50 Hz (B) lose 20.0 [15.0, 25.0] points on meaning."
    )


def test_every_step_has_a_meaning():
    from speechladder.analysis.factors import STEPS

    assert {factor for factor, *_ in STEPS} == set(finding.MEANING)


# --- charts and tables ---


def values(chart):
    """The records of a chart, wherever in its specification they stand."""
    found = []

    def search(part):
        if isinstance(part, dict):
            found.extend(part["data"]["values"] if "values" in part.get("data", {}) else [])
            for inner in part.values():
                search(inner)
        elif isinstance(part, list):
            for inner in part:
                search(inner)

    search(chart.spec)
    return [record for record in found if "value" in record]


def test_charts_show_what_the_table_says_for_every_norm(results):
    rows = {row["rung"]: row for row in read_csv(results / "table.csv")}
    for task, chart in zip(TASKS, ladder.section(results).context["charts"]):
        cells = {(r["label"], r["norm"]): (r["value"], r["low"], r["high"], r["paper"]) for r in values(chart)}
        assert len(cells) == len(NORMS) * len(rows)
        for (rung, norm), cell in cells.items():
            name = f"{task}_{norm}"
            expected = *(float(rows[rung][name + end]) for end in ("", "_low", "_high")), TASKS[task].paper[rung]
            assert cell == expected
    (changes, *_) = steps.section(results).context["charts"]
    known = {(row["factor"], row["norm"]): row for row in read_csv(results / "factors.csv") if row["task"] == "swuggy"}
    assert {(r["label"], r["norm"]): str(r["value"]) for r in values(changes)} == {
        key: str(float(row["difference"])) for key, row in known.items()
    }
    assert {r["paper"] for r in values(changes) if r["label"] == "C"} == {-34.7}


def test_the_papers_values_are_those_of_the_published_table():
    published = {row.system.lower(): row for row in read_published(ROOT / "data" / "published", "paper")}
    for system, row in published.items():
        for task, figure in {"swuggy": row.swuggy, "sblimp": row.sblimp, "topic": row.tsc}.items():
            assert TASKS[task].paper[system] == figure
    assert set(continuation.PAPER) == set(published)
    assert list(continuation.PAPER.values()) == sorted(continuation.PAPER.values())


def test_curves_and_lengths_are_those_of_their_tables(results):
    rows = [row for row in read_csv(results / "layers.csv") if row["task"] == "sblimp"]
    chart = curves.layers(results).context["charts"][1]
    assert sorted((r["series"], r["norm"], int(r["x"]), r["value"]) for r in values(chart)) == sorted(
        (row["rung"], row["norm"], int(row["layer"]), float(row["accuracy"])) for row in rows
    )


def test_figures_of_units_that_were_not_measured_are_left_out(results):
    tables = units.section(results).context["tables"]
    assert [row[:2] for row in tables[0].rows] == [
        *(["PNMI", "0.61"], ["PNMI as published", "0.58"], ["phone purity", "58 %"], ["run", "1.66 frames"]),
    ]


# --- colours ---


@pytest.mark.parametrize("theme", [0, 1])
def test_text_and_marks_have_enough_contrast(theme):
    ground, panel = palette.COLOURS["paper"][theme], palette.COLOURS["panel"][theme]
    for name in ("ink", "muted", "link", "good", "bad"):
        for back in (ground, panel):
            assert palette.contrast(palette.COLOURS[name][theme], back) >= palette.TEXT, name
    assert palette.contrast(palette.COLOURS["faint"][theme], ground) >= palette.MARK
    every = [*LOOKS.values(), *OTHER_LOOKS, ("#ffffff", "o"), ("#ffff00", "o")]
    found = palette.palette({str(n): colour for n, (colour, _) in enumerate(every)})
    for n in range(len(every)):
        assert palette.contrast(found[f"--rung-{n}"][theme], ground) >= palette.MARK
    assert palette.readable("#0072b2", "#ffffff") == "#0072b2"  # nothing is moved without need
    assert palette.contrast("#000000", "#ffffff") == pytest.approx(21)


# --- costs ---


def test_jobs_lie_in_time_as_their_files_say(results):
    stages = [row["stage"] for row in read_csv(results / "costs.csv")]
    jobs = costs.read_jobs(results, stages)
    assert jobs[0].start == 0 and all(a.end == pytest.approx(b.start, abs=0.01) for a, b in pairwise(jobs))
    assert costs.without_pauses(jobs)[1] == 0


def test_pauses_are_cut_out_and_times_that_cannot_be_are_not_shown(tmp_path):
    results = make_run(tmp_path / "results", ("text-bpe", "text-raw"))
    stages = [row["stage"] for row in read_csv(results / "costs.csv")]
    left = results / "costs" / "train_lm" / "text-raw.seed7.tsv"  # of an earlier run with another seed
    left.write_text((left.parent / "text-raw.seed0.tsv").read_text())
    set_times(results, gap=3600)
    jobs, cut = costs.without_pauses(costs.read_jobs(results, stages))
    assert cut == len(jobs) - 1 == 3 and all(job.name != "text-raw.seed7" for job in jobs)
    assert jobs[-1].end == pytest.approx(sum(job.end - job.start for job in jobs), abs=0.1)
    for path in (results / "costs").glob("*/*.tsv"):
        path.touch()  # as a copy that does not keep the times
    assert costs.read_jobs(results, stages) == []
    context = costs.section(results).context
    assert not context["in_time"] and len(values(context["chart"])) == len(stages)


# --- the run ---


def test_the_run_can_be_made_again_from_the_page(tmp_path):
    record = read_json(make_run(tmp_path / "results", ("text-bpe",)) / "run.json")["settings"]
    assert run.changed(record) == {"rungs": ["text-bpe"]}
    different = run.changed({"seed": 4, "lm": {"seeds": [0, 1], "window": 1024}})
    assert different == {"seed": 4, "lm.seeds": [0, 1]}
    assert run.nested(different) == {"seed": 4, "lm": {"seeds": [0, 1]}}
    assert run.command({}) == "snakemake --cores all" and "--configfile" in run.command(different)
    cards = [tmp_path / "results" / "lm" / rung / "seed0" / "README.md" for rung in ("text-bpe", "text-raw")]
    for card, name in zip(cards, ("0123456789ab", "0123456789ab+")):
        card.parent.mkdir(parents=True, exist_ok=True)
        card.write_text(f"# A model\n\nCommit {name}.\n")
    assert run.trained_at(tmp_path / "results") == ""  # they differ
    cards[1].write_text("Commit 0123456789ab.\n")
    assert run.trained_at(tmp_path / "results") == "0123456789ab"
    assert "title = {speechladder" in run.citation() and run.citation(tmp_path / "none") == ""


# --- several runs ---


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """A run with worse models of speech-hubert on the same items, and one with other items."""
    folder = tmp_path_factory.mktemp("others")
    worse = make_run(folder / "worse" / "results")
    scores = worse / "scores"
    for task in TASKS:
        (scores / "text-bpe" / f"{task}.parquet").write_bytes(
            (scores / "speech-hubert" / f"{task}.parquet").read_bytes()
        )
    return worse, make_run(folder / "apart" / "results", said="another ")


def test_a_run_does_not_differ_from_itself(results):
    rows, changes = comparison.compare_run(results, results, ANALYSIS)
    assert len(rows) == len(RUNGS) * len(TASKS) * len(NORMS)
    assert {row["difference"] for row in rows} == {"0.0"} and {row["ids"] for row in rows} == {"40"}
    assert {row["difference"] for row in changes} == {"0.0"}
    assert "No difference between B run and A run" in compare.against("A run", "B run", rows)


def test_a_worse_model_is_found_on_the_same_items(results, others):
    rows, changes = comparison.compare_run(results, others[0], ANALYSIS)
    own = {(row["rung"], row["task"], row["norm"]): row for row in rows}
    table = {row["rung"]: row for row in read_csv(results / "table.csv")}
    lost = float(table["speech-hubert"]["swuggy_sum"]) - float(table["text-bpe"]["swuggy_sum"])
    assert float(own["text-bpe", "swuggy", "sum"]["difference"]) == pytest.approx(lost, abs=0.11)
    assert own["text-raw", "swuggy", "sum"]["difference"] == "0.0"
    text = compare.against("A", "B", rows)
    assert "B loses" in text and "on words (text-bpe)" in text and "text-raw" not in text
    step_a = next(row for row in changes if (row["factor"], row["task"], row["norm"]) == ("A-bpe", "swuggy", "sum"))
    assert float(step_a["difference"]) == pytest.approx(-lost, abs=0.11)


def test_other_items_are_not_paired(results, others):
    rows, _ = comparison.compare_run(results, others[1], ANALYSIS)
    assert {row["difference"] for row in rows} == {""} and {row["ids"] for row in rows} == {"0"}
    assert "no difference is claimed" in compare.against("A", "B", rows)


def test_runs_are_laid_over_one_another(results, others, tmp_path):
    record = read_json(others[0] / "run.json")
    record["settings"]["lm"]["seeds"] = [7]
    del record["settings"]["units"]["clusters"]  # as an older version, which lacked the field
    write_json(others[0] / "run.json", record)
    compare.write_comparison([results, *others], ANALYSIS, tmp_path / "compare.html")
    html = (tmp_path / "compare.html").read_text()
    assert "lm.seeds" in html and "units.clusters" not in html
    assert "C apart has other items than A" in html
    anchors = re.findall(r'<section id="([\w-]+)"', html)
    assert anchors == [
        "comparison",
        "settings",
        "ladder",
        "differences",
        "steps",
        "lengths",
        "units",
        "costs",
        "rejected",
    ]
    with pytest.raises(UserError, match="two runs"):
        compare.write_comparison([results], ANALYSIS, tmp_path / "compare.html")


def test_many_runs_have_names_of_their_own(tmp_path):
    names = [run.name for run in compare.name_runs([tmp_path / "x" / "results", tmp_path / "y" / "x", tmp_path / "x"])]
    assert names == ["A x", "B x", "C x"]
    assert len(set(run_colours([str(n) for n in range(7)]).values())) == 7
