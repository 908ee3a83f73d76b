"""Where things are: in corpus.source, on disk, or where the rules put them; what is nowhere is named before a job."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from speechladder.fetch.download import check_room, fetch
from speechladder.io.errors import UserError
from speechladder.settings import Settings, load
from speechladder.workflow import sources as places
from speechladder.workflow.sources import (
    audio_inputs,
    check_sources,
    content,
    missing,
    place,
    readable,
    roots,
    tars,
    unpacked,
)
from tests.http_server import Server

ROOT = Path(__file__).resolve().parents[2]
URL = "http://127.0.0.1:9/"
FILES = (
    "m.jsonl.gz",
    "small.tar",
    "medium.tar",
    "train-clean-100.tar.gz",
    "dev-clean.tar.gz",
    "sLM21.zip",
    "grids.tgz",
)


def _settings(name: str = "libriheavy", files: dict | None = None, **sections: dict) -> Settings:
    corpus = {"name": name} | ({"manifests": ["m.jsonl.gz"]} if name == "libriheavy" else {})
    config = {
        "corpus": corpus | sections.pop("corpus", {}),
        "alignment": {"aligner": "pocketsphinx"} if name != "world" else {},
        "downloads": {"files": {f: {"urls": [URL + f]} for f in FILES} | (files or {})},
    }
    for section, values in sections.items():
        config[section] = config.get(section, {}) | values
    return load(config)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("PWD", str(work))


def _touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_what_is_nowhere_is_downloaded():
    settings = _settings(
        corpus={"archives": ["small.tar", "medium.tar"]},
        benchmarks={"slm21": "sLM21.zip"},
        alignment={"aligner": "textgrids", "textgrids": "grids.tgz"},
    )
    check_sources(settings)
    assert place(settings, "small.tar", "x") == "results/downloads/small.tar"
    assert readable(settings, "sLM21.zip", "x") == "results/downloads/sLM21.zip"
    assert readable(settings, "grids.tgz", "x") == "results/unpacked/grids.tgz"
    assert tars(settings) == {name: f"results/downloads/{name}" for name in ("small.tar", "medium.tar")}
    assert roots(settings) == []
    assert audio_inputs(settings) == list(tars(settings).values())
    assert unpacked(settings) == {"grids.tgz": "results/downloads/grids.tgz"}
    assert missing(settings) == ["m.jsonl.gz", "small.tar", "medium.tar", "sLM21.zip", "grids.tgz"]
    _touch(Path("downloads/small.tar"))
    assert "small.tar" not in missing(settings)


def test_compressed_and_unpacked_archives():
    settings = _settings(corpus={"archives": ["small.tar"], "unpack": True})
    assert (tars(settings), roots(settings)) == ({}, ["results/unpacked/small.tar"])
    settings = _settings("librispeech", corpus={"archives": ["train-clean-100.tar.gz", "dev-clean.tar.gz"]})
    check_sources(settings)
    both = ["results/unpacked/train-clean-100.tar.gz", "results/unpacked/dev-clean.tar.gz"]
    assert tars(settings) == {}
    assert roots(settings) == audio_inputs(settings) == both
    assert list(unpacked(settings).values()) == [p.replace("unpacked", "downloads") for p in both]


def test_files_of_the_disk_are_inputs_themselves(tmp_path):
    _touch(tmp_path / "mine" / "small.tar", tmp_path / "mine" / "medium.tar.gz", tmp_path / "mine" / "sLM21" / "x")
    mine = str(tmp_path / "mine")
    settings = _settings(
        corpus={"archives": [f"{mine}/small.tar", f"{mine}/medium.tar.gz"]}, benchmarks={"slm21": f"{mine}/sLM21"}
    )
    check_sources(settings)
    assert tars(settings) == {"small.tar": f"{mine}/small.tar"}
    assert unpacked(settings) == {"medium.tar.gz": f"{mine}/medium.tar.gz"}
    assert roots(settings) == ["results/unpacked/medium.tar.gz"]
    assert readable(settings, f"{mine}/sLM21", "x") == f"{mine}/sLM21"
    assert missing(settings) == ["m.jsonl.gz"]
    (Path.cwd() / "here.jsonl.gz").touch()
    assert place(settings, "here.jsonl.gz", "x") == f"{Path.cwd()}/here.jsonl.gz"


def test_a_name_is_a_download_even_where_a_file_is_called_so():
    (Path.cwd() / "small.tar").touch()
    assert place(_settings(corpus={"archives": ["small.tar"]}), "small.tar", "x") == "results/downloads/small.tar"


def test_the_world_and_local_speech_wait_for_nothing(tmp_path):
    for settings in (_settings("world"), _settings("local", corpus={"path": str(tmp_path)})):
        check_sources(settings)
        assert (tars(settings), roots(settings), audio_inputs(settings), unpacked(settings)) == ({}, [], [], {})
        assert missing(settings) == []


@pytest.mark.parametrize("below", ["", "LibriSpeech/"])
@pytest.mark.parametrize("inside", [False, True], ids=["parent", "the folder itself"])
def test_librispeech_that_is_unpacked_already(tmp_path, below, inside):
    base = tmp_path / "data" / below
    for name in ("train-clean-100", "train-other-500", "dev-clean"):
        _touch(base / name / "1" / "2" / "1-2.trans.txt")
    source = str(base if inside else tmp_path / "data")
    named = _settings(
        "librispeech", corpus={"source": source, "archives": ["train-clean-100.tar.gz", "dev-clean.tar.gz"]}
    )
    check_sources(named)
    assert roots(named) == [str(base / "train-clean-100"), str(base / "dev-clean")]  # and no other subset
    assert audio_inputs(named) == missing(named) == []
    assert unpacked(named) == {}
    assert roots(_settings("librispeech", corpus={"source": source})) == [str(base)]  # all that is there
    one = _settings("librispeech", corpus={"source": str(base / "dev-clean")})
    assert roots(one) == [str(base / "dev-clean")]


def test_what_source_lacks_is_downloaded(tmp_path):
    _touch(tmp_path / "LibriSpeech/dev-clean/1/2/1-2.trans.txt")
    settings = _settings(
        "librispeech", corpus={"source": str(tmp_path), "archives": ["train-clean-100.tar.gz", "dev-clean.tar.gz"]}
    )
    assert roots(settings) == [str(tmp_path / "LibriSpeech/dev-clean"), "results/unpacked/train-clean-100.tar.gz"]
    assert missing(settings) == ["train-clean-100.tar.gz"]


def test_a_source_that_holds_archives(tmp_path):
    _touch(
        tmp_path / "train-clean-100.tar.gz", tmp_path / "sLM21.zip", tmp_path / "notes.tar.gz", tmp_path / "small.tar"
    )
    for corpus in ({"archives": ["train-clean-100.tar.gz"]}, {}):
        settings = _settings(
            "librispeech", corpus={"source": str(tmp_path)} | corpus, benchmarks={"slm21": "sLM21.zip"}
        )
        check_sources(settings)
        assert unpacked(settings) == {"train-clean-100.tar.gz": f"{tmp_path}/train-clean-100.tar.gz"}
        assert missing(settings) == []
    settings = _settings(corpus={"source": str(tmp_path)})
    assert tars(settings) == {"small.tar": f"{tmp_path}/small.tar"}


@pytest.mark.parametrize("below", ["", "librilight", "download/librilight"])
def test_libri_light_that_is_unpacked_already(tmp_path, below):
    _touch(tmp_path / below / "small" / "100" / "book" / "a.flac", tmp_path / "small.tar")
    for corpus in ({"archives": ["small.tar", "medium.tar"]}, {}):
        settings = _settings(corpus={"source": str(tmp_path)} | corpus)
        assert roots(settings) == [os.path.normpath(tmp_path / below)]
        assert list(tars(settings)) == (["medium.tar"] if corpus else [])
    settings = _settings(corpus={"source": str(tmp_path / below / "small"), "archives": ["small.tar"]})
    assert roots(settings) == [os.path.normpath(tmp_path / below)]


@pytest.mark.parametrize(
    ("sections", "parts"),
    [
        ({"corpus": {"archives": ["smal.tar"]}}, ["corpus.archives: smal.tar: no such", "did you mean 'small.tar'"]),
        ({"corpus": {"archives": ["small.tar"], "manifests": ["n.gz"]}}, ["corpus.manifests: n.gz: no such"]),
        ({"corpus": {"archives": ["m.jsonl.gz"]}}, ["corpus.archives: m.jsonl.gz is no archive", ".tar.gz"]),
        ({"corpus": {"source": "{tmp}/file"}}, ["corpus.source: ", "is no folder"]),
        ({"corpus": {"source": "{tmp}"}}, ["corpus.source: ", "holds no libriheavy", "small.tar"]),
        ({"corpus": {"archives": ["{tmp}/folder"]}}, ["is no archive", "corpus.source"]),
        ({"corpus": {"archives": ["small.tar", "{tmp}/folder/small.tar"]}}, ["small.tar and ", "have one file name"]),
        ({"benchmarks": {"slm21": "nowhere.zip"}}, ["benchmarks.slm21: nowhere.zip: no such"]),
        ({"benchmarks": {"storycloze": "m.jsonl.gz"}}, ["benchmarks.storycloze: m.jsonl.gz is neither a folder nor"]),
        (
            {"benchmarks": {"storycloze": "sLM21.zip", "storycloze_text": "t.csv"}},
            ["benchmarks.storycloze_text: t.csv: no such"],
        ),
        ({"alignment": {"aligner": "textgrids", "textgrids": "/nowhere"}}, ["alignment.textgrids: /nowhere: no such"]),
        ({"downloads": {"folder": "results/x"}}, ["downloads.folder: results/x lies in results"]),
        (
            {"files": {"small.tar": {"urls": ["ftp://u:geheim@x/y?geheim"]}}},
            ["downloads.files.small.tar.urls: ftp://x/y: ftp:// is not fetched; allowed: http, https, file"],
        ),
        (
            {"files": {"small.tar": {"urls": ["/no/a.tar", "file:///no/b"]}}},
            ["small.tar.urls: /no/a.tar, /no/b: no such"],
        ),
    ],
)
def test_a_mistake_is_named_before_a_job(tmp_path, sections, parts):
    _touch(tmp_path / "file", tmp_path / "folder" / "small.tar")
    sections = json.loads(json.dumps(sections).replace("{tmp}", str(tmp_path)))
    sections.setdefault("corpus", {"archives": ["small.tar"]})
    with pytest.raises(UserError) as error:
        check_sources(_settings(**sections))
    for part in parts:
        assert part in str(error.value)
    assert "geheim" not in str(error.value)


def test_a_mistake_that_is_none(tmp_path):
    _touch(tmp_path / "small.tar")
    check_sources(
        _settings(
            corpus={"archives": ["small.tar"]}, files={"small.tar": {"urls": ["/nowhere", str(tmp_path / "small.tar")]}}
        )
    )
    check_sources(_settings(corpus={"archives": ["small.tar"]}, files={"unused.tar": {"urls": ["ftp://x"]}}))
    settings = _settings(corpus={"archives": ["small.tar"]})
    check_room(missing(settings), settings.downloads)


def _content(**checks: object) -> str:
    return content(
        _settings(corpus={"archives": ["small.tar"]}, files={"small.tar": {"urls": [URL], **checks}}), "small.tar"
    )


def test_a_checksum_that_fits_changes_nothing_and_another_does(tmp_path):
    there = tmp_path / "there.tar"
    there.write_bytes(b"content")
    md5, sha = hashlib.md5(b"content").hexdigest(), hashlib.sha256(b"content").hexdigest()
    before = _content(sha256=sha)
    settings = load({"downloads": {"files": {"small.tar": {"urls": [str(there)], "sha256": sha}}}})
    fetch("small.tar", settings.downloads.files["small.tar"], settings.downloads)
    assert before == _content(sha256=sha) == _content() == _content(md5=md5.upper(), bytes=7)
    assert len({before, _content(md5="0" * 32), _content(bytes=8)}) == 3
    there.write_bytes(b"changed")
    assert _content() == "{}"


def test_only_names_fit_a_pattern():
    import re

    form = re.compile(places.pattern(["small.tar", "a+b.zip"]))
    assert [bool(form.fullmatch(n)) for n in ("small.tar", "a+b.zip", "smallxtar", "aab.zip", "")] == [1, 1, 0, 0, 0]
    assert not re.fullmatch(places.pattern([]), "")


SNAKEFILE = """
import os, sys
from pathlib import Path
HOME = Path({root!r})
sys.path.insert(0, str(HOME / "src"))
from speechladder.workflow.sources import audio_inputs, check_sources, tars
from speechladder.settings import load, untracked, version
from speechladder.workflow.inputs import Inputs
configfile: "config.yaml"
S = load(config)
check_sources(S)
inputs = Inputs(S, HOME)
ENV = HOME / "envs" / "base.yaml"
os.environ.update(untracked(S))
shell.prefix("set -euo pipefail; PATH={bin}:$PATH; export PYTHONPATH={root}/src SCRIPTS={root}/scripts; ")
rule all:
    input: audio_inputs(S), expand("results/corpus/index/{{tar}}.parquet", tar=tars(S)), "results/read"
