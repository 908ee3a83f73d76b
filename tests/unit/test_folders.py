"""Folders of speech as people make them."""

import io
import json
import os
import string
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechladder.corpora.cuts import Cut, read_cuts
from speechladder.corpora.folders import speech_digest, speech_files
from speechladder.corpora.local import build_local_shard, scan_folder
from speechladder.fetch.archives import open_store, unpack
from speechladder.io.audio import encode_flac
from speechladder.io.errors import UserError
from speechladder.io.files import files_below
from speechladder.settings import Corpus

FLAC = encode_flac((0.3 * np.sin(np.arange(8_000) / 12)).astype(np.float32))


def _speech(folder: Path, *names: str, transcript: str = "t") -> None:
    """Files of half a second with a line each in a transcript."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}.flac").write_bytes(FLAC)
    (folder / f"{transcript}.trans.txt").write_text("".join(f"{name} HELLO {_letters(name)}\n" for name in names))


def _letters(name: str) -> str:
    return "".join(letter for letter in name.upper() if letter in string.ascii_uppercase)


def _build(root: Path, out: Path, **settings) -> tuple[list[Cut], dict[str, str]]:
    corpus = Corpus(name="local", path=str(root), shards=1, max_rejected=1.0, **settings)
    build_local_shard(corpus, 0, out / "cuts.gz", out / "rejected.jsonl")
    rows = [json.loads(line) for line in (out / "rejected.jsonl").read_text().splitlines()]
    return list(read_cuts(out / "cuts.gz")), {row["id"]: row["reason"] for row in rows}


LEFT_ALONE = (
    "._a.flac",
    "._t.trans.txt",
    ".DS_Store",
    ".hidden.wav",
    "__MACOSX/s/c/a.flac",
    ".ipynb_checkpoints/a.flac",
)


def test_hidden_files_are_left_alone(tmp_path):
    root = tmp_path / ".data" / "corpus"  # the root itself may be hidden
    _speech(root / "s" / "c", "a", "b", "d")
    plain = speech_digest(root)
    for name in (*LEFT_ALONE, "@eaDir/a.flac"):
        path = root / "s" / "c" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        ")
    cuts, rejected = _build(root, tmp_path / "out")
    assert {cut.id for cut in cuts} == {"a", "b", "d"}
    assert rejected == {}
    assert speech_digest(root) == plain


@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_hidden_members_are_left_alone_in_archives(tmp_path, kind):
    files = {f"s/c/{name}": b"no" for name in LEFT_ALONE} | {"s/c/a.TextGrid": b"yes", "__MACOSX/._s": b"no"}
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        unpack(tmp_path / "x.zip", tmp_path / "out", tmp_path / "rejected.jsonl")
        assert files_below(tmp_path / "out") == [tmp_path / "out" / "s" / "c" / "a.TextGrid"]
    else:
        for name, content in files.items():
            (tmp_path / "x.folder" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "x.folder" / name).write_bytes(content)
    with open_store(tmp_path / f"x.{kind}") as store:
        assert store.names() == ["s/c/a.TextGrid"]


def _zip(path: Path, names: list[str]) -> Path:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            info = zipfile.ZipInfo("x")
            info.filename, info.create_system = name, 0
            archive.writestr(info, b"" if name.endswith("\\") else name.encode())
    path.write_bytes(buffer.getvalue())
    return path


def test_zips_with_backslashes_are_read(tmp_path):
    names = ["tg\\", "tg\\s1\\", "tg\\s1\\a.TextGrid", "tg\\s2\\b.TextGrid", "..\\outside", "C:\\x", "\\\\server\\x"]
    path = _zip(tmp_path / "x.zip", names)
    with open_store(path) as store:
        assert store.names() == ["tg/s1/a.TextGrid", "tg/s2/b.TextGrid"]
        assert store.read("tg/s2/b.TextGrid") == b"tg\\s2\\b.TextGrid"
        assert [row["reason"] for row in store.rejects.rows] == ["leaves the folder", "a Windows path", "absolute path"]
    unpack(path, tmp_path / "out", tmp_path / "rejected.jsonl")
    assert [p.relative_to(tmp_path / "out").as_posix() for p in files_below(tmp_path / "out")] == [
        *("tg/s1/a.TextGrid", "tg/s2/b.TextGrid")
    ]


def test_a_folder_that_was_unpacked_with_backslashes_in_its_names_is_read(tmp_path):
    (tmp_path / "tg\\s1\\a.TextGrid").write_bytes(b"yes")
    with open_store(tmp_path) as store:
        assert (store.names(), store.read("tg/s1/a.TextGrid")) == (["tg/s1/a.TextGrid"], b"yes")


def test_equal_names_of_several_speakers_are_all_kept(tmp_path, capsys):
    for speaker in ("s1", "s2", "s3"):
        _speech(tmp_path / "corpus" / speaker / "c", "001", "002")
    _speech(tmp_path / "corpus" / "s3" / "d", "001", "only")
    cuts, rejected = _build(tmp_path / "corpus", tmp_path / "out")
    assert {cut.id for cut in cuts} == {f"s{n}/c/{name}" for n in (1, 2, 3) for name in ("001", "002")} | {
        *("s3/d/001", "only")
    }
    assert {cut.id: cut.speaker for cut in cuts}["s2/c/001"] == "s2"
    assert len({cut.path for cut in cuts}) == 8
    assert rejected == {}
    assert (
        "7 files share their name with files of other folders; their ids are like s1/c/001" in capsys.readouterr().err
    )


def test_the_same_speaker_and_chapter_twice_are_duplicates(tmp_path):
    for part in ("train-a", "train-b"):
        _speech(tmp_path / "corpus" / part / "1" / "2", "1-2-0", "1-2-1", "1-2-2")
    (tmp_path / "corpus" / "train-a" / "1" / "2" / "1-2-1.wav").write_bytes(b"another form of it")
    cuts, rejected = _build(tmp_path / "corpus", tmp_path / "out")
    assert {cut.id for cut in cuts} == {"1-2-0", "1-2-1", "1-2-2"}
    assert all(reason.startswith("duplicate id, kept: ") for reason in rejected.values())


def _speakers(root: Path) -> dict[str, tuple[str, str | None]]:
    return {entry.id: (entry.speaker, entry.split) for entry in scan_folder(root)[0]}


def test_speakers_without_chapters_are_speakers(tmp_path):
    _speech(tmp_path / "flat" / "p225", "p225_001", transcript="p225")
    _speech(tmp_path / "flat" / "p226", "p226_001")
    _speech(tmp_path / "flat" / "dev" / "p227", "p227_001")
    _speech(tmp_path / "flat" / "train-x" / "p228" / "c", "p228_001")
    assert _speakers(tmp_path / "flat") == {
        "p225_001": ("p225", None),
        "p226_001": ("p226", None),
        "p227_001": ("p227", "valid"),
        "p228_001": ("p228", "train"),
    }
    _speech(tmp_path / "19" / "198", "19-198-0000", transcript="19-198")  # one speaker of LibriSpeech
    _speech(tmp_path / "19" / "199", "19-199-0000")
    assert _speakers(tmp_path / "19") == {"19-198-0000": ("19", None), "19-199-0000": ("19", None)}


def test_a_link_that_names_a_split_wins(tmp_path):
    root = tmp_path / "corpus"
    for speaker in ("s1", "s2", "s3"):
        _speech(root / "all" / speaker / "c", speaker)
    for split, speaker in (("dev", "s1"), ("test", "s2")):
        (root / split).mkdir()
        (root / split / speaker).symlink_to(Path("..") / "all" / speaker)
    cuts, rejected = _build(root, tmp_path / "out")
    assert {cut.id: (cut.split, cut.speaker) for cut in cuts} == {
        "s1": ("valid", "s1"),
        "s2": ("test", "s2"),
        "s3": ("train", "s3"),
    }
    assert rejected == {}
    assert Path(next(cut.path for cut in cuts if cut.id == "s1")).parts[-4:] == ("dev", "s1", "c", "s1.flac")


def test_files_that_are_links_have_the_split_of_their_link(tmp_path):
    root = tmp_path / "corpus"
    _speech(root / "pool" / "s" / "c", "a", "b", "d")
    (root / "test" / "s" / "c").mkdir(parents=True)
    (root / "test" / "s" / "c" / "b.flac").symlink_to(root / "pool" / "s" / "c" / "b.flac")
    (root / "test" / "s" / "c" / "t.trans.txt").symlink_to(root / "pool" / "s" / "c" / "t.trans.txt")
    cuts, _ = _build(root, tmp_path / "out")
    assert Counter(cut.id for cut in cuts) == {"a": 1, "b": 1, "d": 1}
    assert next(cut.split for cut in cuts if cut.id == "b") == "test"


@pytest.mark.parametrize("link", ["folder", "file"])
def test_a_link_into_another_split_is_an_error(tmp_path, link):
    root = tmp_path / "corpus"
    _speech(root / "train" / "s1" / "c", "a")
    _speech(root / "test" / "s2" / "c", "b")
    if link == "folder":
        (root / "test" / "s1").symlink_to(root / "train" / "s1")
    else:
        (root / "test" / "s2" / "c" / "x.flac").symlink_to(root / "train" / "s1" / "c" / "a.flac")
    with pytest.raises(UserError, match=r"corpus\.path: .*(test|train).* one file through a link, in the splits t"):
        _build(root, tmp_path / "out")


def test_circles_and_broken_links_end_and_are_listed(tmp_path):
    root = tmp_path / "corpus"
    _speech(root / "train" / "s1" / "c", "a", "b", "lost")
    _speech(root / "test" / "s2" / "c", "d")
    (root / "train" / "s1" / "up").symlink_to(root)
    (root / "test" / "again").symlink_to(root / "test")
    (root / "test" / "self").symlink_to("self")
    (root / "train" / "s3").symlink_to("/nowhere/s3")
    (root / "train" / "s1" / "c" / "lost.flac").unlink()
    (root / "train" / "s1" / "c" / "lost.flac").symlink_to("/nowhere/lost.flac")
    (root / "train" / "s1" / "c" / "u.trans.txt").symlink_to("/nowhere/u.trans.txt")
    cuts, rejected = _build(root, tmp_path / "out", valid_fraction=0.3)
    assert {cut.id for cut in cuts} == {"a", "b", "d"}
    assert rejected.pop("lost").endswith("lost.flac is a broken link")
    assert rejected == dict.fromkeys(("s3", "self", "u.trans.txt"), "a broken link")
    assert len(speech_files(root)) == len(set(speech_files(root)))


def test_what_was_left_out_is_said_where_nothing_is_left(tmp_path):
    root = tmp_path / "corpus"
    (root / "s").mkdir(parents=True)
    for name in ("s1", "s2"):
        (root / name).symlink_to(f"/nowhere/{name}")
    (root / "s" / "a.mp3").write_bytes(b"x")
    with pytest.raises(
        UserError, match=r"holds no \*\.trans\.txt .*; it holds .*1 of \.mp3.*2 left out: a broken link"
    ):
        scan_folder(root)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_cannot_be_read_is_named(tmp_path):
    _speech(tmp_path / "s" / "c", "a")
    (tmp_path / "s").chmod(0)
    with pytest.raises(UserError, match=r"s: cannot be read \(Permission denied\)"):
        files_below(tmp_path)
    (tmp_path / "s").chmod(0o755)


ODD = [
    "{v2}",
    "<v2>",
    "a b",
    "it's",
    '"q"',
    "50%",
    "a,b",
    "ü\u00a0ł",
    "#1+2",
    "$HOME",
    "*?[x]",
    "\u65e5\u672c",
    "a;b&c|d",
]


def test_names_of_every_kind_are_kept(tmp_path):
    root = tmp_path / "my {corpus} <x>"
    for number, name in enumerate(ODD):
        _speech(root / name / "c", f"{name} {number}")
    cuts, rejected = _build(root, tmp_path / "out")
    assert rejected == {}
    assert {cut.speaker: cut.text.split()[0] for cut in cuts} == dict.fromkeys(ODD, "hello")
    assert all(np.abs(cut.samples()).max() > 0.2 for cut in cuts)
    assert rejected == {}


def test_names_that_are_not_utf8_are_listed(tmp_path):
    _speech(tmp_path / "corpus" / "s" / "c", "a", "b", "d")
    for name in (b"caf\xe9.flac", b"new\nline.flac"):
        Path(os.fsdecode(os.fsencode(tmp_path / "corpus" / "s" / "c") + b"/" + name)).write_bytes(FLAC)
    cuts, rejected = _build(tmp_path / "corpus", tmp_path / "out")
    assert {cut.id for cut in cuts} == {"a", "b", "d"}
    assert sorted(rejected) == ["caf\\udce9.flac", "new\\nline.flac"]
    assert len(speech_digest(tmp_path / "corpus")) == 16


def test_a_truncated_wav_is_rejected_and_a_piped_one_is_not(tmp_path):
    folder = tmp_path / "corpus" / "s" / "c"
    _speech(folder, "a", "cut", "piped")
    for name in ("cut", "piped"):
        (folder / f"{name}.flac").unlink()
        soundfile.write(folder / f"{name}.wav", 0.3 * np.sin(np.arange(16_000) / 12), 16_000, subtype="PCM_16")
    (folder / "cut.wav").write_bytes((folder / "cut.wav").read_bytes()[:24_044])
    piped = bytearray((folder / "piped.wav").read_bytes())
    piped[40:44] = b"\0\xf0\xff\x7f"
    (folder / "piped.wav").write_bytes(piped)
    cuts, rejected = _build(tmp_path / "corpus", tmp_path / "out")
    assert {cut.id for cut in cuts} == {"a", "piped"}
    assert rejected == {"cut": "truncated audio: it ends at 0.75 s of 1.00 s"}


def test_a_transcript_is_matched_in_linear_time(tmp_path, monkeypatch):
    """Names are looked up, never compared one by one: the work is counted, so that no clock decides."""
    looked = Counter()

    class Name(str):
        def startswith(self, *args):
            looked["compared"] += 1
            return super().startswith(*args)

    from speechladder.corpora.local import _transcripts
    from speechladder.io.rejects import Rejects

    names = {Name(f"LJ{n:05d}") for n in range(300)} | {Name("LJ00001 b")}
    (tmp_path / "x").write_text("".join(f"LJ{n:05d} WORDS {n}\n" for n in range(300)) + "LJ00001 b LONGER\nnone X\n")
    rejects = Rejects()
    found = _transcripts(tmp_path / "x", names, rejects)
    assert (found["LJ00001"], found["LJ00001 b"], found["LJ00299"]) == ("WORDS 1", "LONGER", "WORDS 299")
    assert [row["id"] for row in rejects.mentions] == ["none"]
    assert not looked
