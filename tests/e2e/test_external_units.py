"""External units in the workflow: the run's own units as files, and the same at 25 Hz."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.io.files import read_json

from .conftest import copy_run, run

pytestmark = pytest.mark.e2e
TOKENS = [f"tokens/speech-hubert/{split}.bin" for split in ("train", "valid", "test")]
ITEM_TOKENS = [f"benchmarks/{task}/speech-hubert.parquet" for task in TASKS]


def write_units(results: Path, folder: Path, every: int = 1) -> dict[str, str]:
    """Write every n-th of the run's own units as a tokenizer would: utterances as Parquet, items as JSON lines."""
    folder.mkdir()
    own = {name: row["units"][::every] for name, row in _rows(results / "units" / "0.parquet")}
    pq.write_table(pa.table({"id": list(own), "units": list(own.values())}), folder / "corpus.parquet")
    with (folder / "items.jsonl").open("w") as handle:
        for path in [*(results / "benchmarks" / task for task in TASKS), results / "continuation"]:
            for name, row in _rows(path / "units.parquet"):
                handle.write(json.dumps({"id": f"{path.name}/{name}", "units": row["units"][::every]}) + "\n")
    return {"source": "external", "path": str(folder / "corpus.parquet"), "items_path": str(folder / "items.jsonl")}


def write_text(results: Path, folder: Path, every: int) -> dict[str, str]:
    """Every n-th of the run's own units as textlesslib writes them: utterances, items and prompts in one file."""
    files = write_units(results, folder, every)
    rows = pq.read_table(files["path"]).to_pylist()
    rows += [json.loads(line) for line in Path(files["items_path"]).read_text().splitlines()]
    text = "".join(f"{row['id']}\t{' '.join(map(str, row['units']))}\r\n" for row in rows)
    path = folder / "all.units"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    return {"source": "external", "path": str(path)}


def _rows(path: Path) -> list[tuple[str, dict]]:
    return [(row["id"], row) for row in pq.read_table(path).to_pylist()]


@pytest.fixture
def world(smoke, tmp_path):
    """A copy of the smoke run, whose corpus, alignment and items another run uses."""
    copy_run(smoke, tmp_path / "run")
    for name in ("lm", "scores", "tokens"):
        shutil.rmtree(tmp_path / "run" / "results" / name)
    return tmp_path / "run"


def test_the_runs_own_units_given_are_the_same_tokens(smoke, world, tmp_path):
    units = write_units(smoke / "results", tmp_path / "external")
    names = ["units/quality.json", "continuation/units.parquet", "tokens/speech-hubert", *ITEM_TOKENS]
    config = ["--config", f"units={json.dumps(units)}", "rungs=[speech-hubert]"]
    out = run(world, *config, "--", *(f"results/{name}" for name in names))
    assert "sample_features" not in out and "train_kmeans" not in out
    for name in (*TOKENS, *ITEM_TOKENS):
        assert (world / "results" / name).read_bytes() == (smoke / "results" / name).read_bytes(), name
    ours, theirs = (read_json(folder / "results" / "units" / "quality.json") for folder in (world, smoke))
    for name in ("pnmi", "phone_purity", "entropy_bits", "mean_run_frames", "speaker", "same_sentence"):
        assert ours[name] == theirs[name], name
    assert ours["abx"]["units"]["symbols"] == theirs["abx"]["units"]["symbols"]
    rows = [dict(_rows(folder / "results" / "continuation" / "units.parquet")) for folder in (world, smoke)]
    assert [row["units"] for row in rows[0].values()] == [row["units"] for row in rows[1].values()]


def test_units_at_25_hz_are_scored_as_they_are_and_not_spoken(smoke, world, tmp_path):
    units = write_text(smoke / "results", tmp_path / "external", every=2) | {"rate": 25}
    config = ["--config", f"units={json.dumps(units)}", "rungs=[speech-hubert]"]
    out = run(world, *config, "--", "results/scores/speech-hubert/swuggy.parquet")
    assert "speech-hubert: no continuation" in out
    assert "belong to no utterance" not in out
    meta = read_json(world / "results" / "tokens" / "speech-hubert" / "meta.json")
    assert meta["tokens_per_second"] == pytest.approx(25, rel=0.01)
    own = read_json(smoke / "results" / "tokens" / "speech-hubert" / "meta.json")
    assert meta["seconds"] == own["seconds"]
    scores = pq.read_table(world / "results" / "scores" / "speech-hubert" / "swuggy.parquet").to_pylist()
    counts = dict(_rows(world / "results" / "benchmarks" / "swuggy" / "units.parquet"))
    assert {row["item"]: row["tokens"] for row in scores} == {name: len(row["units"]) for name, row in counts.items()}
    jobs = run(world, "-n", *config, "--", "results/table.csv")
    assert "make_table" in jobs and "train_vocoder" not in jobs and "make_prompts" not in jobs


def test_what_there_is_no_encoder_for_is_refused(world, smoke, tmp_path):
    units = write_units(smoke / "results", tmp_path / "external")
    out = run(world, "-n", "--config", f"units={json.dumps(units)}", "--", "results/units_sweep.csv", check=False)
    assert "its points are layers and codebooks of an encoder" in out
    out = run(world, "-n", "--config", "units={source: external, path: nowhere.jsonl}", check=False)
    assert "units.path: nowhere.jsonl: no such file or folder" in out
