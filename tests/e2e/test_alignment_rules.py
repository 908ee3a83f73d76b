"""The rules of the aligners that need more than the default environment, on the world, whose times are known."""

import json
import tarfile
from pathlib import Path

import pytest
import yaml

from speechladder.io.spans import from_rows
from speechladder.io.tables import ALIGNMENT, read_table

from ..fake_mfa import calls, install
from ..textgrids import write_textgrid
from .conftest import ROOT, run

pytestmark = pytest.mark.e2e
SMOKE = str(ROOT / "presets" / "smoke.yaml")
TARGETS = ("results/alignment/0.parquet", "results/alignment/1.parquet")


def _preset(folder: Path, **alignment: object) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "preset.yaml"
    config = {"corpus": {"hours": 0.02, "shards": 2, "max_rejected": 0.9}, "alignment": alignment}
    path.write_text(yaml.safe_dump(config))
    return str(path)


def _rows(folder: Path, name: str) -> dict[str, dict]:
    paths = [folder / "results" / name.format(shard) for shard in (0, 1)]
    return {row["id"]: row for path in paths for row in read_table(path, ALIGNMENT).to_pylist()}


def test_a_trained_mfa_then_textgrids_in_an_archive(tmp_path, monkeypatch):
    install(tmp_path / "bin", monkeypatch)
    monkeypatch.setenv("FAKE_MFA_LOG", str(tmp_path / "calls.jsonl"))
    folder = tmp_path / "run"
    preset = _preset(folder, aligner="mfa", mfa_model=None)
    run(folder, "--configfile", SMOKE, preset, "--", *TARGETS, "results/alignment/quality.json")
    made = [call["command"] for call in calls(tmp_path / "calls.jsonl")]
    assert made == ["version", "model download", "model download", "g2p", "train", "align", "align"]
    aligned = _rows(folder, "alignment/{}.parquet")
    assert aligned and {row["aligner"] for row in aligned.values()} == {"mfa"}
    quality = json.loads((folder / "results/alignment/quality.json").read_text())
    assert (quality["reference"], quality["aligner"]) == ("truth", "mfa") and quality["boundaries"] > 0
    assert not list(folder.rglob(".tmp-*"))
    # settings of another aligner trigger no rerun, another lexicon does
    same = _preset(folder, aligner="mfa", mfa_model=None, beam=1e-200)
    assert "Nothing to be done" in run(folder, "-n", "--configfile", SMOKE, same, "--", *TARGETS)
    (folder / "lexicon.txt").write_text("the DH AH\n")
    other = _preset(folder, aligner="mfa", mfa_model=None, lexicon=str(folder / "lexicon.txt"))
    again = run(folder, "-n", "--configfile", SMOKE, other, "--", *TARGETS)
    assert "train_mfa" in again and "fetch_mfa" not in again

    truth = _rows(folder, "corpus/truth.{}.parquet")
    with tarfile.open(folder / "grids.tar.gz", "w:gz") as archive:
        for name, row in truth.items():
            path = folder / "grids" / f"{name.replace('/', '_')}.TextGrid"
            write_textgrid(path, from_rows(row["words"]), from_rows(row["phones"]), row["seconds"])
            archive.add(path, f"some/{name}.TextGrid")
    preset = _preset(folder, aligner="textgrids", textgrids=str(folder / "grids.tar.gz"))
    run(folder, "--configfile", SMOKE, preset, "--", *TARGETS)
    found = _rows(folder, "alignment/{}.parquet")
    assert found.keys() == truth.keys() and {row["aligner"] for row in found.values()} == {"textgrids"}
    for name, row in found.items():
        assert row["phones"] == truth[name]["phones"] and row["words"] == truth[name]["words"]


def test_what_mfa_says_is_in_the_jobs_log(tmp_path, monkeypatch):
    install(tmp_path / "bin", monkeypatch)
    monkeypatch.setenv("FAKE_MFA_EXIT", "model download=1")
    preset = _preset(tmp_path / "run", aligner="mfa")
    out = run(tmp_path / "run", "--configfile", SMOKE, preset, "--", "results/alignment/mfa_models", check=False)
    assert "alignment.mfa_model: english_us_arpa cannot be downloaded" in out and "exit code 1" in out
    log = (tmp_path / "run/results/logs/fetch_mfa.log").read_text()
    assert "There was an error in the run, please see the log" in log  # the command has no log of its own
    assert not list((tmp_path / "run").rglob(".tmp-*"))
