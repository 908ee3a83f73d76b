"""results/scaling.csv on a finished run: what the run has is taken, and nothing is tokenised again."""

import csv
import json
import re

import pytest

from .conftest import copy_run, run

pytestmark = pytest.mark.e2e


def words(sizes: list[dict], *more: str) -> tuple[str, ...]:
    """The command's words for sizes x half and all of the data, of text-bpe."""
    scaling = {"rungs": ["text-bpe"], "fractions": [0.5, 1.0], "sizes": sizes}
    return (*more, "--config", f"scaling={json.dumps(scaling)}", "--", "results/scaling.csv")


def test_models_of_the_run_are_taken_and_the_rest_is_trained(smoke, tmp_path):
    folder = copy_run(smoke, tmp_path / "run")
    said = run(folder, *words([{"name": "s", "layers": 1}, {"name": "own"}], "-n"))
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", said[said.index("Job stats:") : said.index("total")], re.M))
    assert jobs == {"take_fraction": "1", "train_lm": "3", "score_rung": "4", "scaling": "1"}
    run(folder, *words([{"name": "own"}]))
    results = folder / "results"
    with (results / "scaling.csv").open() as handle:
        half, whole = csv.DictReader(handle)
    with (results / "table.csv").open() as handle:
        own = next(row for row in csv.DictReader(handle) if row["rung"] == "text-bpe")
    assert (half["fraction"], whole["fraction"], half["size"]) == ("0.5", "1", "own")
    assert 0.5 <= float(half["hours"]) / float(whole["hours"]) < 0.7
    assert whole["valid_bits_per_second"].startswith(own["valid_bits_per_second"][:-1])
    names = [f"{task}_sum{end}" for task in ("swuggy", "sblimp", "topic") for end in ("", "_low", "_high")]
    assert [whole[name] for name in names] == [own[name] for name in names]
    with (results / "scaling_fits.csv").open() as handle:
        (fits,) = csv.DictReader(handle)
    assert fits["E"] == "" and "no fit" in fits["note"]
    assert (results / "figures" / "scaling.svg").read_text().rstrip().endswith("</svg>")
