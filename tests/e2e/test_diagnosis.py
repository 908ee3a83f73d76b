"""make diagnose at the smallest size: of an encoder's units, and of the same units as files of a tokenizer."""

import json

import pyarrow.parquet as pq
import pytest

from speechladder.io.files import read_json

from .conftest import run

pytestmark = pytest.mark.e2e
SMALL = (
    "diagnosis={sentences: 4}",
    "continuation={enabled: false, resynthesis_minutes: 1, vocoder_steps: 5}",
    "seed=101",
)


def test_an_encoder_and_the_same_units_as_files_have_one_diagnosis(tmp_path):
    out = run(tmp_path, "--config", *SMALL, "--", "results/diagnosis.html", "results/diagnosis/export")
    assert "train_lm" not in out and "make_items" not in out
    results = tmp_path / "results"
    own = read_json(results / "diagnosis.json")
    page = (results / "diagnosis.html").read_text()
    assert own["invariance"]["again"]["units"]["value"] == 0 and own["resynthesis"]["utterances"] > 0
    assert "Predicted, not measured" in page

    listed = [json.loads(line) for line in (results / "diagnosis" / "export" / "audio.jsonl").read_text().splitlines()]
    units = {row["id"]: row["units"] for row in pq.read_table(results / "units" / "0.parquet").to_pylist()}
    units |= {
        f"probe/{row['id']}": row["units"] for row in pq.read_table(results / "probe" / "units.parquet").to_pylist()
    }
    assert {row["id"] for row in listed} == set(units), "what is exported is what has units"
    made = tmp_path / "mine.jsonl"
    made.write_text("".join(json.dumps({"id": row["path"], "units": units[row["id"]]}) + "\n" for row in listed))
    given = json.dumps({"source": "external", "path": str(made), "clusters": 32})
    items = "benchmarks={swuggy_pairs: 2, sblimp_pairs: 2, topic_pairs: 2, voices: 1}"
    out = run(tmp_path, "--config", *SMALL, items, f"units={given}", "--", "results/diagnosis.json")
    assert "belong to no utterance" not in out
    theirs = read_json(results / "diagnosis.json")
    assert theirs["resynthesis"]["utterances"] == own["resynthesis"]["utterances"]
    for part in ("shift", "speaker"):
        assert theirs[part] == own[part], part
    for cause, change in own["invariance"].items():  # files do not say that a frame needs a whole window
        assert cause == "context" or theirs["invariance"][cause] == change, cause
    assert theirs["words"]["tokens"] == own["words"]["tokens"]
    assert theirs["quality"]["pnmi_100hz"] == own["quality"]["pnmi_100hz"]
    assert theirs["tokenizer"]["path"] == "mine.jsonl"
