"""Nothing is written outside the folder, nothing is left half written, and every member left out is listed."""

import bz2
import gzip
import io
import lzma
import os
import random
import struct
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechladder.fetch import archives, disk, members
from speechladder.fetch.archives import index_archive, index_tar, open_store, unpack, unpack_once
from speechladder.fetch.members import TakenNames, checked_name, printable
from speechladder.io import audio
from speechladder.io.audio import AudioError, audio_info, encode_flac, member_path, read_audio
from speechladder.io.errors import UserError
from speechladder.io.files import read_jsonl
from speechladder.io.tables import INDEX, read_table

ROOT = Path(__file__).resolve().parents[2]
GOOD = {"./small/1/a.flac": b"first " * 1000, "small/1/b.json": b"{}", "small/2/empty.flac": b""}
PACKERS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def _tar(files: dict[str, bytes], special: dict[str, bytes] | None = None, form: int = tarfile.GNU_FORMAT) -> bytes:
    """A tar of files, then of members of another type, all with mode 06777."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o6777
            tar.addfile(info, io.BytesIO(content))
        for name, kind in (special or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.mode = kind, "/etc/passwd", 0o6777
            tar.addfile(info)
    return buffer.getvalue()


def _unpack(tmp_path: Path, content: bytes, name: str = "x.tar") -> tuple[dict[str, bytes], dict[str, str]]:
    """The files of the folder, and the rejects with their reasons; checks that nothing else was written."""
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    (work / name).write_bytes(content)
    unpack(work / name, work / "out", work / "rejected.jsonl")
    assert sorted(p.name for p in work.iterdir()) == ["out", "rejected.jsonl", name] or name < "out"
    files = {p.relative_to(work / "out").as_posix(): p for p in (work / "out").rglob("*") if not p.is_dir()}
    for path in (work / "out").rglob("*"):
        assert not path.is_symlink()
        assert path.stat().st_mode & 0o7022 == 0
        assert path.stat().st_mode & 0o400
    rejected = {row["id"]: row["reason"] for row in read_jsonl(work / "rejected.jsonl")}
    assert all(row["source"].endswith(name) for row in read_jsonl(work / "rejected.jsonl"))
    return {key: path.read_bytes() for key, path in files.items()}, rejected


def _expected(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name.removeprefix("./"): content for name, content in files.items()}


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["gnu", "pax"])
def test_tars_of_every_kind_are_unpacked(tmp_path, suffix, form):
    files = GOOD | {f"small/{'deep/' * 40}ü{'x' * 150}.flac": b"long"}
    found, rejected = _unpack(tmp_path, PACKERS[suffix](_tar(files, form=form)), f"x.tar{suffix}")
    assert found == _expected(files)
    assert rejected == {}


HOSTILE = {
    "../outside.txt": "leaves the folder",
    "small/../../outside.txt": "leaves the folder",
    "/tmp/speechladder-outside.txt": "absolute path",
    "//tmp/speechladder-outside.txt": "absolute path",
    "C:/outside.txt": "a Windows path",
    "..\\outside.txt": "leaves the folder",
    "small/new\nline": "control characters in its name",
    "small/1/B.json": "name differs from another only in case",
    "small/1/a.flac/inside": "both a file and a folder",
    "small/1": "both a file and a folder",
    "__MACOSX/small/1/c": "a macOS metadata file",
    "small/1/._a.flac": "a macOS metadata file",
    f"small/{'y' * 256}": "name too long",
}
SPECIAL = {
    "small/link": (tarfile.SYMTYPE, "a symbolic link"),
    "small/hard": (tarfile.LNKTYPE, "a hard link"),
    "small/null": (tarfile.CHRTYPE, "a device"),
    "small/disk": (tarfile.BLKTYPE, "a device"),
    "small/pipe": (tarfile.FIFOTYPE, "a pipe"),
    "small/odd": (b"Q", "of the unknown type b'Q'"),
}


def test_hostile_members_are_listed_and_not_written(tmp_path, capsys):
    content = _tar(GOOD | dict.fromkeys(HOSTILE, b"no"), {name: kind for name, (kind, _) in SPECIAL.items()})
    found, rejected = _unpack(tmp_path, content)
    assert found == _expected(GOOD)
    assert rejected == {printable(name): reason for name, reason in HOSTILE.items()} | {
        n: r for n, (_, r) in SPECIAL.items()
    }
    assert not (tmp_path / "outside.txt").exists()
    assert not Path("/tmp/speechladder-outside.txt").exists()
    assert f"{len(rejected)} left out (../outside.txt: leaves the folder, ...), see" in capsys.readouterr().err


def test_a_file_with_holes_is_not_filled(tmp_path):
    info = tarfile.TarInfo("huge")
    info.size = 512
    raw = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    raw[156:157] = b"S"
    raw[386:410] = b"%011o\0%011o\0" % (0, 512)  # one piece of 512 bytes, of a file of 8 GB
    raw[483:495] = b"%011o\0" % ((1 << 33) - 1)
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    found, rejected = _unpack(tmp_path, bytes(raw) + b"x" * 512 + _tar({"a": b"1"}))
    assert found == {"a": b"1"}
    assert rejected == {"huge": "a sparse file"}


def test_a_link_does_not_lead_a_later_member_outside(tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        link = tarfile.TarInfo("small")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        tar.addfile(link)
        info = tarfile.TarInfo("small/outside.txt")
        info.size = 2
        tar.addfile(info, io.BytesIO(b"no"))
    found, rejected = _unpack(tmp_path, buffer.getvalue())
    assert found == {"small/outside.txt": b"no"}  # within the folder, since the link was not made
    assert rejected == {"small": "a symbolic link"}
    assert not (tmp_path / "outside.txt").exists()


def test_the_first_of_two_of_a_name_is_kept(tmp_path):
    found, rejected = _unpack(tmp_path, _tar({"a": b"1"})[:1024] + _tar({"./a": b"2", "b": b"3"}))
    assert found == {"a": b"1", "b": b"3"}
    assert rejected == {"a": "duplicate name, the first is kept"}


def test_names_that_are_not_utf8_are_listed(tmp_path):
    content = _tar({"aXb": b"1", "good": b"2"})
    header = bytearray(content[:512])
    header[1] = 0xFF
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    found, rejected = _unpack(tmp_path, bytes(header) + content[512:])
    assert found == {"good": b"2"}
    assert rejected == {"a\\udcffb": "name is not UTF-8"}


@given(st.text(st.characters(codec="utf-8"), max_size=30) | st.from_regex(r"[./\\:a\x00~C]{1,12}", fullmatch=True))
def test_no_name_that_is_taken_leaves_the_folder(name):
    clean, reason = checked_name(name)
    if not reason and clean:
        path = os.path.normpath(f"/inside/{clean}")
        assert path == f"/inside/{clean}"
        assert path.startswith("/inside/")


def test_case_and_composition_are_the_same_name():
    taken = TakenNames()
    assert [taken.add(n) for n in ("a/é", "b/x")] == ["", ""]
    assert "case" in taken.add("A/e\u0301")
    assert taken.add("b") == taken.add("B/X/y") == "both a file and a folder"


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
def test_a_truncated_tar_is_named_with_the_fix(tmp_path, suffix, share):
    files = {f"{n}.flac": random.Random(n).randbytes(3000) for n in range(4)}
    whole = PACKERS[suffix](_tar(files))
    content = whole[: int(share * 13_000 if not suffix else share * len(whole))]
    with pytest.raises(
        UserError,
        match=rf"x\.tar{suffix}: cannot be used: .*Replace it with a whole copy.*delete .*fetched again; an md5",
    ) as error:
        _unpack(tmp_path, content, f"x.tar{suffix}")
    assert str((tmp_path / "work" / f"x.tar{suffix}").resolve()) in str(error.value)
    assert [p.name for p in (tmp_path / "work").iterdir()] == [f"x.tar{suffix}"]


@pytest.mark.parametrize("suffix", PACKERS)
def test_the_member_that_is_cut_off_is_named(tmp_path, suffix):
    size = 2_000_000 if suffix == ".bz2" else 300_000  # bzip2 packs 900 kB together, and gives no part of them
    files = {f"{n}.flac": random.Random(n).randbytes(size) for n in range(3)}
    content = PACKERS[suffix](_tar(files))
    with pytest.raises(UserError, match=r"cannot be used: cut off in 1\.flac\. Replace"):
        _unpack(tmp_path, content[: len(content) // 2], f"x.tar{suffix}")


def test_damage_is_found(tmp_path):
    whole = _tar({f"{n}.flac": random.Random(n).randbytes(3000) for n in range(4)})
    header = bytearray(whole)
    header[3584 + 5] ^= 1  # of the second member
    packed = bytearray(gzip.compress(whole))
    packed[-20] ^= 1
    sums = bytearray(gzip.compress(whole))
    sums[-6] ^= 1
    for content in (
        bytes(header),
        bytes(packed),
        bytes(sums),
        b"no archive at all" * 100,
        b"",
        b"\x28\xb5\x2f\xfdzstd",
    ):
        with pytest.raises(UserError, match="cannot be used"):
            _unpack(tmp_path, content)
        assert [p.name for p in (tmp_path / "work").iterdir()] == ["x.tar"]


def _header(**fields: object) -> bytes:
    """A GNU header with any size."""
    info = tarfile.TarInfo("x")
    raw = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    raw[156:157] = fields.get("type", b"0")
    raw[124:136] = struct.pack(">4sq", b"\xff\xff\xff\xff" if fields["size"] < 0 else b"\x80\0\0\0", fields["size"])
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


@pytest.mark.parametrize(
    "content",
    [
        _header(size=-512),
        _header(size=-512, type=b"L"),
        _header(size=1 << 40, type=b"L"),
        _header(size=1 << 40, type=b"x"),
    ],
    ids=["negative", "negative name", "endless name", "endless pax header"],
)
def test_false_sizes_in_a_header(tmp_path, content):
    with pytest.raises(UserError, match="cannot be used"):
        _unpack(tmp_path, content + bytes(10_240))
    with pytest.raises(UserError, match="cannot be used"):
        index_tar(tmp_path / "work" / "x.tar")
    with pytest.raises(UserError, match="cannot be used"):
        _unpack(tmp_path, _tar({"a": b"1"})[:1024] + content + bytes(10_240))
    table, rejects = index_tar(tmp_path / "work" / "x.tar")  # the member before it is whole
    assert table["member"].to_pylist() == ["a"]
    assert [r["id"] for r in rejects.rows] == ["(the end of the archive)"]


def test_a_bomb_and_a_full_disk_leave_nothing(tmp_path, monkeypatch):
    zeros = {"zeros.wav": bytes(1_000_000)}
    monkeypatch.setattr(members, "SMALL", 100_000)
    for content, name in ((gzip.compress(_tar(zeros)), "x.tar.gz"), (_zip(zeros), "x.zip")):
        with pytest.raises(UserError, match="more than 200 times its size"):
            _unpack(tmp_path, content, name)
        assert [p.name for p in (tmp_path / "work").iterdir()] == [name]
        (tmp_path / "work" / name).unlink()
    monkeypatch.undo()
    noise = {"noise.wav": random.Random(0).randbytes(50_000)}
    real = Path.open

    def full(path, mode="r", *args, **kwargs):
        if mode == "xb":
            raise OSError(28, "No space left on device")
        return real(path, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(UserError, match="the disk is full while it is unpacked; nothing is left"):
        _unpack(tmp_path, _tar(noise))
    monkeypatch.undo()
    assert [p.name for p in (tmp_path / "work").iterdir()] == ["x.tar"]
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 40_000}))
    for content, name in ((_tar(noise), "x.tar"), (_zip(noise), "x.zip")):
        with pytest.raises(UserError, match=rf"needs \d+\.\d kB for unpacking {name}, has 40\.0 kB"):
            _unpack(tmp_path, content, name)


def _zip(files: dict[str, bytes], modes: dict[str, int] | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type, info.create_system = zipfile.ZIP_DEFLATED, 3
            info.external_attr = (modes or {}).get(name, 0o106777) << 16
            archive.writestr(info, content)
    return buffer.getvalue()


ZIP_HOSTILE = {name: reason for name, reason in HOSTILE.items() if name != "small/1"}


def test_zips_are_checked_as_tars_are(tmp_path):
    modes = {"small/link": 0o120777, "small/null": 0o020666}
    files = GOOD | {"small/folder/": b""} | dict.fromkeys(ZIP_HOSTILE, b"no") | dict.fromkeys(modes, b"/etc/passwd")
    content = bytearray(_zip(files | {"small/locked.wav": b"secret"}, modes))
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the bit for encryption
        content[content.rfind(signature) + at] |= 1
    found, rejected = _unpack(tmp_path, bytes(content), "x.zip")
    assert found == _expected(GOOD)
    assert rejected == {printable(name): reason for name, reason in ZIP_HOSTILE.items()} | {
        "small/link": "a symbolic link",
        "small/null": "a device, pipe or socket",
        "small/locked.wav": "encrypted",
    }


def test_a_broken_zip_is_named(tmp_path):
    whole = _zip({"a.wav": random.Random(0).randbytes(5000)})
    damaged = bytearray(whole)
    damaged[1000] ^= 1
    for content in (whole[:3000], bytes(damaged)):
        with pytest.raises(UserError, match=r"x\.zip: cannot be used: (File is not a zip|Bad CRC|Error -3)"):
            _unpack(tmp_path, content, "x.zip")
        assert [p.name for p in (tmp_path / "work").iterdir()] == ["x.zip"]


def test_an_archive_without_a_file_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"holds no file that could be unpacked; 1 left out \(\.\./a: leaves"):
        _unpack(tmp_path, _tar({"../a": b"1"}))
    with pytest.raises(UserError, match=r"nowhere\.tar: No such file or directory; name one"):
        unpack(tmp_path / "nowhere.tar", tmp_path / "out", tmp_path / "r")


def test_a_folder_is_unpacked_once_and_linked(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("x.tar").write_bytes(_tar(GOOD | {"../a": b"1"}))
    real, calls = archives.unpack, []
    monkeypatch.setattr(archives, "unpack", lambda *args: (calls.append(1), real(*args)))
    kept, out, rejected = Path("kept/x.tar"), Path("results/unpacked/x.tar"), Path("results/unpacked/rejected.jsonl")
    threads = [threading.Thread(target=unpack_once, args=("x.tar", kept, out, rejected)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert out.readlink() == Path("../../kept/x.tar")
    assert (out / "small/1/b.json").read_bytes() == b"{}"
    out.unlink()  # as Snakemake does before a job
    rejected.unlink()
    unpack_once("x.tar", kept, out, rejected)
    assert len(calls) == 1
    assert [row["id"] for row in read_jsonl(rejected)] == ["../a"]
    Path("x.tar").write_bytes(_tar({"other": b"1"}))
    unpack_once("x.tar", kept, out, rejected)
    assert [p.name for p in out.iterdir()] == ["other"]
    assert "is unpacked already" in capsys.readouterr().err


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["gnu", "pax"])
def test_members_are_read_where_the_index_says(tmp_path, form):
    files = GOOD | {f"small/{'deep/' * 40}{'x' * 150}.flac": b"long"}
    hostile = {name: b"no" for name in HOSTILE if "case" not in HOSTILE[name] and "both" not in HOSTILE[name]}
    content = _tar(files | hostile, {"small/link": tarfile.SYMTYPE, "small/folder": tarfile.DIRTYPE}, form)
    (tmp_path / "x.tar").write_bytes(content)
    index_archive(tmp_path / "x.tar", tmp_path / "x.parquet", tmp_path / "rejected.jsonl")
    rows = read_table(tmp_path / "x.parquet", INDEX).to_pylist()
    assert {r["member"]: content[r["offset"] :][: r["size"]] for r in rows} == _expected(files)
    rejected = {r["id"] for r in read_jsonl(tmp_path / "rejected.jsonl")}
    assert rejected == {printable(name) for name in hostile} | {"small/link"}


def test_of_a_tar_that_is_cut_off_the_whole_members_are_indexed(tmp_path):
    files = {f"{n}.flac": random.Random(n).randbytes(3000) for n in range(4)}
    whole = _tar(files)
    for end, names, last in (
        (8000, 2, "2.flac"),
        (3584 * 2 + 100, 2, ""),
        (3584 * 2, 2, ""),
        (len(whole) - 5, 4, None),
    ):
        (tmp_path / "x.tar").write_bytes(whole[:end])
        table, rejects = index_tar(tmp_path / "x.tar")
        assert table["member"].to_pylist() == list(files)[:names]
        expected = (
            [] if last is None else ["(the end of the archive)"] if not last else [last, "(the end of the archive)"]
        )
        assert [r["id"] for r in rejects.rows] == expected
        assert all("cut off" in r["reason"] or "end of data" in r["reason"] for r in rejects.rows)
    for content in (whole[:300], b"x" * 2000, b""):
        (tmp_path / "x.tar").write_bytes(content)
        with pytest.raises(UserError, match=r"x\.tar: cannot be used"):
            index_tar(tmp_path / "x.tar")
    (tmp_path / "x.tar").write_bytes(gzip.compress(whole))
    with pytest.raises(UserError, match=r"is compressed.*call it x\.tar\.gz"):
        index_tar(tmp_path / "x.tar")


def test_many_members_take_little_memory(tmp_path):
    """A tar of 20,000 members (20 GB, sparse on disk) takes some tens of MB, and its contents are not read."""
    path, size, count = tmp_path / "x.tar", 1_000_000, 20_000
    step = 512 + (size + 511) // 512 * 512
    with path.open("wb") as file:
        info = tarfile.TarInfo()
        info.size = size
        for n in range(count):
            info.name = f"large/{n % 999}/some_book_{n}_librivox_64kb_mp3/chapter_{n}_64kb.flac"
            file.seek(n * step)
            file.write(info.tobuf(tarfile.GNU_FORMAT))
        file.truncate(count * step + 10_240)
    code = (
        "import resource, sys; from speechladder.fetch.archives import index_tar\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "table, rejects = index_tar(sys.argv[1])\n"
        "after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(table.num_rows, len(rejects.rows), (after - before) // 1024)"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, env=env, timeout=120)
    rows, rejects, megabytes = map(int, done.stdout.split())
    assert (rows, rejects) == (count, 0)
    assert megabytes < 40


def _stores(tmp_path: Path) -> list[Path]:
    for name, content in _expected(GOOD).items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(content)
    (tmp_path / "folder" / "again").symlink_to(tmp_path / "folder")
    (tmp_path / "x.zip").write_bytes(_zip(GOOD | {"../a": b"1"}))
    (tmp_path / "x.tar").write_bytes(_tar(GOOD | {"../a": b"1"}))
    return [tmp_path / "folder", tmp_path / "x.zip", tmp_path / "x.tar"]


def test_a_store_is_the_same_over_a_folder_a_zip_and_a_tar(tmp_path):
    for path in _stores(tmp_path):
        with open_store(path) as store:
            assert store.names() == sorted(_expected(GOOD))
            assert {name: store.read(name) for name in store.names()} == _expected(GOOD)
            assert [r["id"] for r in store.rejects.rows] == ([] if path.is_dir() else ["../a"])
            with pytest.raises(KeyError):
                store.read("../a")


def test_a_store_that_is_none_or_broken_is_named(tmp_path):
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(_tar(GOOD)))
    for name, message in (("x.tar.gz", "is compressed"), ("nowhere", "No such file")):
        with pytest.raises(UserError, match=message):
            open_store(tmp_path / name)
    damaged = bytearray(_zip({"a.wav": random.Random(0).randbytes(5000)}))
    damaged[1000] ^= 1
    (tmp_path / "x.zip").write_bytes(damaged)
    with open_store(tmp_path / "x.zip") as store, pytest.raises(UserError, match=r"x\.zip: a\.wav cannot be read"):
        store.read("a.wav")


RAMP = np.linspace(-0.5, 0.5, 16_000 * 60, dtype=np.float32)


def test_audio_is_read_where_it_lies_in_a_tar(tmp_path, monkeypatch):
    noise = (np.random.default_rng(0).standard_normal(16_000 * 60) * 0.1).astype(np.float32)
    flac = encode_flac(noise)
    (tmp_path / "x.tar").write_bytes(_tar({"before": b"x" * 700, "small/a.flac": flac, "after": b"y" * 700}))
    row = next(r for r in index_tar(tmp_path / "x.tar")[0].to_pylist() if r["member"] == "small/a.flac")
    path = member_path(tmp_path / "x.tar", row["offset"], row["size"])
    read = [0]
    real = audio._Window.readinto
    monkeypatch.setattr(
        audio._Window, "readinto", lambda self, b: (n := real(self, b), read.__setitem__(0, read[0] + n))[0]
    )
    window = read_audio(path, start=30.0, duration=1.5)
    np.testing.assert_array_equal(window, read_audio(flac, start=30.0, duration=1.5))
    np.testing.assert_allclose(window, noise[480_000:504_000], atol=1e-4)
    assert read[0] < len(flac) / 4  # by offset, never the whole file
    (tmp_path / "a.flac").write_bytes(flac)
    assert (
        audio_info(path) == audio_info(tmp_path / "a.flac") == audio_info(flac) == (len(noise), 16_000, 1, len(noise))
    )
    np.testing.assert_array_equal(read_audio(path), read_audio(tmp_path / "a.flac"))


def test_a_window_of_a_tar_that_holds_no_audio_has_its_reason(tmp_path):
    flac = encode_flac(RAMP)
    (tmp_path / "x.tar").write_bytes(_tar({"a.flac": flac}))
    cut = member_path(tmp_path / "x.tar", 512, len(flac) // 2)
    with pytest.raises(AudioError, match=r"truncated audio: nothing at 59\.00 s of 60\.00 s"):
        read_audio(cut, 59.0, 0.5)
    for source in ("x.tar#600+9000", "x.tar#99999999+10", "nowhere.tar#512+9000"):
        for read in (read_audio, audio_info):
            with pytest.raises(AudioError, match=r"unreadable audio: .*tar"):
                read(tmp_path / source)
    (tmp_path / "x#1+2").write_bytes(flac)  # a file with such a name
    assert audio_info(tmp_path / "x#1+2") == (len(RAMP), 16_000, 1, len(RAMP))
    with pytest.raises(AudioError, match="unreadable"):
        audio_info(b"no audio")


@pytest.mark.shared
def test_genuine_speech_is_read_from_a_tar(shared_data, tmp_path):
    files = sorted((shared_data / "librispeech").rglob("*.flac"))[:5]
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for file in files:
            tar.add(file, file.name)
    for row in index_tar(tmp_path / "x.tar")[0].to_pylist():
        file = next(f for f in files if f.name == row["member"])
        path = member_path(tmp_path / "x.tar", row["offset"], row["size"])
        np.testing.assert_array_equal(read_audio(path, 0.5, 1.0), read_audio(file, 0.5, 1.0))
        assert audio_info(path) == audio_info(file)
