"""alignment/{shard}.parquet and rejected.{shard}.jsonl: schema, order, and what happens to bad utterances."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from speechladder.alignment import run
from speechladder.alignment.mfa.prepare import fetch_models, prepare_mfa
from speechladder.alignment.run import align_shard
from speechladder.corpora.cuts import Cut, write_cuts
from speechladder.corpora.speak import speak, voices
from speechladder.io.audio import encode_flac
from speechladder.io.errors import UserError
from speechladder.io.spans import from_rows
from speechladder.io.tables import ALIGNMENT, read_table, write_table
from speechladder.settings import Alignment
from tests import fake_mfa
from tests.textgrids import write_textgrid

ROOT = Path(__file__).resolve().parents[2]
TEXT = "the cooks near the window bake bread"


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good utterances among a truncated file, a missing one, silence, a wrong and an empty transcript."""
    folder = tmp_path_factory.mktemp("corpus")
    samples = speak(TEXT, voices(0)[0], seed=3).samples
    seconds = len(samples) / 16_000
    flac = encode_flac(samples)
    (folder / "good.flac").write_bytes(flac)
    (folder / "cut off.flac").write_bytes(flac[: len(flac) // 2])
    (folder / "silent.flac").write_bytes(encode_flac(np.zeros_like(samples)))
    soundfile.write(folder / "stereo.wav", np.stack([samples, samples], axis=1), 16_000)
    wrong = "seventeen yellow elephants understood mathematics"
    cuts = [
        Cut(name, name, str(folder / path), 0.0, seconds, "s", "train", text, text, 16_000, len(samples))
        for name, path, text in (
            ("a, good one", "good.flac", TEXT),
            ("truncated", "cut off.flac", TEXT),
            ("missing", "nothing.flac", TEXT),
            ("silent", "silent.flac", TEXT),
            ("wrong", "good.flac", wrong),
            ("half", "good.flac", "the cooks"),
            ("empty", "good.flac", ""),
            ("stereo", "stereo.wav", TEXT),
        )
    ]
    write_cuts(folder / "cuts.0.jsonl.gz", cuts)
    return folder


def _align(shard: Path, out: Path, max_rejected: float = 1.0, truth: Path | None = None, **settings: str) -> list[dict]:
    align_shard(
        shard / "cuts.0.jsonl.gz",
        Alignment(**settings),
        out / "0.parquet",
        out / "rejected.0.jsonl",
        truth,
        max_rejected=max_rejected,
    )
    return read_table(out / "0.parquet", ALIGNMENT).to_pylist()


def test_rows_and_rejects(shard: Path, tmp_path: Path) -> None:
    rows = _align(shard, tmp_path, aligner="pocketsphinx")
    assert [r["id"] for r in rows] == ["a, good one", "stereo"]
    assert {r["aligner"] for r in rows} == {"pocketsphinx"}
    for row in rows:
        phones = from_rows(row["phones"])
        assert phones[0].start == 0 and phones[-1].end == row["seconds"]
        assert all(a.end == b.start for a, b in itertools.pairwise(phones))
        assert [w["label"] for w in row["words"]] == TEXT.split()
    rejected = {r["id"]: r for r in map(json.loads, (tmp_path / "rejected.0.jsonl").read_text().splitlines())}
    assert list(rejected) == ["truncated", "missing", "silent", "wrong", "half", "empty"]
    assert rejected["silent"]["reason"] == "silent" and rejected["empty"]["reason"] == "empty text"
    assert "audio" in rejected["truncated"]["reason"] and "audio" in rejected["missing"]["reason"]
    assert rejected["missing"]["source"].endswith("nothing.flac")


def test_the_same_bytes_again(shard: Path, tmp_path: Path) -> None:
    for name in "ab":
        _align(shard, tmp_path / name, aligner="pocketsphinx")
    assert (tmp_path / "a/0.parquet").read_bytes() == (tmp_path / "b/0.parquet").read_bytes()


def test_too_many_rejects_fail_the_shard(shard: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="6 of 8 utterances rejected"):
        _align(shard, tmp_path, max_rejected=0.5, aligner="pocketsphinx")


def test_truth_rows_are_copied(shard: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="pocketsphinx"):
        _align(shard, tmp_path, aligner="truth")
    span = [{"label": "SIL", "start": 0.0, "end": 1.0}]
    known = ["stereo", "not in the cuts", "a, good one"]
    table = [{"id": i, "words": [], "phones": span, "seconds": 1.0, "aligner": "truth"} for i in known]
    write_table(tmp_path / "truth.0.parquet", table, ALIGNMENT)
    rows = _align(shard, tmp_path, truth=tmp_path / "truth.0.parquet", aligner="truth")
    assert [r["id"] for r in rows] == ["a, good one", "stereo"] and rows[0]["phones"] == span
    assert len((tmp_path / "rejected.0.jsonl").read_text().splitlines()) == 6


# the Montreal Forced Aligner and TextGrids


@pytest.fixture
def mfa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that rule prepare_mfa makes, by a stand-in for mfa on PATH."""
    fake_mfa.install(tmp_path / "bin", monkeypatch)
    monkeypatch.setenv("FAKE_MFA_LOG", str(tmp_path / "calls.jsonl"))
    fake_mfa.write_model(tmp_path / "acoustic.zip", "acoustic")
    fetch_models(tmp_path / "models", "english_us_arpa", str(tmp_path / "acoustic.zip"), "english_us_arpa")
    return tmp_path


def _with_mfa(shard: Path, mfa: Path, max_rejected: float = 1.0) -> list[dict]:
    out = mfa / "out"
    prepare_mfa([shard / "cuts.0.jsonl.gz"], mfa / "models", mfa / "mfa")
    align_shard(
        shard / "cuts.0.jsonl.gz",
        Alignment(aligner="mfa"),
        out / "0.parquet",
        out / "rejected.0.jsonl",
        models=mfa / "mfa",
        jobs=2,
        max_rejected=max_rejected,
    )
    return read_table(out / "0.parquet", ALIGNMENT).to_pylist()


def test_a_shard_by_mfa(shard: Path, mfa: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_MFA_LEAVE_OUT", "elephants")
    rows = _with_mfa(shard, mfa)
    assert [r["id"] for r in rows] == ["a, good one", "half", "stereo"]  # the stand-in does not listen
    for row in rows:
        phones = from_rows(row["phones"])
        assert phones[0].start == 0 and phones[-1].end == row["seconds"] and row["aligner"] == "mfa"
        assert all(a.end == b.start for a, b in itertools.pairwise(phones))
    rejected = {r["id"]: r for r in map(json.loads, (mfa / "out" / "rejected.0.jsonl").read_text().splitlines())}
    assert list(rejected) == ["truncated", "missing", "silent", "wrong", "empty"]
    assert rejected["wrong"]["reason"].startswith("not aligned: ") and rejected["silent"]["reason"] == "silent"
    assert "audio" in rejected["truncated"]["reason"] and rejected["missing"]["source"].endswith("nothing.flac")
    call = fake_mfa.calls(mfa / "calls.jsonl")[-1]
    assert call["command"] == "align" and call["links"] == 3  # 'stereo' is not a mono file and is written anew
    assert sorted(p.name for p in (mfa / "out").iterdir()) == ["0.parquet", "rejected.0.jsonl"]
    with pytest.raises(UserError, match="5 of 8 utterances rejected"):
        _with_mfa(shard, mfa, max_rejected=0.5)


def test_windows_of_long_recordings_are_written(mfa: Path) -> None:
    samples = speak(TEXT, voices(0)[0], seed=3).samples
    (mfa / "small.tar").write_bytes(b"\0" * 512 + encode_flac(np.tile(samples, 3)))
    size = (mfa / "small.tar").stat().st_size - 512
    seconds = len(samples) / 16_000
    cuts = [
        Cut(f"large/1/book_{k}", "book", f"{mfa}/small.tar#512+{size}", k * seconds, seconds, "1", "train", TEXT, TEXT,
            16_000, 3 * len(samples))
        for k in range(3)
    ]  # fmt: skip
    write_cuts(mfa / "cuts.0.jsonl.gz", cuts)
    rows = _with_mfa(mfa, mfa)
    assert [row["id"] for row in rows] == [cut.id for cut in cuts]
    assert {row["seconds"] for row in rows} == {seconds}
    assert fake_mfa.calls(mfa / "calls.jsonl")[-1]["links"] == 0


def test_a_failing_mfa_leaves_nothing(shard: Path, mfa: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_MFA_EXIT", "align=1")
    with pytest.raises(UserError, match="mfa align failed with exit code 1"):
        _with_mfa(shard, mfa)
    assert not list((mfa / "out").iterdir())


def test_a_shard_from_textgrids(shard: Path, tmp_path: Path) -> None:
    known = _align(shard, tmp_path, aligner="pocketsphinx")
    for row in known:
        path = tmp_path / "grids" / "some" / f"{row['id']}.TextGrid"
        write_textgrid(path, from_rows(row["words"]), from_rows(row["phones"]), row["seconds"])
    rows = _align(shard, tmp_path / "again", aligner="textgrids", textgrids=str(tmp_path / "grids"))
    assert [r | {"aligner": ""} for r in rows] == [r | {"aligner": ""} for r in known]
    assert {r["aligner"] for r in rows} == {"textgrids"}
    reasons = [json.loads(line)["reason"] for line in (tmp_path / "again/rejected.0.jsonl").read_text().splitlines()]
    assert reasons == ["no TextGrid"] * 6


def test_more_rows_than_a_batch(shard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = _align(shard, tmp_path / "whole", aligner="pocketsphinx")
    monkeypatch.setattr(run, "BATCH", 1)
    assert _align(shard, tmp_path / "parts", aligner="pocketsphinx") == whole
    assert (tmp_path / "parts/0.parquet").read_bytes() == (tmp_path / "whole/0.parquet").read_bytes()


# MFA's environment


def _mfa_environment() -> tuple[list[str], dict[str, str]]:
    *conda, pip = yaml.safe_load((ROOT / "envs" / "mfa.yaml").read_text())["dependencies"]
    return conda, dict(line.split("==") for line in pip["pip"])


def test_mfas_environment_has_the_locks_versions() -> None:
    conda, pip = _mfa_environment()
    lock = (ROOT / "requirements.lock").read_text().splitlines()
    pins = dict(line.split("==") for line in lock if line and line[0] not in "#-")
    assert pip == {name: pins[name] for name in pip}
    assert {"montreal-forced-aligner=3.4.*", "kalpy=0.10.*", "python=3.11"} <= set(conda)


_MFA_MODULES = [
    *("speechladder.command", "speechladder.alignment.run", "speechladder.alignment.mfa.aligner"),
    *("speechladder.alignment.mfa.prepare", "speechladder.alignment.mfa.train"),
    *("speechladder.benchmarks.items", "speechladder.continuation.prompts"),
    # make_items imports these when a task needs them
    *("speechladder.benchmarks.slm21", "speechladder.benchmarks.storycloze", "speechladder.fetch.archives"),
    *(
        f"speechladder.benchmarks.{package}.{path.stem}"
        for package in ("generation", "tasks")
        for path in sorted((ROOT / "src" / "speechladder" / "benchmarks" / package).glob("[a-z]*.py"))
    ),
]


def test_mfas_environment_has_what_its_stages_import() -> None:
    _, pip = _mfa_environment()
    code = (
        "import sys, importlib, importlib.metadata as metadata\n"
        f"for module in {_MFA_MODULES!r}: importlib.import_module(module)\n"
        "import num2words, rich.progress, pocketsphinx, espeakng_loader\n"
        "found = {m.split('.')[0] for m, module in sys.modules.items()\n"
        "         if 'site-packages' in (getattr(module, '__file__', None) or '')}\n"
        "of = metadata.packages_distributions()\n"
        "print(*{name for module in found for name in of.get(module, [])})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = {name.lower().replace("_", "-") for name in done.stdout.split()}
    # dependencies of these packages, and numpy, which MFA installs
    brought = {
        "pydantic-core",
        "annotated-types",
        "typing-inspection",
        "typing-extensions",
        "cffi",
        "numpy",
        "setuptools",
    }
    brought |= {"sounddevice", "docopt", "cloudpickle", "markdown-it-py", "mdurl", "pygments"}
    assert imported - brought <= set(pip), imported - brought - set(pip)
