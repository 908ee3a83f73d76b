"""Manifests as LibriHeavy publishes them: read, partitioned into shards, and checked against the disk."""

import gzip
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from speechladder.corpora import libriheavy
from speechladder.corpora.cuts import Cut, read_cuts
from speechladder.corpora.libriheavy import Recordings, build_libriheavy_shard
from speechladder.corpora.manifest import BadRecordError, Record, ShardWriter, parse_record, read_records, split_of
from speechladder.corpora.partition import split_manifests
from speechladder.io.errors import UserError
from speechladder.io.files import read_json, read_jsonl
from speechladder.io.tables import INDEX, write_table
from speechladder.settings import Corpus
from tests.mini_corpora import RATE, cut, flac, gzipped, tar_bytes

BOOK = "small/{}/a_book_64kb_mp3/{:02}_chapter_64kb"


def corpus(**fields: Any) -> Corpus:
    given = {"name": "libriheavy", "manifests": ["m"], "source": "/nowhere", "shards": 3}
    return Corpus(**(given | fields))


def row(speaker: int, chapter: int, number: int, seconds: float = 6.0, text: str = "the sea was calm") -> dict:
    start = 1.0 + 7 * number
    return cut(BOOK.format(speaker, chapter), number, start, seconds, str(speaker), text, 60 * RATE)


def write(path: Path, rows: list[dict]) -> Path:
    path.write_bytes(gzipped(rows))
    return path


def partitioned(folder: Path, shards: int = 3) -> dict[str, Record]:
    return {r.id: r for shard in range(shards) for r in read_records(folder / f"{shard}.jsonl.gz")}


@pytest.fixture
def manifests(tmp_path: Path) -> list[Path]:
    """Eight speakers with two recordings each in small, one in dev and one in test_clean."""
    small = [row(s, c, n) for s in range(100, 108) for c in (1, 2) for n in range(s - 98)]
    return [
        write(tmp_path / "libriheavy_cuts_small.jsonl.gz", small),
        write(tmp_path / "libriheavy_cuts_dev.jsonl.gz", [row(900, 1, n) for n in range(3)]),
        write(tmp_path / "libriheavy_cuts_test_clean.jsonl.gz", [row(901, 1, n) for n in range(3)]),
    ]


# Reading


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("libriheavy_cuts_small.jsonl.gz", "train"),
        ("libriheavy_cuts_dev.jsonl.gz", "valid"),
        ("libriheavy_cuts_test_other_large.jsonl.gz", "test"),
        ("train_test.jsonl", "train"),
        ("contested_devices.jsonl", "train"),
    ],
)
def test_a_manifest_is_named_after_its_split(name: str, split: str) -> None:
    assert split_of(Path("/test/dev") / name) == split


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda r: r.pop("id"), "field missing: id"),
        (lambda r: r.pop("supervisions"), "field missing: supervisions.0.speaker"),
        (lambda r: r.update(supervisions=[]), "field missing: supervisions.0.speaker"),
        (lambda r: r["supervisions"][0].pop("custom"), "field missing: supervisions.0.custom.texts"),
        (lambda r: r["supervisions"][0]["custom"].update(texts=[]), "field missing: supervisions.0.custom.texts"),
        (lambda r: r["recording"].pop("sampling_rate"), "field missing: recording.sampling_rate"),
        (lambda r: r["recording"].update(sources=[]), "field missing: recording.sources.0.source"),
        (lambda r: r["recording"].update(sources=r["recording"]["sources"] * 2), "several sources: 2"),
        (lambda r: r["recording"]["sources"][0].update(type="command"), "source is no file: command"),
        (lambda r: r.update(start=-1), "field unusable: start is -1"),
        (lambda r: r.update(duration=0), "field unusable: duration is 0"),
        (lambda r: r.update(duration=float("nan")), "field unusable: duration is nan"),
        (lambda r: r["recording"].update(num_samples="many"), "field unusable: recording.num_samples is 'many'"),
        (lambda r: r.update(supervisions=r["supervisions"] * 2), "several supervisions: 2"),
        (lambda r: r.update(id=""), "field unusable: id is ''"),
        (lambda r: r["recording"].update(id=None), "field unusable: recording.id is None"),
        (
            lambda r: r["recording"]["sources"][0].update(source=None),
            "field unusable: recording.sources.0.source is None",
        ),
        (lambda r: r["supervisions"][0].update(speaker=None), "field unusable: supervisions.0.speaker is None"),
        (lambda r: r["recording"].update(id=7), "field unusable: recording.id is 7, a number; write it as a text"),
    ],
)
def test_a_record_without_a_field_names_the_field(spoil: Callable[[dict], object], reason: str) -> None:
    bad = row(100, 1, 0)
    spoil(bad)
    with pytest.raises(BadRecordError) as error:
        parse_record(json.dumps(bad).encode(), "train")
    assert error.value.reason.startswith(reason)
    assert error.value.id == bad.get("id", "")


