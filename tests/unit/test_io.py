"""Artefacts exist whole or not at all, and a broken one is named."""

import gzip
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from speechladder.command import script
from speechladder.io.audio import AudioError, encode_flac, frame_count, read_audio
from speechladder.io.errors import UserError
from speechladder.io.files import atomic, atomic_folder, read_json, read_jsonl, write_jsonl
from speechladder.io.hashing import share, stable_hash
from speechladder.io.processes import RUNNER
from speechladder.io.rejects import Rejects
from speechladder.io.tables import UNITS, read_table, write_table


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_failed_folder_leaves_the_old_folder(tmp_path):
    with atomic_folder(tmp_path / "f") as temporary:
        (temporary / "x").write_text("1")
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "f") as temporary:
        (temporary / "y").write_text("2")
        raise RuntimeError
    assert [p.name for p in (tmp_path / "f").iterdir()] == ["x"]
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_folder_replaces_an_empty_and_an_old_one_at_once(tmp_path, monkeypatch):
    """A job of Snakemake finds the folder of its declared file empty, or with the rest of an earlier output."""
    path, moments = tmp_path / "f", []
    remove = shutil.rmtree

    def watched(folder, **how):
        moments.append(sorted(p.name for p in path.iterdir()))  # while something is removed, the new folder is there
        remove(folder, **how)

    monkeypatch.setattr("shutil.rmtree", watched)
    for old in ([], ["x", "y"]):
        path.mkdir(exist_ok=True)
        for name in old:
            (path / name).write_text("old")
        with atomic_folder(path) as temporary:
            (temporary / "x").write_text("new")
        assert [(p.name, p.read_text()) for p in path.iterdir()] == [("x", "new")]
        assert [p.name for p in tmp_path.iterdir()] == ["f"]
    assert {tuple(names) for names in moments} == {("x",)}


def test_gzipped_lines_are_the_same_bytes_every_time(tmp_path):
    rows = [{"a": 1}, {"b": "ü"}]
    for name in ("one.jsonl.gz", "two.jsonl.gz"):
        write_jsonl(tmp_path / name, rows)
    assert (tmp_path / "one.jsonl.gz").read_bytes() == (tmp_path / "two.jsonl.gz").read_bytes()
    assert list(read_jsonl(tmp_path / "one.jsonl.gz")) == rows


@pytest.mark.parametrize(
    "content",
    [b'{"a": 1}\n{"b"', gzip.compress(b'{"a": 1}\n' * 999, mtime=0)[:-20]],
    # pytest would name a case by its bytes, but xdist needs equal names in every worker.
    ids=["half a line", "cut gzip"],
)
def test_a_broken_line_is_named(tmp_path, content):
    path = tmp_path / ("x.jsonl.gz" if content[:2] == b"\x1f\x8b" else "x.jsonl")
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"x\.jsonl.*line \d+"):
        list(read_jsonl(path))


def test_broken_json_and_missing_files_are_named(tmp_path):
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(UserError, match=r"x\.json: not JSON"):
        read_json(tmp_path / "x.json")
    with pytest.raises(UserError, match=r"y\.json: no such file"):
        read_json(tmp_path / "y.json")


def test_tables_are_checked_against_their_schema(tmp_path):
    write_table(tmp_path / "t.parquet", [{"id": "a", "units": [1, 65535]}], UNITS)
    assert read_table(tmp_path / "t.parquet", UNITS).to_pylist() == [{"id": "a", "units": [1, 65535]}]
    with pytest.raises(UserError, match="column 'other' is missing"):
        read_table(tmp_path / "t.parquet", pa.schema([("other", pa.string())]))
    with pytest.raises(UserError, match="column 'id' is string, expected int32"):
        read_table(tmp_path / "t.parquet", pa.schema([("id", pa.int32())]))
    (tmp_path / "t.parquet").write_bytes(b"PAR1 broken")
    with pytest.raises(UserError, match=r"t\.parquet: not a readable Parquet file"):
        read_table(tmp_path / "t.parquet", UNITS)


