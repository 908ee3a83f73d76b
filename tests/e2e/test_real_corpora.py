"""From the first download to the table: miniature archives in the genuine formats, on a server of this machine."""

import csv
import json
from pathlib import Path

import pytest
import yaml

from speechladder.io.tables import ALIGNMENT, UTTERANCES, read_table

from ..fake_mfa import install as install_mfa
from ..http_server import Server
from ..mini_corpora import libriheavy, librispeech, md5, natural, synthetic
from ..mini_slm21 import write_slm21
from ..mini_storycloze import write_storycloze
from .conftest import ROOT, run

pytestmark = pytest.mark.e2e
RUNGS = ["text-bpe", "phone-repeat", "speech-hubert"]
SMOKE = str(ROOT / "presets" / "smoke.yaml")


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open() as handle:
        return list(csv.DictReader(handle))


def _reasons(folder: Path, stage: str) -> dict[str, str]:
    paths = sorted((folder / "results" / stage).rglob("rejected*.jsonl"))
    return {row["id"]: row["reason"] for p in paths for row in map(json.loads, p.read_text().splitlines())}


@pytest.fixture(scope="module")
def served(tmp_path_factory, optional_shared_data):
    """The archives on a server that breaks off, and a server that has another file under the same name."""
    archives = tmp_path_factory.mktemp("archives")
    if optional_shared_data:
        said = natural(optional_shared_data / "librispeech" / "LibriSpeech", 6, 5)
    else:
        said = synthetic(6, 5)
    bad = libriheavy(archives, said, {said[-1].speaker})
    librispeech(archives, [one for one in said if one.speaker != said[-1].speaker], "train-clean-100")
    librispeech(archives, [one for one in said if one.speaker == said[-1].speaker], "dev-clean")
    write_slm21(archives / "sLM21.dataset.zip")
    write_storycloze(archives / "tSC.zip")
    wrong = tmp_path_factory.mktemp("wrong")
    (wrong / "libriheavy_cuts_small.jsonl.gz").write_bytes(b"another file of this name")
    with Server(archives) as server, Server(wrong) as mirror:
        server.cut("small.tar", after=300_000)
        server.cut("train-clean-100.tar.gz", after=100_000)
        yield archives, server, mirror, bad


def _downloads(archives: Path, server: Server, *names: str, first: dict[str, str] | None = None) -> dict:
    return {
        name: {
            "urls": [*([(first or {})[name]] if name in (first or {}) else []), server.url(name)],
            "md5": md5(archives / name),
            "bytes": (archives / name).stat().st_size,
        }
        for name in names
    }


def _preset(folder: Path, config: dict) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "preset.yaml"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def test_libriheavy_from_the_first_download_to_the_table(served, tmp_path, monkeypatch):
    archives, server, mirror, bad = served
    install_mfa(tmp_path / "bin", monkeypatch)
    manifests = ["libriheavy_cuts_small.jsonl.gz", "libriheavy_cuts_dev.jsonl.gz"]
    names = [*manifests, "small.tar", "sLM21.dataset.zip", "tSC.zip"]
    preset = _preset(
        tmp_path / "run",
        {
            "rungs": RUNGS,
            "corpus": {
                "name": "libriheavy", "manifests": manifests, "archives": ["small.tar"], "shards": 2,
                "max_rejected": 0.6, "hours": 1,
            },
            "downloads": {
                "files": _downloads(archives, server, *names, first={manifests[0]: mirror.url(manifests[0])}),
                "backoff": 0.05,
            },
            "alignment": {"aligner": "mfa"},
            "benchmarks": {
                "slm21": "sLM21.dataset.zip", "slm21_splits": ["dev", "test"], "storycloze": "tSC.zip", "max_pairs": 12,
            },
            "continuation": {"prompt_seconds": 1, "prompts": 3},
        },
    )  # fmt: skip
    out = run(tmp_path / "run", "--configfile", SMOKE, preset, "--", "results/table.csv", "results/slm21.csv")
    assert "Traceback" not in out
    results = tmp_path / "run" / "results"
    assert [row["rung"] for row in _rows(results / "table.csv")] == RUNGS
    # faults are listed with their reasons and are not in the corpus; nothing was written elsewhere
    reasons = _reasons(tmp_path / "run", "corpus")
    for name, reason in bad.items():
        if reason != "duplicate id":
            assert reason in reasons[name], (name, reasons.get(name))
    used = set(read_table(results / "tokens" / "utterances.parquet", UTTERANCES)["id"].to_pylist())
    assert not used & {name for name, reason in bad.items() if reason != "duplicate id"}
    assert len(used) >= 20
    assert not list(tmp_path.rglob("outside.txt")) and not Path("/tmp/speechladder-outside.txt").exists()
    audit = json.loads((results / "corpus" / "audit.json").read_text())
    assert audit["rejected"] == len(bad), audit
    # the download broke off and was resumed; the wrong file at the first address was not taken
    assert server.ranges("small.tar"), "nothing was resumed"
    assert not list((tmp_path / "run").rglob("*.part*"))
    aligned = read_table(results / "alignment" / "0.parquet", ALIGNMENT)
    assert set(aligned["aligner"].to_pylist()) <= {"mfa"}
    # official items on every rung, in both splits
    groups = {(r["rung"], r["task"], r["split"]) for r in _rows(results / "slm21.csv")}
    assert groups == {
        (rung, task, split) for rung in RUNGS for task in ("swuggy", "sblimp") for split in ("dev", "test")
    }
    notes = json.loads((results / "benchmarks" / "topic" / "about.json").read_text())
    assert "transcribed" in json.dumps(notes)
    assert "Nothing to be done" in run(tmp_path / "run", "--configfile", SMOKE, preset, "--", "results/table.csv")
    # another address of the same file triggers no rerun
    config = yaml.safe_load(Path(preset).read_text())
    config["downloads"]["files"]["small.tar"]["urls"] = ["http://127.0.0.1:9/elsewhere.tar"]
    again = _preset(tmp_path / "run", config)
    assert "Nothing to be done" in run(tmp_path / "run", "-n", "--configfile", SMOKE, again, "--", "results/table.csv")


