"""results/causes.csv on a finished run: what the run has is taken, and two corpora are runs of their own."""

import csv
import json
import re
from pathlib import Path

import pytest

from .conftest import copy_run, run

pytestmark = pytest.mark.e2e

RUNGS, CORPORA = ["phone-confused", "unit-vote"], ["flat", "noise"]


def words(*more: str, **causes: list[str]) -> tuple[str, ...]:
    """The command's words for these rungs and corpora."""
    causes = {"rungs": RUNGS, "corpora": CORPORA} | causes
    return (*more, "--config", f"causes={json.dumps(causes)}", "--", "results/causes.csv")


def planned(said: str) -> dict[str, int]:
    """The jobs that a dry run lists, by rule; none if there is nothing to do."""
    stats = said[said.index("Job stats:") :].partition("total")[0] if "Job stats:" in said else ""
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", stats, re.M)}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as handle:
        return list(csv.DictReader(handle))


def test_rungs_of_the_run_and_corpora_beside_it(smoke, tmp_path):
    folder = copy_run(smoke, tmp_path / "run")
    more = {"tokenize_rung": 2, "tokenize_items": 2, "train_lm": 2, "score_rung": 2, "count_phone_units": 1}
    assert planned(run(folder, *words("-n"))) == {**more, "causes_run": 2, "causes": 1}
    run(folder, *words())
    results = folder / "results"
    table = [row for row in rows(results / "causes.csv") if (row["task"], row["norm"]) == ("swuggy", "sum")]
    assert [(row["name"], row["base"]) for row in table] == [
        *(("phone-repeat", ""), ("speech-hubert", "unit-vote"), ("phone-confused", "phone-repeat")),
        *(("unit-vote", "phone-repeat"), ("flat phone-repeat", "phone-repeat"), ("flat", "flat phone-repeat")),
        *(("noise", "flat"), ("run", "flat")),
    ]
    assert all(row["one_seed"] == "true" and int(row["ids"]) > 5 for row in table if row["base"])
    own = {row["rung"]: row for row in rows(results / "table.csv")}
    (speech,) = (row for row in table if row["name"] == "run")
    assert speech["accuracy_low"] == own["speech-hubert"]["swuggy_sum_low"]
    assert {row["of"] for row in rows(results / "causes_share.csv")} == {"run"}
    for row in rows(results / "bit_budget.csv"):
        parts = [float(row[name]) for name in (*list(row)[6:],) if row[name]]
        assert sum(parts) == pytest.approx(float(row["bits_per_second"]), abs=0.003)
    settings = json.loads((results / "causes" / "noise" / "results" / "run.json").read_text())["settings"]
    assert settings["corpus"]["causes"] == ["noise"] and settings["rungs"] == ["speech-hubert"]
    assert (results / "figures" / "causes.svg").read_text().rstrip().endswith("</svg>")
    # fewer rows: nothing is spoken or trained again
    assert planned(run(folder, *words("-n", rungs=["unit-vote"]))) == {"causes": 1}
    assert "Nothing to be done" in run(folder, *words("-n"))
