"""Resynthesis of held-out speech from units: frames of a table, a tiny run of the stages, and the rates of error."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from speechladder.analysis.resynthesis import make_resynthesis
from speechladder.continuation import resynthesis
from speechladder.continuation.asr.text import english_normaliser, wer, word_errors
from speechladder.continuation.resynthesis import choose_held_out, transcribe_held_out, transcribe_resynthesis
from speechladder.continuation.vocoder.frames import read_frames
from speechladder.corpora.cuts import Cut, write_cuts
from speechladder.io.audio import encode_flac, frame_count
from speechladder.io.errors import UserError
from speechladder.io.tables import EXTERNAL_UNITS, REFERENCE, UNITS, read_table, write_table
from speechladder.settings import Analysis, Continuation, load
from speechladder.units.durations import expand
from speechladder.workflow.grids import QuestionInputs
from speechladder.workflow.inputs import Inputs

ANALYSIS = Analysis(resamples=500)


# --- units with durations ---


def test_units_are_repeated_over_their_durations():
    found = expand(np.array([7, 3, 7], np.uint16), np.array([2, 1, 3], np.uint16))
    assert found.dtype == np.uint16 and found.tolist() == [7, 7, 3, 7, 7, 7]
    assert expand(np.zeros(0, np.uint16), np.zeros(0, np.uint16)).shape == (0,)
    with pytest.raises(ValueError, match="3 units and 2 durations"):
        expand(np.arange(3), np.arange(2))


def test_the_frames_of_a_table_with_and_without_durations(tmp_path):
    rows = [{"id": "a", "units": [1, 2], "durations": [3, 1]}, {"id": "b", "units": [4, 4, 5], "durations": None}]
    rows = [row | {"seconds": 1.0} for row in rows]
    write_table(tmp_path / "given.parquet", rows, EXTERNAL_UNITS, rate="50")
    found = read_frames(tmp_path / "given.parquet", ["a", "b", "c"])
    assert {id: row.tolist() for id, row in found.items()} == {"a": [1, 1, 1, 2], "b": [4, 4, 5]}
    write_table(tmp_path / "own.parquet", [{k: row[k] for k in UNITS.names} for row in rows], UNITS, layer="3")
    assert [row.tolist() for row in read_frames(tmp_path / "own.parquet", {"a"}).values()] == [[1, 2]]
    for rate in ("25", "0"):
        write_table(tmp_path / "other.parquet", rows, EXTERNAL_UNITS, rate=rate)
        with pytest.raises(UserError, match=rf"other\.parquet: these units have the rate {rate}"):
            read_frames(tmp_path / "other.parquet", {"a"})


# --- the stages on a tiny corpus of two sounds ---


WORDS = {"a": 0, "b": 1}  # a is a tone, b is noise
EACH = 30  # frames of a word


def sound(words: str, rng: np.random.Generator) -> np.ndarray:
    n = 320 * EACH
    tone = sum(np.sin(2 * np.pi * 120 * k * np.arange(n) / 16_000) for k in range(1, 8)) / 14
    parts = [tone if word == "a" else 0.1 * rng.standard_normal(n) for word in words.split()]
    return np.concatenate([*parts, np.zeros(80)]).astype(np.float32)


class Ear:
    """An ASR that hears a tone as a and noise as b, word by word."""

    def __init__(self) -> None:
        self.normalise = english_normaliser()

    def transcribe(self, utterances: list[np.ndarray]) -> list[str]:
        return [" ".join(map(self._word, np.array_split(x, len(x) // (320 * EACH)))) for x in utterances]

    @staticmethod
    def _word(samples: np.ndarray) -> str:
        spectrum = np.abs(np.fft.rfft(samples)) ** 2
        low = spectrum[: int(1000 * len(samples) / 16_000)].sum() / spectrum.sum()
        return "a" if low > 0.6 else "b"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> SimpleNamespace:
    """Cuts of two shards; a unit for each word, with its duration; and units that are all the same."""
    folder, rng = tmp_path_factory.mktemp("corpus"), np.random.default_rng(0)
    paths: dict[str, list[Path]] = {"cuts": [], "units": [], "same": []}
    for shard in range(2):
        cuts, units, same = [], [], []
        for k in range(8):
            name, split = f"u{shard}{k}", ("train", "train", "train", "train", "train", "valid", "test", "test")[k]
            words = " ".join(rng.permutation([*"aabb"]))
            samples = sound(words, rng)
            path, n = str(folder / f"{name}.flac"), len(samples)
            Path(path).write_bytes(encode_flac(samples))
            cuts.append(Cut(name, name, path, 0.0, n / 16_000, "s", split, words, words, 16_000, n))
            units.append({"id": name, "units": [WORDS[w] for w in words.split()], "durations": [EACH] * 4})
            units[-1]["seconds"] = n / 16_000
            assert sum(units[-1]["durations"]) == frame_count(n)
            same.append({"id": name, "units": [0] * frame_count(n)})
        for what in paths:
            paths[what].append(folder / f"{what}.{shard}")
        write_cuts(paths["cuts"][-1], cuts)
        write_table(paths["units"][-1], units, EXTERNAL_UNITS)
        write_table(paths["same"][-1], same, UNITS)
    return SimpleNamespace(folder=folder, **paths)


@pytest.fixture
def ear(monkeypatch) -> None:
    monkeypatch.setattr(resynthesis, "load_asr", lambda *_: Ear())


def resynthesised(corpus: SimpleNamespace, what: str, out: Path) -> Path:
    """Train a vocoder on units of the corpus, and hear the held-out utterances that it speaks."""
    from speechladder.continuation.vocoder.train import train_vocoder  # imports torch, which the other tests do without

    settings, units = Continuation(vocoder_steps=60, vocoder_minutes=1), getattr(corpus, what)
    train_vocoder(corpus.cuts, units, out / f"vocoder-{what}", settings, 2, seed=0)
    place = out / f"{what}.parquet"
    transcribe_resynthesis(out / "held_out", units, out / f"vocoder-{what}", place, settings, clusters=2)
    return place


def test_units_that_tell_the_words_apart_are_heard_and_others_are_not(corpus, ear, tmp_path):
    transcribe_held_out(corpus.cuts, tmp_path / "held_out", Continuation(), seed=0)
    original = read_table(tmp_path / "held_out", REFERENCE).to_pylist()
    assert {row["id"] for row in original} == {"u05", "u06", "u07", "u15", "u16", "u17"}
    assert all(row["path"] == "natural" and row["transcript"] == row["reference"] for row in original)
    own, other = (resynthesised(corpus, what, tmp_path) for what in ("units", "same"))
    rows = read_table(own, REFERENCE).to_pylist()
    assert [(row["id"], row["reference"]) for row in rows] == [(row["id"], row["reference"]) for row in original]
    make_resynthesis(tmp_path / "held_out", own, tmp_path / "own.json", ANALYSIS)
    found = json.loads((tmp_path / "own.json").read_text())
    assert (found["utterances"], found["words"], found["wer"], found["original"]["wer"]) == (6, 24, 0, 0)
    assert found["above_run"] is None and found["above_original"]["p_value"] == 1
    make_resynthesis(tmp_path / "held_out", other, tmp_path / "other.json", ANALYSIS, own)
    found = json.loads((tmp_path / "other.json").read_text())
    assert found["wer"] == 0.5 == found["above_run"]["difference"]  # one sound for all words
    assert found["above_run"]["low"] > 0 and found["above_run"]["p_value"] < 0.05


def test_held_out_utterances_are_a_draw_that_grows(corpus, tmp_path):
    every = choose_held_out(corpus.cuts, 10, seed=0)
    assert {cut.split for cut in every} == {"valid", "test"} and len(every) == 6
    few = choose_held_out(corpus.cuts, 2.5 * every[0].duration / 60, seed=0)
    assert few == every[:2] and choose_held_out(corpus.cuts[::-1], 10, seed=0) == every
    assert choose_held_out(corpus.cuts, 10, seed=1) != every
    assert len(choose_held_out(corpus.cuts, 1e-6, seed=0)) == 1
    write_cuts(tmp_path / "train", [cut for cut in every if cut.split == "train"])
    with pytest.raises(UserError, match=r"no utterance of test or valid.*corpus\.test_fraction"):
        choose_held_out([tmp_path / "train"], 10, seed=0)


def test_what_has_no_units_or_no_audio_is_left_out(corpus, ear, tmp_path):
    first, second, *_ = choose_held_out(corpus.cuts, 10, seed=0)
    lost = Cut(**(vars(second) | {"path": str(tmp_path / "lost.flac")}))
    write_cuts(tmp_path / "cuts", [first, lost])
    transcribe_held_out([tmp_path / "cuts"], tmp_path / "held_out", Continuation())
    assert read_table(tmp_path / "held_out", REFERENCE)["id"].to_pylist() == [first.id]
    write_table(tmp_path / "none", [], UNITS)
    with pytest.raises(UserError, match="held_out: none of its utterances is in"):
        transcribe_resynthesis(tmp_path / "held_out", [tmp_path / "none"], tmp_path, tmp_path / "x", Continuation())


# --- rates of error ---


def save(path: Path, what: str, **texts: tuple[str, str]) -> Path:
    rows = [{"path": what, "id": id, "reference": r, "transcript": t} for id, (r, t) in texts.items()]
    write_table(path, rows, REFERENCE)
    return path


def test_errors_are_of_all_words_and_differences_are_paired(tmp_path):
    texts = {f"u{n}": "the cow sees the farmer" for n in range(12)} | {"short": "cows walk"}
    natural = save(tmp_path / "natural", "natural", **{id: (text, text) for id, text in texts.items()})
    wrong = {id: (text, text.replace("cow", "sow")) for id, text in texts.items()}  # one word of each
    heard = save(tmp_path / "heard", "resynthesis", **wrong)
    make_resynthesis(natural, heard, tmp_path / "out.json", ANALYSIS)
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["words"] == 62 and found["wer"] == round(13 / 62, 4)  # not the mean of the utterances' rates
    assert found["low"] <= found["wer"] <= found["high"] < 0.3
    assert found["above_original"]["difference"] == found["wer"] and found["above_original"]["p_value"] < 0.01
    make_resynthesis(natural, heard, tmp_path / "out.json", ANALYSIS, own=heard)
    same = json.loads((tmp_path / "out.json").read_text())["above_run"]
    assert same == {"difference": 0, "low": 0, "high": 0, "p_value": 1}


def test_one_utterance_has_no_interval_and_no_shared_one_is_an_error(tmp_path):
    one = save(tmp_path / "one", "natural", a=("the cow", "the cow"))
    heard = save(tmp_path / "heard", "resynthesis", a=("the cow", "a cow sees"), empty=("", "cow"))
    make_resynthesis(one, heard, tmp_path / "out.json", ANALYSIS)
    found = json.loads((tmp_path / "out.json").read_text())
    assert (found["wer"], found["low"], found["high"], found["utterances"]) == (1, None, None, 1)
    other = save(tmp_path / "other", "natural", b=("the cow", "the cow"))
    with pytest.raises(UserError, match=r"heard and .*other: no utterance in common"):
        make_resynthesis(other, heard, tmp_path / "out.json", ANALYSIS)


def test_errors_of_an_utterance_add_up_to_the_rate_of_all():
    pairs = [("the cow sees", "a cow"), ("", "oh no"), ("many cows walk", "many cows walk home")]
    assert [word_errors(*pair) for pair in pairs] == [2, 2, 1]
    assert wer(*map(list, zip(*pairs)), str) == pytest.approx(5 / 6)


# --- the rule ---


def test_a_point_is_compared_with_the_run_and_the_run_with_nothing(root):
    found = Inputs(load({}), root)
    assert found.own_resynthesis(SimpleNamespace(point="")) == []
    assert found.own_resynthesis(SimpleNamespace(point="x/")) == "results/continuation/resynthesis.parquet"


def test_the_segments_and_the_run_itself_are_spoken(root):
    arms = ["segments-word", "utterance-norm"]
    found = QuestionInputs(Inputs(load({"questions": {"arms": arms}}), root)).quality(None)
    spoken = [path for path in found if path.endswith("resynthesis.json")]
    assert spoken == ["results/units/resynthesis.json", "results/questions/segments-word/units/resynthesis.json"]