def test_an_id_that_is_a_number_is_named() -> None:
    line = json.dumps(row(100, 1, 0) | {"id": 12}).encode()
    with pytest.raises(BadRecordError) as error:
        parse_record(line, "train")
    assert error.value.reason == "field unusable: id is 12, a number; write it as a text, in quotes"
    assert error.value.id == "12"


def _channels(bad: dict, channels: list[int], cut: object, said: object) -> None:
    bad["recording"]["channel_ids"] = bad["recording"]["sources"][0]["channels"] = channels
    bad["channel"], bad["supervisions"][0]["channel"] = cut, said


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: r["recording"].update(transforms=[{"name": "Speed", "kwargs": {"factor": 1.1}}]),
         "recording with transforms: Speed; the file is read as it is"),
        (lambda r: r["recording"].update(transforms=[{"name": "Resample"}, {"name": "Volume"}]),
         "recording with transforms: Resample, Volume;"),
        (lambda r: r["recording"].update(transforms=["speed"]), "recording with transforms: speed;"),
        (lambda r: r["recording"].update(transforms={"name": "Speed"}), "recording with transforms: Speed;"),
        (lambda r: r["supervisions"][0].update(start=1.0, duration=5.0),
         "supervision of a part: its text is said from 1 to 6 s of a cut of 6 s"),
        (lambda r: r["supervisions"][0].update(duration=2.5), "supervision of a part: its text is said from 0 to 2.5"),
        (lambda r: r["supervisions"][0].update(start=-0.5, duration=6.5),
         "supervision of a part: its text is said from -0.5 to 6 s"),
        (lambda r: r["supervisions"][0].update(duration=9), "supervision of a part: its text is said from 0 to 9 s"),
        (lambda r: r.update(duration=3.0), "supervision of a part: its text is said from 0 to 6 s of a cut of 3 s"),
        (lambda r: _channels(r, [0, 1], 1, 1), "another channel: 1 of 2; a recording must have one"),
        (lambda r: _channels(r, [0, 1], 0, 0), "another channel: 0 of 2; a recording must have one"),
        (lambda r: _channels(r, [0, 1], [0, 1], [0, 1]), "another channel: [0, 1] of 2; a recording must have one"),
        (lambda r: _channels(r, [0], 1, 1), "another channel: 1, text of channel 1; the recording has channel 0 alone"),
        (lambda r: _channels(r, [0], 0, 1), "another channel: 0, text of channel 1; the recording has channel 0 alone"),
        (lambda r: r.update(type="MultiCut", channel=[0, 1]), "not a MonoCut: a MultiCut;"),
        (lambda r: r.update(type="features"), "not a MonoCut: a features;"),
        (lambda r: r.update(type="MixedCut", tracks=[{}, {}]), "not a MonoCut: a MixedCut of 2 tracks;"),
        (lambda r: (r.clear(), r.update(id="p", duration=1.0, type="PaddingCut")), "not a MonoCut: a PaddingCut;"),
        (lambda r: r["recording"].update(duration=30.0), "two lengths: recording.duration is 30 s, its samples and"),
        (lambda r: r["supervisions"][0].update(start="x"), "field unusable: supervisions.0.start is 'x'"),
        (lambda r: r["recording"].update(duration="x"), "field unusable: recording.duration is 'x'"),
        (lambda r: r["supervisions"][0]["custom"].update(texts="one text"), "field unusable: the text is 'one text'"),
        (lambda r: r["supervisions"][0]["custom"].update(texts=[{"text": "a"}]), "field unusable: the text is "),
    ],
)  # fmt: skip
def test_a_cut_of_other_audio_than_a_window_of_a_file(change: Callable[[dict], object], reason: str) -> None:
    """What lhotse's tools make of a cut: its audio is not what the file holds in the window."""
    good = row(100, 1, 0)
    parse_record(json.dumps(good).encode(), "train")
    change(good)
    assert _reason(json.dumps(good).encode()).startswith(reason)