rule read:
    input: "results/downloads/m.jsonl.gz"
    output: "results/read"
    shell: "cp {{input}} {{output}}"
include: HOME / "workflow/rules/downloads.smk"
"""


def _tar(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(f"{name}/1/a.flac")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def test_the_rules_fetch_once_whatever_snakemake_removes(tmp_path):
    www = tmp_path / "www"
    www.mkdir()
    (www / "small.tar").write_bytes(_tar(small=b"x" * 9000))
    (www / "medium.tar.gz").write_bytes(gzip.compress(_tar(medium=b"y" * 9000)))
    (www / "m.jsonl.gz").write_bytes(gzip.compress(b"{}"))
    Path("Snakefile").write_text(SNAKEFILE.format(root=str(ROOT), bin=Path(sys.executable).parent))
    corpus = {"name": "libriheavy", "manifests": ["m.jsonl.gz"], "archives": ["small.tar", "medium.tar.gz"]}

    def run(server: Server, *words: str, change: bool = False) -> str:
        files = {p.name: {"urls": [server.url(p.name, "user:geheim@")]} for p in www.iterdir()}
        if change:  # another address, and a checksum that was not asked for before
            for name, file in files.items():
                file |= {"urls": [URL + name], "md5": hashlib.md5((www / name).read_bytes()).hexdigest()}
        config = {"corpus": corpus, "alignment": {"aligner": "pocketsphinx"}, "downloads": {"files": files}}
        Path("config.yaml").write_text(yaml.safe_dump(config))
        command = [str(Path(sys.executable).parent / "snakemake"), "--cores", "2", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr[-3000:]
        assert "geheim" not in done.stdout + done.stderr
        return done.stdout + done.stderr

    with Server(www) as server:
        run(server)
        assert len(server.requests) == 3
        assert Path("results/unpacked/medium.tar.gz/medium/1/a.flac").read_bytes() == b"y" * 9000
        assert Path("results/corpus/index/small.tar.parquet").is_file()
        assert (Path("results/downloads/small.tar").readlink(), Path("downloads/small.tar").is_symlink()) == (
            Path("../../downloads/small.tar"),
            False,
        )
        out = run(server, "--forceall", change=True)
        assert out.count("is there, ") == 3
        assert "is unpacked already" in out
        assert len(server.requests) == 3
