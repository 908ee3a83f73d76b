"""A natural corpus spoken again: the same utterances with other audio, and what is left out of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechladder.alignment.run import align_shard
from speechladder.corpora import respeak
from speechladder.corpora.audit import audit_corpus
from speechladder.corpora.cuts import Cut, read_cuts, write_cuts
from speechladder.corpora.local import build_local_shard
from speechladder.corpora.respeak import speak_shard, voice_of
from speechladder.corpora.speak import voices
from speechladder.io.errors import UserError
from speechladder.io.files import read_jsonl
from speechladder.io.tables import ALIGNMENT, read_table
from speechladder.settings import Alignment, Corpus

TEXTS = {
    "anna": ["The dog sleeps. It is 21, they say.", "A girl, who sings, walks home", "The dog sleeps."],
    "bert": ["O'Brien's café closed at noon!", "THE COOKS NEAR THE WINDOW BAKE BREAD", "Yes"],
}
FILES = {"recorded": "recorded/cuts.0.jsonl.gz", "recorded_rejected": "recorded/rejected.0.jsonl"}
FILES |= {"cuts": "cuts.0.jsonl.gz", "audio": "audio/0", "truth": "truth.0.parquet", "rejected": "rejected.0.jsonl"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Recordings of half a second, far shorter than their texts take, and one that has no transcript."""
    root = tmp_path_factory.mktemp("My Speech")
    wave = 0.3 * np.sin(np.arange(8_000) / 10)
    for speaker, texts in TEXTS.items():
        chapter = root / ("test" if speaker == "bert" else "train") / speaker / "c"
        chapter.mkdir(parents=True)
        for number in range(len(texts)):
            soundfile.write(chapter / f"{speaker} {number}.flac", wave, 16_000)
        lines = [f"{speaker} {number} {text}\n" for number, text in enumerate(texts)]
        (chapter / f"{speaker}.trans.txt").write_text("".join(lines))
    soundfile.write(chapter / "untranscribed.flac", wave, 16_000)
    return root


def speak(corpus: Path, folder: Path, seed: int = 0, **settings: float) -> dict[str, Path]:
    """The files of a shard of recordings, and of the speech that is made of it."""
    given = Corpus(name="local", path=str(corpus), shards=1, speech="synthesized", **{"max_rejected": 1.0} | settings)
    paths = {name: folder / path for name, path in FILES.items()}
    build_local_shard(given, 0, paths["recorded"], paths["recorded_rejected"])
    speak_shard(given, seed=seed, **paths)
    return paths


@pytest.fixture(scope="module")
def spoken(corpus, tmp_path_factory) -> dict[str, Path]:
    return speak(corpus, tmp_path_factory.mktemp("spoken"))


def same(cut: Cut) -> Cut:
    """What a cut has in common with the one that is spoken again."""
    return replace(cut, path="", start=0, duration=0, sampling_rate=0, num_samples=0)


def test_utterances_stay_what_they_are_and_get_other_audio_with_exact_times(spoken):
    before, after = ({c.id: c for c in read_cuts(spoken[name])} for name in ("recorded", "cuts"))
    assert {name: same(cut) for name, cut in after.items()} == {name: same(cut) for name, cut in before.items()}
    assert len(after) == sum(map(len, TEXTS.values())) and {c.split for c in after.values()} == {
        "train",
        "valid",
        "test",
    }
    rows = read_table(spoken["truth"], ALIGNMENT).to_pylist()
    assert [row["id"] for row in rows] == list(after)
    for row in rows:
        cut = after[row["id"]]
        assert Path(cut.path).parent == spoken["audio"] and soundfile.info(cut.path).frames == cut.num_samples
        assert row["seconds"] == cut.duration == len(cut.samples()) / 16_000 != before[cut.id].duration
        assert [word["label"] for word in row["words"]] == cut.text.split()
        ends = [0.0, *(phone["end"] for phone in row["phones"])]
        assert [phone["start"] for phone in row["phones"]] == ends[:-1] and ends[-1] == cut.duration
        inner = [phone["label"] for phone in row["phones"][1:-1]]
        assert ("SIL" in inner) == ("," in cut.original)  # a pause