def test_frames_are_huberts(tmp_path):
    assert [frame_count(n) for n in (0, 399, 400, 719, 720, 160_000)] == [0, 0, 1, 1, 2, 499]


def test_audio_windows_are_read_by_offset():
    ramp = np.linspace(-0.5, 0.5, 32_000, dtype=np.float32)
    window = read_audio(encode_flac(ramp), start=0.5, duration=0.25)
    np.testing.assert_allclose(window, ramp[8_000:12_000], atol=1e-4)


@pytest.mark.parametrize("source", [b"no audio", "/nowhere.flac"])
def test_unreadable_audio_has_its_reason(source):
    with pytest.raises(AudioError, match="unreadable"):
        read_audio(source)
    with pytest.raises(AudioError, match="no samples"):
        read_audio(encode_flac(np.zeros(100, np.float32)), start=1.0)


def test_rejects_over_the_share_fail_and_are_listed(tmp_path, capsys):
    rejects = Rejects()
    rejects.add("a", "silent", "a.flac")
    rejects.write(tmp_path / "r.jsonl", total=10, max_share=0.1)
    assert list(read_jsonl(tmp_path / "r.jsonl")) == [{"id": "a", "reason": "silent", "source": "a.flac"}]
    with pytest.raises(UserError, match="1 of 9"):
        rejects.write(tmp_path / "r.jsonl", total=9, max_share=0.1)
    assert '"reason": "silent"' in capsys.readouterr().err


def test_hashes_are_the_same_in_every_process():
    code = "from speechladder.io.hashing import stable_hash; print(stable_hash('a', 1))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(out) == stable_hash("a", 1) != stable_hash("a1")
    assert 0 <= share("x") < 1


def test_remains_of_killed_writers_are_removed_and_nothing_else(tmp_path):
    for name in (".tmp-77-a.txt", ".tmp-77-b-a.txt", ".tmp-77-a.txt2"):
        (tmp_path / name).touch()
    for name in (".tmp-f-x1_z", ".tmp-f-g-x1_z"):  # the second belongs to f-g
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").touch()
    with atomic(tmp_path / "a.txt") as temporary:
        temporary.touch()
    with atomic_folder(tmp_path / "f"):
        pass
    left = sorted(p.name for p in tmp_path.iterdir())
    assert left == [".tmp-77-a.txt2", ".tmp-77-b-a.txt", ".tmp-f-g-x1_z", "a.txt", "f"]


def test_a_script_says_what_it_used_in_a_job_or_if_its_memory_is_large(capsys, monkeypatch):
    monkeypatch.setattr("speechladder.command.die_with_runner", lambda: None)
    said = "used 3.00 CPU seconds, peak memory {} MB\n"
    for runner, mb, line in ((None, 512, said), (None, 1, ""), ("host:1", 1, said)):
        found = SimpleNamespace(ru_maxrss=mb * 1024, ru_utime=1.0, ru_stime=0.5)
        monkeypatch.setattr("resource.getrusage", lambda who, found=found: found)
        monkeypatch.setenv(RUNNER, runner) if runner else monkeypatch.delenv(RUNNER, raising=False)
        script(lambda: None)()
        assert capsys.readouterr().err == line.format(mb)


def test_files_and_folders_are_readable_as_the_umask_says(tmp_path):
    # on a cluster a group shares a run, but mkdtemp and safetensors create files for the owner alone
    code = (
        "import os; os.umask(0o027)\n"
        "from speechladder.io.files import atomic, atomic_folder\n"
        "from safetensors.numpy import save_file\n"
        "import numpy as np\n"
        "with atomic('a.safetensors') as path: save_file({'x': np.zeros(1)}, path)\n"
        "with atomic_folder('folder') as path: save_file({'x': np.zeros(1)}, path / 'a.safetensors')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in ("a.safetensors", "folder")}
    assert modes == {"a.safetensors": 0o640, "folder": 0o750}
    assert (tmp_path / "folder" / "a.safetensors").stat().st_mode & 0o777 == 0o640
