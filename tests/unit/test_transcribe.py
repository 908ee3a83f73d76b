"""From symbols to words on every kind of rung, with an ASR and a vocoder that record their inputs."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from speechladder.continuation import transcribe
from speechladder.continuation.asr import read_cases
from speechladder.continuation.asr import whisper as asr_whisper
from speechladder.continuation.asr.text import english_normaliser
from speechladder.continuation.lexicon import Lexicon
from speechladder.continuation.second_asr import transcribe_second
from speechladder.continuation.transcribe import (
    PAUSE,
    Transcriber,
    collapse_runs,
    corpus_lexicon,
    drop_partial_word,
    transcribe_reference,
    transcribe_rung,
)
from speechladder.corpora.speak import pronounce
from speechladder.io.audio import encode_flac, read_audio
from speechladder.io.errors import UserError
from speechladder.io.tables import CONTINUATIONS, PROMPTS, REFERENCE, TRANSCRIPTS, UNITS, read_table, write_table
from speechladder.settings import Continuation
from tests.unit.test_asr import TEXTS, save_corpus, save_whisper

PHONES = ["DH", "AH", "K", "AW", "SIL"]
SYMBOLS = {
    "text-bpe": [*"two\u2581cows"],
    "phone-raw": PHONES,
    "phone-repeat": [phone for phone in PHONES for _ in range(6)],
    "speech-hubert": ["u3", "u3", "u1"],
    "speech-hubert-dedup": ["u3", "u1"],
}


class FakeASR:
    """An ASR that transcribes audio as the number of its samples, and keeps the audio; `counted` per call."""

    counted: ClassVar[dict[str, int]] = {}

    def __init__(self) -> None:
        self.normalise, self.cases = english_normaliser(), Counter()
        self.given: list[np.ndarray] = []

    def transcribe(self, utterances: list[np.ndarray]) -> list[str]:
        self.given += utterances
        self.cases.update(self.counted)
        return [f"{len(samples)} Samples!" if len(samples) else "" for samples in utterances]


class FakeVocoder:
    """A vocoder that turns each unit into 320 samples of a thousandth of its number."""

    clusters = 5

    def speak(self, units: np.ndarray) -> np.ndarray:
        return np.repeat(units / 1000, 320).astype(np.float32)

    def durations(self, units: np.ndarray) -> np.ndarray:
        return units + 1


@pytest.fixture
def prompts(tmp_path) -> Path:
    rng = np.random.default_rng(0)
    rows = []
    for id in ("a/1", "b"):
        samples = rng.normal(0, 0.1, 32_000).astype(np.float32)
        for part, text, n in (("prompt", "the farmer", 16_000), ("whole", "the farmer sees a cow", 32_000)):
            row = {
                "item": f"{id}|{part}",
                "id": id,
                "part": part,
                "voice": "v",
                "text": text,
                "words": [],
                "phones": [],
            }
            rows.append(row | {"seconds": n / 16_000, "audio": encode_flac(samples[:n])})
    write_table(tmp_path / "prompts.parquet", rows, PROMPTS)
    return tmp_path / "prompts.parquet"


def save_said(folder: Path, rung: str, ids: tuple[str, ...] = ("a/1", "b"), ended: bool = True) -> Path:
    """Write the true continuations and two samples of one model, of which the second is empty."""
    common = {"tokens": [], "ended": ended}
    rows = [common | {"id": i, "seed": -1, "sample": -1, "symbols": SYMBOLS[rung]} for i in ids]
    rows += [
        common | {"id": i, "seed": 4, "sample": k, "symbols": [] if k else SYMBOLS[rung]} for i in ids for k in (0, 1)
    ]
    write_table(folder / "tokens.parquet", rows, CONTINUATIONS)
    return folder / "tokens.parquet"


@pytest.fixture(autouse=True)
def fakes(monkeypatch) -> None:
    """A vocoder and a lexicon for every rung; `transcript_rows` sets the ASR."""
    lexicon = Lexicon.from_words(["the", "cow", "farmer"], pronounce)
    monkeypatch.setattr(transcribe, "load_vocoder", lambda *_: FakeVocoder())
    monkeypatch.setattr(transcribe, "corpus_lexicon", lambda *_: lexicon)


def transcript_rows(rung: str, prompts: Path, folder: Path, asr: FakeASR, examples: int = 1) -> list[dict]:
    said = save_said(folder, rung)
    out, options = folder / "transcripts.parquet", Continuation(examples=examples)
    more = {"vocoder_folder": folder / "vocoder", "cuts": [folder / "cuts"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transcribe, "load_asr", lambda *_: asr)
        transcribe_rung(rung, said, prompts, out, folder / "examples", options, **more)
    return read_table(out, TRANSCRIPTS).to_pylist()


@pytest.mark.parametrize("rung", SYMBOLS)
def test_every_rung_is_transcribed(rung, prompts, tmp_path) -> None:
    asr = FakeASR()
    rows = transcript_rows(rung, prompts, tmp_path, asr)
    assert [(r["id"], r["seed"], r["sample"]) for r in rows] == [
        *(("a/1", -1, -1), ("b", -1, -1), ("a/1", 4, 0), ("a/1", 4, 1), ("b", 4, 0), ("b", 4, 1))
    ]
    assert all(row["transcript"] == row["direct"] == "" and row["seconds"] == 0 for row in rows if row["sample"] == 1)
    full = rows[2]
    if rung == "text-bpe":
        assert full["transcript"] == "2 cows" and full["seconds"] == 0 and not asr.given
    else:
        assert full["transcript"] == f"{round(16_000 * full['seconds'])} samples" and full["seconds"] > 0
    assert full["direct"] == ("the cow" if rung.startswith("phone") else "")
    if rung == "phone-repeat":
        assert full["seconds"] == pytest.approx(5 * 6 / 50)
    if rung == "speech-hubert":
        assert full["seconds"] == pytest.approx(3 / 50)
    if rung == "speech-hubert-dedup":
        assert full["seconds"] == pytest.approx((4 + 2) / 50)
        assert np.allclose(asr.given[0][::320], np.array([3, 3, 3, 3, 1, 1]) / 1000)


@pytest.mark.parametrize("rung", ["text-bpe", "phone-raw", "speech-hubert"])
def test_examples_are_prompt_pause_and_what_was_said(rung, prompts, tmp_path) -> None:
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "old.flac").write_bytes(b"")
    rows = transcript_rows(rung, prompts, tmp_path, FakeASR())
    folder = tmp_path / "examples"
    assert sorted(path.name for path in folder.iterdir()) == ["a_1.flac", "transcripts.json"]
    samples = read_audio(folder / "a_1.flac")
    whole = read_table(prompts, PROMPTS).to_pylist()[0]
    assert np.array_equal(samples[:16_000], read_audio(whole["audio"])) and not samples[16_000 : 16_000 + PAUSE].any()
    said = samples[16_000 + PAUSE :]
    assert said.any() and (rung == "text-bpe" or len(said) == round(16_000 * rows[2]["seconds"]))
    (about,) = json.loads((folder / "transcripts.json").read_text())
    assert about["name"] == "a_1" and about["prompt"] == "the farmer" and about["transcript"] == rows[2]["transcript"]


def test_nothing_is_kept_and_the_folder_is_there(prompts, tmp_path) -> None:
    transcript_rows("speech-hubert", prompts, tmp_path, FakeASR(), examples=0)
    assert [path.name for path in (tmp_path / "examples").iterdir()] == ["transcripts.json"]


def test_the_same_symbols_sound_the_same_alone_or_among_others(prompts, tmp_path, monkeypatch) -> None:
    one, many = FakeASR(), FakeASR()
    rows = transcript_rows("phone-raw", prompts, tmp_path, many)
    monkeypatch.setattr(transcribe, "BATCH", 1)
    assert transcript_rows("phone-raw", prompts, tmp_path, one) == rows
    assert all(np.array_equal(a, b) for a, b in zip(one.given, many.given, strict=True))


def test_inputs_that_do_not_match_are_user_errors(prompts, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(transcribe, "load_asr", lambda *_: FakeASR())
    for rung, said, what in (
        ("speech-hubert", save_said(tmp_path, "speech-hubert"), "vocoder"),
        ("text-bpe", save_said(tmp_path, "text-bpe", ids=("c",)), "'c' is not in"),
    ):
        with pytest.raises(UserError, match=what):
            transcribe_rung(rung, said, prompts, tmp_path / "h", tmp_path / "e", Continuation())


def test_text_whose_time_was_up_is_read_up_to_its_last_whole_word(prompts, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(transcribe, "load_asr", lambda *_: FakeASR())
    said = save_said(tmp_path, "text-bpe", ended=False)  # "two cows", which for a model may be "two cowsheds"
    out = tmp_path / "transcripts.parquet"
    transcribe_rung("text-bpe", said, prompts, out, tmp_path / "examples", Continuation())
    found = {(r["seed"], r["sample"]): r["transcript"] for r in read_table(out, TRANSCRIPTS).to_pylist()}
    assert found == {(-1, -1): "2 cows", (4, 0): "2", (4, 1): ""}
    assert drop_partial_word(["\u2581", *"cow"]) == ["\u2581", *"cow"]  # a single word is kept
    assert drop_partial_word([*"#two#cow"]) == [*"#two"] and drop_partial_word([*"#cow"]) == [*"#cow"]
    assert drop_partial_word([*"two\u2581#\u2581cow"]) == [*"two\u2581#"]


def test_the_pauses_of_text_are_spoken_and_not_judged(monkeypatch) -> None:
    said = []
    monkeypatch.setattr(transcribe, "text_to_speech", lambda text, *_: said.append(text) or np.zeros(9, np.float32))
    spoken = Transcriber("text", FakeASR())
    for symbols in ("#two\u2581cows#eat", "\u2581#\u2581two\u2581cows\u2581#\u2581eat"):
        spoken.speak([*symbols], 0)
        assert spoken.transcribe([[*symbols]], [0])[0] == ["2 cows eat"]  # as the normaliser of the ASR writes it
    assert said == ["two cows. eat"] * 2


def test_runs_and_pauses_alone() -> None:
    assert collapse_runs(["a", "a", "b", "a"]) == (["a", "b", "a"], [2, 1, 1]) and collapse_runs([]) == ([], [])
    asr = FakeASR()
    texts, audio = Transcriber("phones", asr).transcribe([["SIL"], []], [0, 1])
    assert texts == ["", ""] and [len(x) for x in audio] == [0, 0]


def test_true_continuations_on_three_paths(prompts, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(transcribe, "load_asr", lambda *_: FakeASR())
    with_units = {"units": tmp_path / "units.parquet", "vocoder_folder": tmp_path / "vocoder"}
    rows = [{"id": f"{id}|{part}", "units": [k % 5 for k in range(n)]} for id in ("a/1", "b")
            for part, n in (("prompt", 49), ("whole", 99))]  # fmt: skip
    write_table(tmp_path / "units.parquet", rows, UNITS)
    transcribe_reference(prompts, tmp_path / "out.parquet", Continuation(), **with_units)
    found = read_table(tmp_path / "out.parquet", REFERENCE).to_pylist()
    assert [(r["path"], r["id"]) for r in found] == [
        (path, id) for path in ("natural", "tts", "resynthesis") for id in ("a/1", "b")
    ]
    assert {r["reference"] for r in found} == {"sees a cow"}
    assert found[0]["transcript"] == "16000 samples" and found[4]["transcript"] == f"{50 * 320} samples"
    transcribe_reference(prompts, tmp_path / "out.parquet", Continuation())
    assert len(read_table(tmp_path / "out.parquet", REFERENCE)) == 4
    write_table(tmp_path / "units.parquet", rows[:1], UNITS)
    with pytest.raises(UserError, match=r"lack 'a/1\|whole'"):
        transcribe_reference(prompts, tmp_path / "out.parquet", Continuation(), **with_units)


def test_what_whispers_rules_did_is_kept_with_the_transcripts(prompts, tmp_path, monkeypatch) -> None:
    transcript_rows("phone-raw", prompts, tmp_path, FakeASR())
    assert read_cases(tmp_path / "transcripts.parquet") == {}
    monkeypatch.setattr(FakeASR, "counted", {"parts": 2, "repetitive": 1})
    transcript_rows("phone-raw", prompts, tmp_path, FakeASR())
    assert read_cases(tmp_path / "transcripts.parquet") == {"parts": 2, "repetitive": 1}  # one batch
    transcript_rows("text-bpe", prompts, tmp_path, FakeASR())
    assert read_cases(tmp_path / "transcripts.parquet") == {}  # no ASR
    monkeypatch.setattr(transcribe, "load_asr", lambda *_: FakeASR())
    transcribe_reference(prompts, tmp_path / "out.parquet", Continuation())
    assert read_cases(tmp_path / "out.parquet") == {"parts": 2, "repetitive": 1}


def test_a_second_recogniser_hears_the_truth_and_the_examples(prompts, tmp_path, monkeypatch) -> None:
    rungs = ["text-bpe", "phone-raw"]
    for rung in rungs:
        (tmp_path / rung).mkdir()
        rows = transcript_rows(rung, prompts, tmp_path / rung, FakeASR(), examples=2)
    second, loaded = FakeASR(), []
    monkeypatch.setattr(FakeASR, "counted", {"parts": 1})
    monkeypatch.setattr(asr_whisper, "load_whisper", lambda *given: loaded.append(given) or second)
    settings, folders = Continuation(second_asr="a/b"), [tmp_path / rung / "examples" for rung in rungs]
    transcribe_second(prompts, rungs, folders, tmp_path / "second.json", settings)
    found = json.loads((tmp_path / "second.json").read_text())
    assert loaded == [("a/b", "continuation.second_asr")] and found["asr"] == "Whisper a/b"
    assert found["wer"] == {"natural": 1.0, "tts": 1.0} and found["asr_cases"] == {"parts": 3}
    text, phones = (found["examples"][rung] for rung in rungs)
    assert [row["name"] for row in text["transcripts"]] == ["a_1", "b"]
    assert [row["first"] for row in text["transcripts"]] == ["2 cows"] * 2 and text["wer_to_first"] > 0
    # the same samples as the first recogniser had, without the prompt and the pause
    assert phones["wer_to_first"] == 0 and phones["transcripts"][0]["second"] == rows[2]["transcript"]
    with pytest.raises(UserError, match="names 1 rungs, --example-folders 2"):
        transcribe_second(prompts, rungs[:1], folders, tmp_path / "second.json", settings)
    (folders[0] / "transcripts.json").write_text(json.dumps([{"name": "a_1", "prompt": "?", "transcript": ""}]))
    with pytest.raises(UserError, match=r"examples: a_1 is of no prompt of .*prompts\.parquet"):
        transcribe_second(prompts, rungs, folders, tmp_path / "second.json", settings)


def test_the_script_of_the_second_recogniser(prompts, tmp_path, root) -> None:
    transcript_rows("text-bpe", prompts, tmp_path, FakeASR())
    whisper, out = save_whisper(tmp_path / "my whisper"), tmp_path / "second.json"
    words = ["--prompts-file", prompts, "--units", "--vocoder-folder", "--rungs", "text-bpe", "--example-folders"]
    words += [tmp_path / "examples", "--out", out, "--second-asr", whisper]
    command = [sys.executable, root / "scripts" / "transcribe_second.py", *words]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert found["asr"] == f"Whisper {whisper}" and found["asr_cases"]["parts"] == 2 * 2 + 1
    assert found["wer"].keys() == {"natural", "tts"} and len(found["examples"]["text-bpe"]["transcripts"]) == 1


def test_scripts_transcribe_a_rung_of_phones_without_torch(prompts, tmp_path, root) -> None:
    cuts, table = save_corpus(tmp_path, TEXTS)
    lexicon = corpus_lexicon([cuts], [table])
    assert lexicon.words(PHONES) == "the cow"
    said = save_said(tmp_path, "phone-raw")
    code = "import sys, runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__');"
    code += "assert 'torch' not in sys.modules"

    def script(name: str, *arguments: object) -> None:
        command = [sys.executable, "-c", code, root / "scripts" / name, *arguments]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    script("build_asr.py", "--cuts", cuts, "--alignments", table, "--out", tmp_path / "asr")
    script(
        "transcribe_rung.py", "--rung", "phone-raw", "--tokens", said, "--prompts-file", prompts, "--asr-folder",
        tmp_path / "asr", "--vocoder-folder", "--cuts", cuts, "--alignments", table, "--out",
        tmp_path / "transcripts.parquet", "--examples-out", tmp_path / "examples", "--examples", 2,
    )  # fmt: skip
    row = read_table(tmp_path / "transcripts.parquet", TRANSCRIPTS).to_pylist()[0]
    assert row["direct"] == "the cow" and "cow" in row["transcript"]
    assert len(list((tmp_path / "examples").glob("*.flac"))) == 2
    script(
        "transcribe_reference.py", "--prompts-file", prompts, "--asr-folder", tmp_path / "asr", "--vocoder-folder",
        "--out", tmp_path / "reference.parquet",
    )  # fmt: skip
    assert len(read_table(tmp_path / "reference.parquet", REFERENCE)) == 4