def test_the_same_seed_gives_the_same_bytes_and_another_one_other_speech(corpus, spoken, tmp_path):
    def content(paths: dict[str, Path]) -> list[bytes]:
        flacs = [path.read_bytes() for path in sorted(paths["audio"].iterdir())]
        return [*flacs, paths["truth"].read_bytes(), paths["rejected"].read_bytes()]

    assert content(speak(corpus, tmp_path / "again")) == content(spoken)
    assert content(speak(corpus, tmp_path / "other", seed=1)) != content(spoken)


def test_a_speaker_keeps_a_voice_and_varies_from_utterance_to_utterance(spoken):
    most = max((voices(level) for level in range(4)), key=len)
    drawn = [voice_of(f"speaker {number}", 0) for number in range(10 * len(most))]
    assert {voice.name for voice in drawn} == {voice.name for voice in most}
    assert drawn[7] == voice_of("speaker 7", 0)
    assert drawn != [voice_of(f"speaker {number}", 1) for number in range(len(drawn))]
    rows = {row["id"]: row for row in read_table(spoken["truth"], ALIGNMENT).to_pylist()}
    first, again = (rows[name]["words"][2]["end"] - rows[name]["words"][0]["start"] for name in ("anna 0", "anna 2"))
    assert first != again and TEXTS["anna"][0].startswith(TEXTS["anna"][2])


def test_what_cannot_be_spoken_or_is_too_long_is_listed_after_the_faults_of_the_recordings(
    corpus, tmp_path, monkeypatch
):
    real = respeak.speak

    def refuses(text, *arguments):
        if text.startswith("O'Brien"):
            raise UserError("espeak-ng emitted the phoneme 'Q^'")
        return real(text, *arguments)

    monkeypatch.setattr(respeak, "speak", refuses)
    paths = speak(corpus, tmp_path, max_seconds=2.5)
    rows = {row["id"]: row for row in read_jsonl(paths["rejected"])}
    assert next(iter(rows)) == "untranscribed"
    assert rows["bert 0"]["reason"] == "cannot be spoken: espeak-ng emitted the phoneme 'Q^'"
    assert (rows["bert 0"]["split"], rows["bert 0"]["speaker"]) == ("test", "bert")
    assert rows["anna 0"]["reason"].startswith("too long: ")
    kept = [cut.id for cut in read_cuts(paths["cuts"])]
    assert not set(kept) & set(rows) and len(kept) + len(rows) == 7
    assert [row["id"] for row in read_table(paths["truth"], ALIGNMENT).to_pylist()] == kept
    figures = audit_corpus([paths["cuts"]], [paths["rejected"]], tmp_path / "audit.json", tmp_path / "audit.tsv", 1.0)
    assert (figures["utterances"], figures["rejected"]) == (len(kept), len(rows))
    assert {"no transcript", "cannot be spoken", "too long"} <= figures["reasons"].keys()
    with pytest.raises(UserError, match=r"of 6 utterances rejected, more than corpus\.max_rejected = 0\.15"):
        speak(corpus, tmp_path / "strict", max_seconds=2.5, max_rejected=0.15)


def test_the_cuts_of_a_recording_are_windows_into_one_file(tmp_path):
    def cut(number: int, recording: str) -> Cut:
        return Cut(
            f"small/{number}", recording, "x#0+9", 5.0 * number, 4.0, "9", "train", "a word", "A word", 8_000, 10**6
        )

    paths = {name: tmp_path / path for name, path in FILES.items()}
    write_cuts(paths["recorded"], [cut(0, "a/b"), cut(1, "c"), cut(2, "a/b")])
    paths["recorded_rejected"].write_text("")
    speak_shard(Corpus(), **paths)
    after = list(read_cuts(paths["cuts"]))
    assert [c.id for c in after] == ["small/0", "small/2", "small/1"]
    assert after[0].path == after[1].path != after[2].path
    assert after[0].start == 0 and after[0].start + after[0].duration < after[1].start
    assert len(list(paths["audio"].iterdir())) == 2


def test_its_truth_is_an_alignment(spoken, tmp_path):
    out, rejected = tmp_path / "0.parquet", tmp_path / "rejected.0.jsonl"
    align_shard(spoken["cuts"], Alignment(aligner="truth"), out, rejected, truth=spoken["truth"])
    assert read_table(out, ALIGNMENT).equals(read_table(spoken["truth"], ALIGNMENT)) and not rejected.read_text()