def test_librispeech_is_fetched_unpacked_and_audited(served, tmp_path):
    archives, server, _, _ = served
    names = ["train-clean-100.tar.gz", "dev-clean.tar.gz"]
    preset = _preset(
        tmp_path,
        {
            "corpus": {"name": "librispeech", "archives": names, "shards": 2},
            "downloads": {"files": _downloads(archives, server, *names), "backoff": 0.05},
            "alignment": {"aligner": "pocketsphinx"},
        },
    )
    out = run(tmp_path, "--configfile", SMOKE, preset, "--", "results/corpus/audit.json")
    audit = json.loads((tmp_path / "results" / "corpus" / "audit.json").read_text())
    # the folders' names state train and valid; test is drawn from train
    counts = {name: split["utterances"] for name, split in audit["splits"].items()}
    assert audit["rejected"] == 0 and counts == {"train": 24, "valid": 5, "test": 1}, audit
    assert server.ranges("train-clean-100.tar.gz"), "nothing was resumed"
    assert "train" in out and "24" in out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"corpus": {"archives": ["smal.tar"]}}, "did you mean 'small.tar'"),
        ({"corpus": {"source": "/nowhere"}}, "corpus.source: /nowhere"),
        ({"downloads": {"files": {"small.tar": {"urls": ["ftp://x/small.tar"]}}}}, "small.tar"),
        (
            {"downloads": {"files": {"small.tar": {"urls": ["http://x/small.tar"], "bytes": 10**18}}}},
            "needs 1010000 TB for small.tar (1000000 TB)",
        ),
        ({"alignment": {"aligner": "mfa"}}, "no `mfa` on PATH"),
        ({"alignment": {"aligner": "textgrids", "textgrids": "/nowhere"}}, "alignment.textgrids: /nowhere"),
        ({"benchmarks": {"slm21": "nowhere.zip"}}, "benchmarks.slm21: nowhere.zip"),
    ],
)
def test_a_mistake_is_named_before_any_job(tmp_path, change, message):
    config = {
        "corpus": {"name": "libriheavy", "manifests": ["m.jsonl.gz"], "archives": ["small.tar"]},
        "downloads": {"files": {n: {"urls": [f"http://127.0.0.1:9/{n}"]} for n in ("m.jsonl.gz", "small.tar")}},
        "alignment": {"aligner": "pocketsphinx"},
    }
    for section, values in change.items():
        config.setdefault(section, {}).update(values)
    if "downloads" in change:
        config["downloads"]["files"]["m.jsonl.gz"] = {"urls": ["http://127.0.0.1:9/m.jsonl.gz"]}
    preset = _preset(tmp_path, config)
    out = run(tmp_path, "--configfile", SMOKE, preset, "--", "results/table.csv", check=False)
    assert message in out, out[-3000:]
    assert not (tmp_path / "results").exists()
    assert "Traceback" not in out


@pytest.mark.parametrize("preset", ["paper", "libriheavy-small", "librispeech-100"])
def test_a_preset_builds_its_dag(preset, tmp_path):
    out = run(tmp_path, "-n", "--quiet", "rules", "--", "results/table.csv", preset=preset)
    assert "train_lm" in out and "download" in out
    assert not (tmp_path / "results").exists()