def test_cuts_that_say_less_or_say_it_otherwise_are_read() -> None:
    for change in (
        lambda r: r.pop("type"),
        lambda r: r.update(type="Cut"),
        lambda r: r.pop("channel"),
        lambda r: r["recording"].update(transforms=[]),
        lambda r: r["recording"].update(transforms=None),
        lambda r: r["recording"].pop("channel_ids"),
        lambda r: r["recording"].pop("duration"),
        lambda r: [r["supervisions"][0].pop(name) for name in ("start", "duration", "channel", "recording_id")],
        lambda r: r["supervisions"][0].update(channel=[0]),
        lambda r: r["supervisions"][0].update(duration=6.004),
        lambda r: _channels(r, [1], 1, 1),
    ):
        change(good := row(100, 1, 0))
        assert parse_record(json.dumps(good).encode(), "train").duration == 6.0


@pytest.mark.parametrize("line", [b"{", b"\xff\xfe", b"[1, 2]", b"null", b'"text"'])
def test_a_line_that_is_no_record(line: bytes) -> None:
    with pytest.raises(BadRecordError, match=r"not JSON|not UTF-8|field missing"):
        parse_record(line, "train")


def test_a_plain_text_suffices() -> None:
    plain = row(100, 1, 0)
    plain["supervisions"][0] |= {"custom": None, "text": "ONE TEXT", "speaker": 100}
    record = parse_record(json.dumps(plain).encode(), "train")
    assert (record.texts, record.speaker) == (["ONE TEXT"], "100")


def _reason(line: bytes) -> str:
    with pytest.raises(BadRecordError) as error:
        parse_record(line, "train")
    return error.value.reason


def test_lines_as_libriheavy_and_lhotse_write_them(tmp_path: Path) -> None:
    published = row(100, 1, 0, text="The little girl was thoughtful for a moment")
    record = parse_record(json.dumps(published).encode(), "train")
    assert record.source == f"download/librilight/{BOOK.format(100, 1)}.flac"
    assert (record.start, record.duration, record.speaker, record.num_samples) == (1.0, 6.0, "100", 60 * RATE)
    assert record.texts[0].startswith("The little girl was thoughtful") and record.texts[1].isupper()
    supervision = {k: v for k, v in published["supervisions"][0].items() if k != "custom"} | {"text": "EXAMPLE OF TEXT"}
    plain = {k: v for k, v in published.items() if k != "custom"} | {"supervisions": [supervision]}
    assert parse_record(json.dumps(plain).encode(), "train").texts == ["EXAMPLE OF TEXT"]
    mixed = {"id": "mix", "tracks": [{"cut": plain, "offset": 0.0}], "type": "MixedCut"}
    assert _reason(json.dumps(mixed).encode()).startswith("not a MonoCut: a MixedCut of 1 tracks; let lhotse save")
    segment = supervision | {"id": "one", "recording_id": "r"}  # a line of a manifest of supervisions
    assert _reason(json.dumps(segment).encode()) == "field missing: supervisions.0.speaker"
    (tmp_path / "sample_cut.jsonl").write_text(json.dumps(published) + "\n")
    split_manifests([tmp_path / "sample_cut.jsonl"], corpus(), tmp_path / "out")
    assert list(partitioned(tmp_path / "out")) == [record.id]


