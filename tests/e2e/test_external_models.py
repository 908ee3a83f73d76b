"""results/external.csv on a finished run: a model from elsewhere beside those of the run, which stay as they are."""

import csv
import json
import re
import sys

import pytest

from .conftest import ROOT, copy_run, run

sys.path.insert(0, str(ROOT / "tests" / "unit"))

pytestmark = pytest.mark.e2e


def test_a_model_over_units_stands_beside_the_runs_own(smoke, tmp_path):
    import external_checkpoints as made

    folder = copy_run(smoke, tmp_path / "run")
    clusters = json.loads((folder / "results" / "run.json").read_text())["settings"]["units"]["clusters"]
    model = made.save(made.opt(clusters + 2), tmp_path / "twist")
    given = {"models": [{"model": str(model), "rate": 50}]}
    words = ("--config", f"external={json.dumps(given)}", "--", "results/external.csv")
    said = run(folder, "-n", *words)
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", said[said.index("Job stats:") : said.index("total")], re.M))
    assert jobs == {"score_external": "1", "external": "1"}
    run(folder, *words)
    with (folder / "results" / "external.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    with (folder / "results" / "table.csv").open() as handle:
        table = {row["rung"]: row for row in csv.DictReader(handle)}
    assert {row["model"] for row in rows} == {"twist", *table}
    for row in rows:
        if row["model"] == "twist":
            assert (row["trained_here"], row["version"]) == ("false", "speech")
        else:
            name = f"{row['task']}_{row['norm']}"
            assert [row[f"accuracy{end}"] for end in ("", "_low", "_high")] == [
                table[row["model"]][f"{name}{end}"] for end in ("", "_low", "_high")
            ]
    wrong = {"models": [{"model": str(model), "rate": 25}]}
    said = run(folder, "--config", f"external={json.dumps(wrong)}", "--", "results/external.csv", check=False)
    assert "external.models: twist: it was trained on 25 units per second" in said
