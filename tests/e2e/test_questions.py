"""results/questions.csv on a finished run, cut to an arm of segments, supervised units and a rung."""

import csv
import json

import pytest

from .conftest import copy_run, run

pytestmark = pytest.mark.e2e

CUT = {"arms": ["segments-syllable", "supervised-1"], "rungs": ["unit-words"], "corpora": [], "resynthesis": True}


def test_the_arms_of_a_run_are_compared_and_nothing_is_made_twice(smoke, tmp_path):
    folder = copy_run(smoke, tmp_path / "run")
    words = ["--config", f"questions={json.dumps(CUT)}", "--", "results/questions.csv"]
    run(folder, *words)
    results = folder / "results"
    with (results / "questions.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    of = {row["arm"]: row for row in rows}
    assert list(of) == ["phone-repeat", "speech-hubert", "segments-syllable", "unit-words", "supervised-1"]
    assert {row["one_seed"] for row in rows} == {"true"}
    assert float(of["segments-syllable"]["units_per_second"]) < 10 < float(of["supervised-1"]["units_per_second"])
    assert float(of["unit-words"]["units_per_second"]) > float(of["speech-hubert"]["units_per_second"])
    for name in ("speech-hubert", "segments-syllable", "supervised-1"):
        assert 0 < float(of[name]["pnmi"]) < 1
    for name in ("speech-hubert", "segments-syllable"):
        assert float(of[name]["resynthesis_wer"]) > 0
    assert not of["supervised-1"]["resynthesis_wer"]
    assert (results / "figures" / "questions.svg").read_text().rstrip().endswith("</svg>")
    made = {path.name for path in (results / "questions" / "segments-syllable").iterdir()}
    assert {"units", "tokens", "lm", "scores", "benchmarks"} <= made and "corpus" not in made
    assert "Nothing to be done" in run(folder, "-n", *words)