@pytest.mark.shared
def test_genuine_fragments(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "libriheavy"
    record = parse_record((folder / "sample_cut.jsonl").read_bytes(), "train")
    chapter = "small/100/sea_fairies_0812_librivox_64kb_mp3/01_baum_sea_fairies_64kb"
    assert record.source == f"download/librilight/{chapter}.flac"
    assert (record.start, record.duration, record.speaker, record.num_samples) == (243.919, 7.36, "100", 9567080)
    assert record.texts[0].startswith("The little girl was thoughtful") and record.texts[1].isupper()
    fixtures = folder / "lhotse_fixtures"
    plain = json.loads((fixtures / "libri/cuts.json").read_text())[0]
    assert parse_record(json.dumps(plain).encode(), "train").texts == ["EXAMPLE OF TEXT"]
    mixed = json.loads((fixtures / "mix_cut_test/overlayed_cut_manifest.json").read_text())[0]
    assert _reason(json.dumps(mixed).encode()).startswith("not a MonoCut: a MixedCut of 2 tracks; let lhotse save")
    with gzip.open(fixtures / "mini_librispeech/lhotse/supervisions.jsonl.gz") as handle:  # a manifest of another kind
        assert {_reason(one) for one in handle} == {"field missing: supervisions.0.speaker"}
    split_manifests([folder / "sample_cut.jsonl"], corpus(), tmp_path / "out")
    assert list(partitioned(tmp_path / "out")) == [record.id]


# Partition


def test_every_cut_is_in_one_shard_and_a_recording_stays_together(manifests: list[Path], tmp_path: Path) -> None:
    summary = split_manifests(manifests, corpus(), tmp_path / "out")
    shards = [list(read_records(tmp_path / "out" / f"{n}.jsonl.gz")) for n in range(3)]
    ids = [r.id for records in shards for r in records]
    assert len(ids) == len(set(ids)) == 94
    where = [{r.recording for r in records} for records in shards]
    assert all(where) and sum(map(len, where)) == len(set.union(*where)) == 18
    assert Counter(r.split for records in shards for r in records) == {"train": 88, "valid": 3, "test": 3}
    assert summary == read_json(tmp_path / "out" / "summary.json")
    hours = pytest.approx(88 * 6 / 3600, abs=1e-4)
    assert summary["after"]["train"] == {"utterances": 88, "hours": hours, "speakers": 8, "recordings": 16}
    assert summary["before"] == summary["after"] and summary["level_seconds"] is None
    assert [m["split"] for m in summary["manifests"]] == ["train", "valid", "test"]
    assert b"pre_texts" not in gzip.decompress((tmp_path / "out" / "0.jsonl.gz").read_bytes())


def test_the_same_manifests_give_the_same_bytes(manifests: list[Path], tmp_path: Path) -> None:
    for out in ("a", "b"):
        split_manifests(manifests, corpus(), tmp_path / out)
    names = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert names == ["0.jsonl.gz", "1.jsonl.gz", "2.jsonl.gz", "rejected.jsonl", "summary.json"]
    assert all((tmp_path / "a" / n).read_bytes() == (tmp_path / "b" / n).read_bytes() for n in names)


def test_lines_that_wait_are_written_as_members_of_one_file(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, 2, budget=100)
    for n in range(50):
        writer.write(0, b"%d and something\n" % n)
    writer.flush()
    with gzip.open(tmp_path / "0.jsonl.gz", "rt") as handle:
        assert handle.read().splitlines() == [f"{n} and something" for n in range(50)]
    assert (tmp_path / "0.jsonl.gz").read_bytes().count(b"\x1f\x8b\x08") >= 7
    assert list(read_records(tmp_path / "1.jsonl.gz")) == []


def test_faults_of_a_manifest_are_listed_and_stop_nothing(tmp_path: Path) -> None:
    lacking = row(100, 1, 1)
    del lacking["recording"]
    rows = [json.dumps(r).encode() for r in (row(100, 1, 0), lacking, row(101, 1, 0), row(100, 1, 0), row(101, 1, 1))]
    path = tmp_path / "mine.jsonl"
    path.write_bytes(b"\n".join([*rows[:2], b"", b'{"id": "brok', *rows[2:]]) + b"\n")
    split_manifests([path], corpus(), tmp_path / "out")
    assert set(partitioned(tmp_path / "out")) == {row(100, 1, 0)["id"], row(101, 1, 0)["id"], row(101, 1, 1)["id"]}
    rejected = [(r["id"], r["reason"].split(": ")[0], r["source"]) for r in read_jsonl(tmp_path / "out/rejected.jsonl")]
    assert rejected == [
        (lacking["id"], "field missing", f"{path}:2"),
        ("mine.jsonl:4", "not JSON", f"{path}:4"),
        (row(100, 1, 0)["id"], "duplicate id", f"{path}:6"),
    ]


def test_a_truncated_gzip_gives_the_lines_it_has(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [row(100 + n % 5, 1, n, text=" ".join(map(str, rng.integers(0, 1e9, 20)))) for n in range(3000)]
    path = write(tmp_path / "mine.jsonl.gz", rows)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    summary = split_manifests([path], corpus(), tmp_path / "out")
    found = partitioned(tmp_path / "out")
    assert 1000 < len(found) < 2000 and summary["manifests"][0]["rejected"] == 1
    assert set(found) == {r["id"] for r in rows[: len(found)]}
    (rejected,) = read_jsonl(tmp_path / "out" / "rejected.jsonl")
    assert rejected["reason"].startswith(f"broken manifest: nothing can be read after line {len(found)}")
    assert rejected["id"] == f"mine.jsonl.gz:{len(found) + 1}"


# The ids are words, because a gzip file contains its time of creation, and pytest-xdist refuses to start if two workers
# collect different ids.
@pytest.mark.parametrize(
    "content",
    [b"", b"<html>not found</html>\n", gzip.compress(b""), gzip.compress(b"\n\n{}\n")],
    ids=["empty", "a page", "an empty gzip", "a gzip without a cut"],
)
def test_a_manifest_without_a_cut_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"mine\.jsonl\.gz: no line of it is a cut.*corpus\.manifests"):
        split_manifests([path], corpus(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_and_doubled_manifests_are_named(manifests: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.jsonl: no such file; corpus\.manifests"):
        split_manifests([tmp_path / "nowhere.jsonl"], corpus(), tmp_path / "out")
    with pytest.raises(UserError, match=r"corpus\.manifests: .*small.* is named twice"):
        split_manifests([*manifests, manifests[0]], corpus(), tmp_path / "out")
    with pytest.raises(UserError, match=r"corpus\.manifests: nothing is left to train on; give a manifest of train"):
        split_manifests(manifests[1:], corpus(), tmp_path / "out")


def test_splits_that_no_manifest_gives_are_whole_recordings(manifests: list[Path], tmp_path: Path) -> None:
    split_manifests(manifests[:1], corpus(valid_fraction=0.2, test_fraction=0.1), tmp_path / "out")
    records = partitioned(tmp_path / "out").values()
    where = {s: {r.recording for r in records if r.split == s} for s in ("train", "valid", "test")}
    assert all(where.values()) and sum(map(len, where.values())) == 16  # none is in two
    assert 0.1 < sum(r.split == "valid" for r in records) / len(records) < 0.3
    split_manifests(manifests[:2], corpus(test_fraction=0.1), tmp_path / "out")
    records = partitioned(tmp_path / "out").values()
    assert {r.speaker for r in records if r.split == "valid"} == {"900"}
    assert {r.split for r in records} == {"train", "valid", "test"}


def test_the_last_recording_stays_in_train(tmp_path: Path) -> None:
    path = write(tmp_path / "one.jsonl.gz", [row(100, 1, n) for n in range(5)])
    split_manifests([path], corpus(), tmp_path / "out")
    assert {r.split for r in partitioned(tmp_path / "out").values()} == {"train"}


def test_a_cap_in_hours_is_balanced_and_leaves_other_splits_alone(manifests: list[Path], tmp_path: Path) -> None:
    summary = split_manifests(manifests, corpus(hours=240 / 3600), tmp_path / "out")
    records = partitioned(tmp_path / "out").values()
    seconds: Counter[str] = Counter()
    for record in records:
        seconds[record.speaker] += record.duration
    assert seconds.pop("900") == seconds.pop("901") == 18
    assert sum(seconds.values()) == 240 and len(seconds) == 8
    assert max(seconds.values()) - min(seconds.values()) <= 12  # speaker 100 has 24 s, the level is 30.9
    assert summary["before"]["train"]["utterances"] == 88 and summary["after"]["train"]["utterances"] == 40
    assert 24 < summary["level_seconds"] < 36
    split_manifests(manifests, corpus(hours=120 / 3600), tmp_path / "less")
    assert len(set(partitioned(tmp_path / "less")) - {r.id for r in records}) <= 8
    with pytest.raises(UserError, match=r"nothing is left to train on; raise corpus\.hours"):
        split_manifests(manifests, corpus(hours=0.001), tmp_path / "none")


def test_duplicates_are_found_across_manifests_and_recordings(manifests: list[Path], tmp_path: Path) -> None:
    other = row(102, 1, 0)
    other["recording"]["id"] = "another recording"
    second = write(tmp_path / "more.jsonl.gz", [other, row(103, 1, 0), row(300, 1, 0)])
    summary = split_manifests([*manifests, second], corpus(), tmp_path / "out")
    records = partitioned(tmp_path / "out")
    assert len(records) == 95 and records[other["id"]].recording != "another recording"  # the first is kept
    rejected = list(read_jsonl(tmp_path / "out" / "rejected.jsonl"))
    assert [r["id"] for r in rejected] == [other["id"], row(103, 1, 0)["id"]]
    assert {r["reason"] for r in rejected} == {"duplicate id: the first is kept"} and summary["duplicates"] == 2


# Checked against the disk


def speech(seconds: float, seed: int, rate: int = RATE) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate))).astype(np.float32)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Four recordings of 40 s below librilight/."""
    for n, (speaker, chapter) in enumerate([(100, 1), (100, 2), (101, 1), (101, 2)]):
        path = file_of(tmp_path / "librilight", speaker, chapter)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(flac(speech(40, n)))
    return tmp_path / "librilight"


def file_of(root: Path, speaker: int, chapter: int) -> Path:
    return root / (BOOK.format(speaker, chapter) + ".flac")


def at(
    start: float, seconds: float, speaker: int = 100, chapter: int = 1, number: int = 0, text: str = "a sea"
) -> dict:
    return cut(BOOK.format(speaker, chapter), number, start, seconds, str(speaker), text, 40 * RATE)


def held(
    folder: Path, rows: list[dict], recordings: Recordings, **fields: Any
) -> tuple[dict[str, Cut], dict[str, str]]:
    """(cuts by id, rejects by id) of the rows in all shards."""
    path = write(folder / "mine.jsonl.gz", rows)
    settings = corpus(**({"shards": 2} | fields))
    split_manifests([path], settings, folder / "manifest")
    cuts, reasons = {}, {}
    for shard in range(settings.shards):
        names = folder / f"cuts.{shard}.jsonl.gz", folder / f"rejected.{shard}.jsonl"
        build_libriheavy_shard(settings, shard, folder / "manifest", recordings, *names)
        cuts |= {c.id: c for c in read_cuts(names[0])}
        reasons |= {r["id"]: r["reason"] for r in read_jsonl(names[1])}
    return cuts, reasons


def test_cuts_are_windows_of_the_recordings(disk: Path, tmp_path: Path) -> None:
    rows = [at(1.5, 4.0, text="\u201cMr. Jones\u2019s sea!\u201d"), at(20, 3.25, 101, 2)]
    cuts, _ = held(tmp_path, rows, Recordings([disk], {}))
    first = cuts[rows[0]["id"]]
    assert first.text == "mr jones's sea"
    assert first.original == rows[0]["supervisions"][0]["custom"]["texts"][0]
    assert (first.speaker, first.sampling_rate, first.num_samples) == ("100", RATE, 40 * RATE)
    assert np.abs(first.samples() - speech(40, 0)[24_000:88_000]).max() < 1e-4
    assert np.abs(cuts[rows[1]["id"]].samples() - speech(40, 3)[320_000:372_000]).max() < 1e-4
    asr, _ = held(tmp_path, rows, Recordings([disk], {}), text="asr")
    assert asr[rows[1]["id"]].original == "A SEA"


@pytest.mark.parametrize("moved", ["", "librilight", "download/librilight"])
@pytest.mark.parametrize("below", ["", "small"])
def test_recordings_are_found_in_the_usual_places(disk: Path, tmp_path: Path, moved: str, below: str) -> None:
    source, root = f"download/librilight/{BOOK.format(100, 1)}.flac", disk
    if moved:
        root = tmp_path / "elsewhere"
        (root / moved).parent.mkdir(parents=True)
        disk.rename(root / moved)
        below = below and f"{moved}/{below}"
    found = Recordings([tmp_path / "empty", root / below], {}).find(source)
    assert found and Path(found).is_file()
    assert Recordings([root / below], {}).find(source.replace("100", "999")) is None


def test_recordings_inside_a_tar_are_read_in_place(disk: Path, tmp_path: Path) -> None:
    files = {f"./{p.relative_to(disk)}": p.read_bytes() for p in sorted(disk.rglob("*.flac"))}
    tar = tmp_path / "small.tar"
    tar.write_bytes(tar_bytes(files))
    whole = tar.read_bytes()
    members = [{"member": name, "offset": whole.index(data), "size": len(data)} for name, data in files.items()]
    write_table(tmp_path / "index.parquet", members, INDEX)
    rows = [at(1.5, 4.0), at(39, 4.0, 101, 2)]
    cuts, reasons = held(tmp_path, rows, Recordings([tmp_path / "empty"], {str(tar): tmp_path / "index.parquet"}))
    assert cuts[rows[0]["id"]].path.startswith(f"{tar}#")
    assert np.abs(cuts[rows[0]["id"]].samples() - speech(40, 0)[24_000:88_000]).max() < 1e-4
    assert reasons[rows[1]["id"]].startswith("window past the end")


def test_each_fault_has_its_reason(disk: Path, tmp_path: Path) -> None:
    file_of(disk, 101, 1).write_bytes(flac(speech(40, 7, 8000), rate=8000))
    file_of(disk, 101, 2).write_bytes(b"garbage")
    file_of(disk, 100, 2).write_bytes(flac(speech(30, 1)))
    file_of(disk, 102, 1).parent.mkdir(parents=True)
    file_of(disk, 102, 1).write_bytes(flac(np.stack([speech(40, 1), speech(40, 2)], axis=1)))
    faults = [
        ("window past the end: it ends at 41.000 s, the recording at 40.000 s", at(37, 4, number=1)),
        ("too short: 0.20 s", at(1, 0.2, number=2)),
        ("too long: 35.00 s", at(1, 35, number=3)),
        ("empty text", at(1, 4, number=4, text="***")),
        ("letters that are not English: \u00e9 (U+00E9)", at(1, 4, number=5, text="cafe\u0301 au lait")),
        ("missing recording: not in", at(1, 4, 555)),
        ("sampling rate: 8000 Hz, the manifest says 16000", at(1, 4, 101, 1)),
        ("unreadable audio", at(1, 4, 101, 2)),
        ("window past the end: it ends at 34.000 s, the recording at 30.000 s", at(30, 4, chapter=2, number=1)),
        ("another channel: the file has 2 channels, the manifest says 1", at(1, 4, 102, 1)),
    ]
    good = [at(0, 3.5, number=8), at(36, 4.0005, number=9), at(26, 4, chapter=2)]  # half a millisecond may be rounding
    cuts, reasons = held(tmp_path, [*(row for _, row in faults), *good], Recordings([disk], {}), max_seconds=30)
    for reason, fault in faults:
        assert reasons[fault["id"]].startswith(reason), (reason, reasons[fault["id"]])
    assert {g["id"] for g in good} == set(cuts)
    assert len(cuts[good[1]["id"]].samples()) == 4 * RATE
    length = reasons[BOOK.format(100, 2)]
    assert length == "another length: the file has 480000 samples, the manifest says 640000"
    lenient, _ = held(tmp_path, [faults[4][1]], Recordings([disk], {}), english_only=False)
    assert lenient[faults[4][1]["id"]].text == "cafe au lait"


def test_rejects_carry_what_the_audit_counts_by(disk: Path, tmp_path: Path) -> None:
    lost = at(1, 4, 555)
    held(tmp_path, [at(0, 3), lost, at(0, 3), at(0, 3, 101)], Recordings([disk], {}), shards=4)
    listed = [{r["id"]: r for r in read_jsonl(tmp_path / f"rejected.{n}.jsonl")} for n in range(4)]
    assert listed[0][at(0, 3)["id"]]["reason"].startswith("duplicate id")  # a fault of the manifest: in shard 0
    rows = {name: row for rows in listed for name, row in rows.items()}
    found = {name: rows[lost["id"]][name] for name in ("speaker", "recording", "seconds")}
    assert found == {"speaker": "555", "recording": BOOK.format(555, 1), "seconds": 4.0}
    assert rows[lost["id"]]["split"] in ("train", "valid", "test")
    assert rows[lost["id"]]["source"] == f"download/librilight/{BOOK.format(555, 1)}.flac"


def test_a_truncated_recording_gives_the_cuts_that_can_be_decoded(disk: Path, tmp_path: Path) -> None:
    path = file_of(disk, 100, 1)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])  # about 20 s of 40
    rows = [at(1 + 2 * n, 1.9, number=n) for n in range(19)]
    cuts, reasons = held(tmp_path, rows, Recordings([disk], {}))
    ends = [r["start"] + r["duration"] for r in rows if r["id"] in cuts]
    assert 8 <= len(ends) <= 10 and max(ends) < 21
    assert all(reasons[r["id"]].startswith("truncated audio") for r in rows if r["id"] not in cuts)
    assert all(len(c.samples()) == round(1.9 * RATE) for c in cuts.values())


def test_a_recording_is_opened_once_for_all_its_cuts(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: Counter[str] = Counter()

    def counting(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: str, *args: float) -> Any:
            opened[path] += 1
            return function(path, *args)

        return call

    for name in ("audio_info", "can_decode"):
        monkeypatch.setattr(libriheavy, name, counting(getattr(libriheavy, name)))
    rows = [at(n, 0.9, speaker, number=n) for n in range(30) for speaker in (100, 101)]
    cuts, _ = held(tmp_path, rows, Recordings([disk], {}))
    assert len(cuts) == 60 and set(opened.values()) == {2}  # for its header, and for its end


def test_asr_text_if_there_is_none(disk: Path, tmp_path: Path) -> None:
    plain = at(1, 4)
    plain["supervisions"][0] |= {"custom": None, "text": "one text"}
    _, reasons = held(tmp_path, [plain], Recordings([disk], {}), text="asr")
    assert reasons[plain["id"]].startswith("no ASR text: ")
