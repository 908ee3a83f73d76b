"""A folder in LibriSpeech layout, with the faults of users' folders."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechladder.corpora.cuts import Cut, read_cuts
from speechladder.corpora.folders import speech_digest, speech_files
from speechladder.corpora.local import build_local_shard, scan_folder
from speechladder.io.audio import AudioError
from speechladder.io.errors import UserError
from speechladder.settings import Corpus


def _tone(path: Path, seconds: float = 1.0, rate: int = 16_000, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = 0.3 * np.sin(np.arange(round(seconds * rate)) * 2 * np.pi * 220 / rate)
    soundfile.write(path, np.stack([wave] * channels, axis=1), rate, subtype="PCM_16")


def _build(root: Path, out: Path, shards: int = 1, **settings) -> tuple[list[Cut], dict[str, str]]:
    cuts, rejected = [], {}
    corpus = Corpus(name="local", path=str(root), shards=shards, max_rejected=1.0, **settings)
    for shard in range(shards):
        build_local_shard(corpus, shard, out / f"cuts.{shard}.jsonl.gz", out / f"rejected.{shard}.jsonl")
        cuts += read_cuts(out / f"cuts.{shard}.jsonl.gz")
        rows = [json.loads(line) for line in (out / f"rejected.{shard}.jsonl").read_text().splitlines()]
        rejected |= {r["id"]: r["reason"] for r in rows}
    return cuts, rejected


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    root = tmp_path / "corpus"
    chapter = root / "train" / "19" / "198"
    for name in ("good", "odd, id", "odd, id two", "empty", "silent text", "lost"):
        _tone(chapter / f"{name}.flac")
    _tone(chapter / "short.flac", seconds=0.05)
    _tone(chapter / "long.flac", seconds=60)
    _tone(chapter / "stereo.flac", channels=2)
    _tone(chapter / "narrow.flac", rate=8_000)
    _tone(chapter / "zero.wav", seconds=0)
    (chapter / "garbage.flac").write_bytes(b"not audio")
    whole = (chapter / "good.flac").read_bytes()
    (chapter / "cut off.flac").write_bytes(whole[: len(whole) // 2])
    _tone(root / "train" / "26" / "495" / "good.flac")
    (root / "train" / "26" / "495" / "26-495.trans.txt").write_text("good THE SAME ID AGAIN\n")
    lines = [
        "good GOOD MORNING",
        "odd, id COMMA AND SPACE",
        "odd, id two LONGER NAME",
        "empty ",
        "silent text ...",
        "short TOO SHORT",
        "long TOO LONG",
        "stereo TWO CHANNELS",
        "narrow EIGHT KILOHERTZ",
        "zero NOTHING",
        "garbage NOISE",
        "cut off HALF A FILE",
        "missing NO FILE",
    ]
    (chapter / "19-198.trans.txt").write_text("\n".join(lines) + "\n")
    return root


def test_each_bad_utterance_has_its_reason(corpus, tmp_path):
    cuts, rejected = _build(corpus, tmp_path / "out")
    assert {c.id for c in cuts} == {
        *("19/198/good", "26/495/good", "odd, id", "odd, id two", "stereo", "narrow", "cut off")
    }
    assert {i: r.split(":")[0].split(",")[0] for i, r in rejected.items()} == {
        "empty": "empty transcript",
        "silent text": "empty transcript",
        "lost": "no transcript",
        "short": "too short",
        "long": "too long",
        "zero": "zero-length audio",
        "garbage": "unreadable audio",
        "missing": "transcript line without an audio file",
    }


def test_ids_with_spaces_get_their_own_text(corpus, tmp_path):
    texts = {c.id: c.text for c in _build(corpus, tmp_path / "out")[0]}
    assert texts["odd, id"] == "comma and space"
    assert texts["odd, id two"] == "longer name"


def test_stereo_and_8_khz_are_read_as_mono_at_16_khz(corpus, tmp_path):
    cuts = {c.id: c for c in _build(corpus, tmp_path / "out")[0]}
    for name in ("stereo", "narrow"):
        samples = cuts[name].samples()
        assert samples.shape == (16_000,)
        assert 0.25 < np.abs(samples[2000:-2000]).max() < 0.35


def test_a_truncated_file_is_found_when_read(corpus, tmp_path):
    cuts = {c.id: c for c in _build(corpus, tmp_path / "out")[0]}
    with pytest.raises(AudioError, match=r"truncated|unreadable"):
        cuts["cut off"].samples()


def test_shards_divide_the_corpus(corpus, tmp_path):
    one, rejected_one = _build(corpus, tmp_path / "one")
    many, rejected_many = _build(corpus, tmp_path / "many", shards=5)
    assert sorted(c.id for c in one) == sorted(c.id for c in many)
    assert {c.id: c.split for c in one} == {c.id: c.split for c in many}
    assert rejected_one == rejected_many


def test_splits_are_as_named_and_drawn_where_unnamed(tmp_path):
    root = tmp_path / "corpus"
    for subset in ("train-clean-100", "test-other"):
        folder = root / subset / "1" / "2"
        for n in range(30):
            _tone(folder / f"{subset}-{n}.flac", 0.4)
        (folder / "t.trans.txt").write_text("".join(f"{subset}-{n} HELLO\n" for n in range(30)))
    cuts, _ = _build(root, tmp_path / "out", valid_fraction=0.1)
    by_split = {s: {c.id for c in cuts if c.split == s} for s in ("train", "valid", "test")}
    assert by_split["test"] == {f"test-other-{n}" for n in range(30)}
    assert len(by_split["valid"]) == 3
    assert all(i.startswith("train") for i in by_split["valid"] | by_split["train"])


def _speaker(folder: Path, name: str, count: int = 4) -> None:
    for n in range(count):
        _tone(folder / f"{name}-{n}.flac", 0.4)
    (folder / f"{name}.trans.txt").write_text("".join(f"{name}-{n} HELLO\n" for n in range(count)))


def test_a_speaker_named_like_a_split_is_a_speaker(tmp_path):
    root = tmp_path / "corpus"
    for speaker in ("Devon", "Tester", "Dev", "test_1"):
        _speaker(root / speaker / "c", speaker, count=2)
    named = {e.speaker: e.split for e in scan_folder(root)[0]}
    assert named == {"Devon": None, "Tester": None, "Dev": "valid", "test_1": "test"}


def test_linked_speakers_are_read_and_a_circle_of_links_ends(tmp_path):
    root = tmp_path / "corpus"
    _speaker(tmp_path / "elsewhere" / "s1" / "c", "a")
    _speaker(root / "s2" / "c", "b")
    (root / "s1").symlink_to(tmp_path / "elsewhere" / "s1")
    (root / "s2" / "again").symlink_to(root)
    assert [(e.id, e.speaker) for e in scan_folder(root)[0]] == [(f"a-{n}", "s1") for n in range(4)] + [
        (f"b-{n}", "s2") for n in range(4)
    ]
    assert [p.name for p in speech_files(root) if p.suffix == ".txt"] == ["a.trans.txt", "b.trans.txt"]


def test_a_corpus_without_training_speech_is_refused(tmp_path):
    _speaker(tmp_path / "corpus" / "dev-clean" / "s" / "c", "a")
    with pytest.raises(UserError, match=r"corpus\.path: .*corpus has no audio files to train on \(4 of valid\)"):
        _build(tmp_path / "corpus", tmp_path / "out")


def test_lines_without_audio_are_listed_and_not_counted(tmp_path):
    _speaker(tmp_path / "corpus" / "s" / "c", "a")
    with (tmp_path / "corpus" / "s" / "c" / "a.trans.txt").open("a") as handle:
        handle.write("a-0 AGAIN\n" + "".join(f"b-{n} NO FILE\n" for n in range(20)))
    corpus = Corpus(name="local", path=str(tmp_path / "corpus"), shards=1, max_rejected=0)
    build_local_shard(corpus, 0, tmp_path / "c.gz", tmp_path / "r.jsonl")
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 21


def test_the_digest_of_the_audio_changes_with_a_file(tmp_path):
    _speaker(tmp_path / "s" / "c", "a")
    states = [speech_digest(tmp_path), speech_digest(tmp_path)]
    _tone(tmp_path / "s" / "c" / "a-1.flac", 0.5)
    states.append(speech_digest(tmp_path))
    (tmp_path / "s" / "c" / "a-1.flac").rename(tmp_path / "s" / "c" / "a-9.flac")
    states.append(speech_digest(tmp_path))
    assert states[0] == states[1]
    assert len(set(states)) == 3


def test_a_shard_with_too_many_rejects_fails_and_lists_them(corpus, tmp_path, capsys):
    with pytest.raises(UserError, match=r"corpus\.max_rejected"):
        build_local_shard(
            Corpus(name="local", path=str(corpus), shards=1, max_rejected=0.1),
            0,
            tmp_path / "c.gz",
            tmp_path / "r.jsonl",
        )
    assert "empty transcript" in capsys.readouterr().err


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.mkdir(), lambda p: _tone(p / "1" / "2" / "a.flac")])
def test_an_unsuitable_folder_is_named(tmp_path, make):
    make(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"corpus\.path: .*nowhere"):
        scan_folder(tmp_path / "nowhere")


def _subsets(root: Path, *names: str) -> list[Path]:
    """Subsets of LibriSpeech, two speakers each."""
    for name in names:
        for speaker in ("1", "2"):
            _speaker(root / name / speaker / "9", f"{name}-{speaker}")
    return [root / name for name in names]


def _librispeech(out: Path, roots: list[Path], **settings) -> dict[str, Cut]:
    corpus = Corpus(name="librispeech", source="/data", shards=2, **settings)
    cuts = {}
    for shard in range(2):
        build_local_shard(corpus, shard, out / f"c.{shard}.gz", out / f"r.{shard}.jsonl", roots)
        cuts |= {c.id: c for c in read_cuts(out / f"c.{shard}.gz")}
    return cuts


def test_librispeech_is_several_folders_whose_names_say_the_split(tmp_path):
    roots = _subsets(tmp_path / "LibriSpeech", "train-clean-100", "dev-clean", "test-other")
    cuts = _librispeech(tmp_path / "out", roots)
    assert len(cuts) == 24
    assert {c.split for i, c in cuts.items() if i.startswith("dev")} == {"valid"}
    assert {c.split for i, c in cuts.items() if i.startswith("test")} == {"test"}
    assert {c.split for i, c in cuts.items() if i.startswith("train")} == {"train"}
    assert {c.speaker for c in cuts.values()} == {"1", "2"}
    assert _librispeech(tmp_path / "one", [tmp_path / "LibriSpeech"]) == cuts
    assert _librispeech(tmp_path / "both", [roots[1], tmp_path / "LibriSpeech", roots[1]]) == cuts


def test_librispeech_without_training_speech_or_audio_is_named(tmp_path):
    roots = _subsets(tmp_path, "dev-clean")
    with pytest.raises(
        UserError, match=r"corpus\.source, corpus\.archives: .*no audio files to train on \(8 of valid\)"
    ):
        _librispeech(tmp_path / "out", roots)
    with pytest.raises(UserError, match=r"corpus\.source, corpus\.archives: .*nowhere is not a folder"):
        _librispeech(tmp_path / "out", [*roots, tmp_path / "nowhere"])


def test_hours_shorten_train_equally_for_all_speakers(tmp_path):
    root = tmp_path / "corpus"
    for speaker, count in (("a", 3), ("b", 20), ("c", 30)):
        _speaker(root / "train" / speaker / "1", speaker, count)
    _speaker(root / "dev" / "d" / "1", "d", 6)
    _speaker(root / "test" / "e" / "1", "e", 6)
    (root / "train" / "b" / "1" / "b-3.flac").write_bytes(b"garbage")
    cuts, _ = _build(root, tmp_path / "all", shards=3)
    assert len(cuts) == 64
    cuts, rejected = _build(root, tmp_path / "out", shards=3, hours=8 / 3600)  # of 0.4 s each
    count = {s: sum(c.speaker == s for c in cuts) for s in "abcde"}
    assert count == {"a": 3, "b": 8, "c": 9, "d": 6, "e": 6} or count == {"a": 3, "b": 9, "c": 8, "d": 6, "e": 6}
    assert set(rejected) <= {"b-3"}  # utterances that corpus.hours leaves out are not rejects
    assert {c.id for c in _build(root, tmp_path / "one", hours=8 / 3600)[0]} == {c.id for c in cuts}
    with pytest.raises(UserError, match=r"corpus\.hours: .*less than the shortest utterance"):
        _build(root, tmp_path / "none", hours=0.01 / 3600)


def test_rejects_carry_what_the_audit_counts_by(corpus, tmp_path):
    _build(corpus, tmp_path / "out")
    rows = {r["id"]: r for r in map(json.loads, (tmp_path / "out" / "rejected.0.jsonl").read_text().splitlines())}
    assert (rows["long"]["seconds"], rows["long"]["speaker"], rows["long"]["split"]) == (60.0, "19", "train")
    assert rows["garbage"]["seconds"] is None
    assert rows["missing"]["mention"] and "mention" not in rows["long"]


def test_what_cannot_be_read_or_spelt_is_rejected_with_its_reason(tmp_path):
    chapter = tmp_path / "corpus" / "19" / "198"
    ids = [f"u{n}" for n in range(8)]
    for name in ids:
        _tone(chapter / f"{name}.flac")
    texts = [
        "I don\u2019t like caf\u00e9s",
        "K\u00f8benhavn",
        "caf\u00e9 \u00e9t\u00e9",
        "a\u0430b",
        "one\u2028two\x0cthree\x85four",
    ]
    texts += ["in the 1770s", "<unk> hello", "fine"]
    lines = [f"{name} {text}".encode("cp1252" if name == "u0" else "utf-8") for name, text in zip(ids, texts)]
    path = chapter / "19-198.trans.txt"
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(lines))
    cuts, rejected = _build(tmp_path / "corpus", tmp_path / "out")
    assert {c.id: c.text for c in cuts} == {
        "u2": "cafe ete",
        "u4": "one two three four",
        "u5": "in the seventeen seventies",
        "u7": "fine",
    }
    assert rejected.pop("u0") == (
        f"not UTF-8: byte 0x92 at column 9, probably Windows-1252; save it in UTF-8 ({path}, line 1)"
    )
    assert rejected == {
        "u1": "letters that are not English: \u00f8 (U+00F8)",
        "u3": "letters that are not English: \u0430 (U+0430)",
        "u6": "signs that have no words: < (U+003C) > (U+003E)",
    }


def test_a_transcript_in_utf_16_is_no_missing_transcript(tmp_path):
    chapter = tmp_path / "corpus" / "19" / "198"
    _tone(chapter / "a.flac")
    _tone(chapter / "b.flac")
    (chapter / "1.trans.txt").write_text("a GOOD")
    (chapter / "2.trans.txt").write_bytes("b HELLO\n".encode("utf-16"))
    cuts, rejected = _build(tmp_path / "corpus", tmp_path / "out")
    assert [c.text for c in cuts] == ["good"]
    assert rejected["b"].startswith("not UTF-8: the file is in UTF-16")


def test_blanks_before_the_id_of_a_transcript_line(tmp_path):
    chapter = tmp_path / "corpus" / "19" / "198"
    for name in "ab":
        _tone(chapter / f"{name}.flac")
    (chapter / "1.trans.txt").write_text("  a GOOD\n\tb\tWORDS\n")
    cuts, rejected = _build(tmp_path / "corpus", tmp_path / "out")
    assert sorted(c.text for c in cuts) == ["good", "words"] and rejected == {}
