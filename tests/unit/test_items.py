"""Items: which pairs count as rejected, which words of a corpus are tested, and official benchmarks as items."""

import json
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from speechladder.alignment.base import Aligned, AlignmentError
from speechladder.alignment.durations import Durations
from speechladder.benchmarks import items, spoken
from speechladder.benchmarks.generation import sentences
from speechladder.benchmarks.generation.training_text import training_words
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.corpora.cuts import Cut, write_cuts
from speechladder.corpora.speak import speak, voices
from speechladder.io.audio import AudioError, encode_flac, read_audio
from speechladder.io.errors import UserError
from speechladder.io.files import read_json, read_jsonl, write_json
from speechladder.io.hashing import stable_hash
from speechladder.io.progress import no_progress
from speechladder.io.spans import Span, as_rows
from speechladder.io.tables import ITEMS, read_table
from speechladder.settings import Alignment, Benchmarks
from tests import mini_slm21, mini_storycloze


def _build(folder: Path, rows: int, max_rejected: float, **settings: int) -> list[dict[str, str]]:
    pairs = folder / "pairs.csv"
    pairs.write_text("good,bad\n" + "".join(f"dog {'a' * n},cat {'a' * n}\n" for n in range(1, rows + 1)) + "x,x\n" * 5)
    paths = (folder / "items.parquet", folder / "rejected.jsonl")
    given = {"pairs": [pairs], "variability": 0, "max_rejected": max_rejected}
    items.make_items("sblimp", Benchmarks(max_pairs=2, **settings), Alignment(), *paths, **given)
    return [json.loads(line) for line in paths[1].read_text().splitlines()]


def test_bad_rows_of_a_file_are_listed_and_not_counted(tmp_path):
    rejected = _build(tmp_path, rows=4, max_rejected=0.0)
    assert [r["id"] for r in rejected] == [f"pairs.csv, row {n}" for n in range(6, 11)]
    assert len(read_table(tmp_path / "items.parquet", ITEMS)) == 4  # two pairs in the one voice of the flat world


def test_the_rejected_share_counts_the_voices_that_exist(tmp_path, monkeypatch):
    speak = items.Speaker.synthesize

    def failing(self, text, voice, seed):
        if text == "cat a":
            raise AlignmentError("no")
        return speak(self, text, voice, seed)

    monkeypatch.setattr(items.Speaker, "synthesize", failing)
    with pytest.raises(UserError, match="1 of 2 utterances rejected"):
        _build(tmp_path, rows=2, max_rejected=0.4, voices=5)


def test_a_two_is_spoken_by_one_voice_and_lost_as_a_whole(tmp_path, monkeypatch):
    speak = items.Speaker.synthesize

    def failing(self, text, voice, seed):
        if text == "one b" and voice.name == "us-m1":
            raise AlignmentError("no")
        return speak(self, text, voice, seed)

    monkeypatch.setattr(items.Speaker, "synthesize", failing)
    pairs = tmp_path / "pairs.csv"
    rows = ["id,good,bad,two", "a,one a,one b,x", "b,two a,two b,", "c,three a,three b,x"]
    pairs.write_text("\n".join(rows))
    paths = tmp_path / "items.parquet", tmp_path / "rejected.jsonl"
    items.make_items("sblimp", Benchmarks(), Alignment(), *paths, pairs=[pairs], variability=2, max_rejected=0.9)
    found = [(row["id"], row["voice"], row["two"]) for row in read_table(paths[0], ITEMS).to_pylist()[::2]]
    assert found == [("a", "us-f1", "x"), ("c", "us-f1", "x"), ("b", "us-m3", ""), ("b", "us-f2", "")]
    assert [(row["id"], row["reason"]) for row in read_jsonl(paths[1])] == [("a|us-m1", "no"), ("c|us-m1", "no")]


def test_what_alternates_over_pairs_has_no_voices_of_its_own():
    for level in (2, 3):
        pool = {voice.name for voice in voices(level)}
        for count in (1, 2):
            said = [[voice.name for voice in items.voices_of(n, count, voices(level))] for n in range(200)]
            assert all(len(set(own)) == count for own in said)
            assert all(not set(a) & set(b) for a, b in pairwise(said))
            for half in (said[::2], said[1::2]):
                assert {name for own in half for name in own} == pool
    assert [[voice.name for voice in items.voices_of(n, 2, voices(0))] for n in range(3)] == [["flat"]] * 3


def test_items_of_a_pool_of_any_size_have_all_its_voices():
    pool = voices(3, ["accents"])
    said = [[voice.name for voice in items.voices_of(n, 2, pool)] for n in range(40)]
    assert all(len(set(own)) == 2 for own in said)
    assert set(Counter(name for own in said for name in own).values()) == {80 // len(pool)}
    assert {len(items.voices_of(n, 9, pool)) for n in range(5)} == {len(pool)}


def test_items_are_spoken_with_the_causes_that_vary(tmp_path):
    pairs, found = tmp_path / "pairs.csv", {}
    pairs.write_text("good,bad\nthe dog runs,the dog run\na cat waits,a cat wait\n")
    for name, given in {"flat": {"variability": 0}, "none": {"causes": []}, "noise": {"causes": ["noise"]}}.items():
        paths = [tmp_path / f"{name}.parquet", tmp_path / f"{name}.jsonl"]
        items.make_items("sblimp", Benchmarks(), Alignment(), *paths, pairs=[pairs], **given)
        found[name] = read_table(paths[0], ITEMS).to_pylist()
    assert found["none"] == found["flat"]
    for plain, noisy in zip(found["flat"], found["noise"], strict=True):
        assert plain.pop("audio") != noisy.pop("audio")
        assert plain == noisy  # names, texts and times


def test_words_are_tested_if_training_has_them_twice_and_known_if_it_has_them_once(tmp_path):
    def cut(name: str, split: str, text: str) -> Cut:
        return Cut(name, name, "x.wav", 0.0, 1.0, "s", split, text, text, 16_000, 16_000)

    path = tmp_path / "cuts.jsonl.gz"
    write_cuts(path, [cut("a", "train", "whale sea whale"), cut("b", "valid", "sea harpoon harpoon")])
    assert training_words([path]) == (["whale"], {"whale", "sea", "harpoon"})


@pytest.mark.parametrize("task", ["swuggy", "topic"])
def test_generated_items_are_the_synthesizers_speech(tmp_path, monkeypatch, task):
    """A plain loop over the world's pairs gives the same names, order, voices, times and bytes."""
    monkeypatch.setattr(items, "GROUP", 3)  # several groups, the last one short
    options = Benchmarks(swuggy_pairs=5, topic_pairs=2, voices=2)
    paths = [tmp_path / name for name in ("items.parquet", "rejected.jsonl")]
    items.make_items(task, options, Alignment(), *paths, tmp_path / "about.json", seed=7, max_rejected=0.0)
    pairs = sentences.topic_pairs(7, 2) if task == "topic" else TASKS["swuggy"].generate(options, 7, [])
    expected, count, pool = [], 1 if task == "topic" else 2, voices(3)
    for number, pair in enumerate(pairs):
        for k in range(count):
            voice = pool[((0 if pair.two else number) * count + k) % len(pool)]  # one voice within the only two
            draw = stable_hash(7, "item", pair.two or pair.id, voice.name) % 2**31
            styled = voice.jittered(random.Random(draw))
            for end, text in (("good", pair.good), ("bad", pair.bad)):
                said = speak(text, styled, draw)
                name = {"item": f"{pair.id}|{end}|{voice.name}", "id": pair.id, "voice": voice.name, "split": ""}
                name["two"] = "two-0000" if task == "topic" else ""
                spans = {"words": as_rows(said.words), "phones": as_rows(said.phones)}
                expected.append(name | spans | {"audio": encode_flac(said.samples), "correct": end == "good"})
    rows = read_table(tmp_path / "items.parquet", ITEMS).to_pylist()
    assert [{key: row[key] for key in expected[0]} for row in rows] == expected
    about = read_json(tmp_path / "about.json")
    assert (about["source"], about["items"]) == ("generated", len(rows))
    shares = about.get("shortcuts", {})
    assert (task == "swuggy") == bool(shares)
    # five pairs are too few for the bound, and the note names each short cut that is outside it
    outside = [name for name, share in shares.items() if not 0.46 <= share <= 0.54]
    assert outside or task == "topic"
    assert len(about["notes"]) == bool(outside)
    assert all(f"{name} solves" in about["notes"][0] for name in outside)
    assert about["times"] == {"synthesizer": len(rows)}


class Recorded:
    """An aligner that reads all requests before it answers, as MFA does; `find` makes each answer."""

    name = "recorded"

    def __init__(self, find) -> None:
        self.find, self.calls, self.asked = find, 0, []

    def align_all(self, requests, advance=no_progress):
        self.calls += 1
        self.asked = list(requests)
        for request in self.asked:
            try:
                seconds = len(request.samples()) / 16_000
            except AudioError as error:
                yield request.id, error
                continue
            yield request.id, self.find(request, seconds)


def evenly(phones, text, seconds):
    """An alignment of equal parts with a pause before them."""
    edges = np.linspace(0, seconds, len(phones) + 2).tolist()
    spans = [Span(p, *edges[k : k + 2]) for k, p in enumerate(["SIL", *phones])]
    return Aligned([Span(text, edges[1], seconds)], spans, seconds)


def official(tmp_path, monkeypatch, task, settings, find, stress=True, **sources):
    """Build items of an official benchmark with a Recorded aligner; returns the aligner, rows, rejects and about."""
    aligner = Recorded(find)
    monkeypatch.setattr(spoken, "load_aligner", lambda *args: aligner)
    write_json(tmp_path / "durations.json", {"mean": 0.1, "stress": stress, "phones": {}})
    out = [tmp_path / name for name in ("out/items.parquet", "out/rejected.jsonl")]
    given = {"durations": tmp_path / "durations.json", "variability": 0, "max_rejected": 0.9} | sources
    items.make_items(task, settings, Alignment(), *out, tmp_path / "about.json", **given)
    rows = read_table(out[0], ITEMS).to_pylist()
    return aligner, rows, list(read_jsonl(out[1])), read_json(tmp_path / "about.json")


def test_slm21_is_aligned_in_one_call_and_estimated_if_that_fails(tmp_path, monkeypatch):
    mini = mini_slm21.make(words=mini_slm21.WORDS[:7], sentences=2)
    path = mini_slm21.write(mini, tmp_path / "slm21.zip")

    def find(request, seconds):
        ((word, phones),) = request.pronunciations.items()
        assert word == request.text
        if word == "blick":
            return AlignmentError("no path")
        if word == "garlen":  # the gold table has other phones
            return evenly(["B", "IH"], word, seconds)
        return evenly([p.rstrip("012") for p in phones], word, seconds)

    options = Benchmarks(slm21=str(path), slm21_splits=["test", "dev"])
    aligner, rows, rejected, about = official(tmp_path, monkeypatch, "swuggy", options, find)
    assert aligner.calls == 1 and len({request.id for request in aligner.asked}) == len(aligner.asked) == 2 * 28 - 8
    assert {request.speaker for request in aligner.asked} == set(mini_slm21.VOICES[:2])
    gold = {f"{split}/{r['filename']}": r for (part, split), own in mini.rows.items() if part == "lexical" for r in own}
    assert [row["split"] for row in rows] == ["test"] * 28 + ["dev"] * 18
    for good, bad in zip(rows[::2], rows[1::2]):
        assert (good["id"], good["voice"], good["correct"], bad["correct"]) == (bad["id"], bad["voice"], True, False)
    for row in rows:
        phones = [p["label"] for p in row["phones"] if p["label"] != "SIL"]
        assert phones == gold[row["item"]]["phones"].split(), row["text"]  # the stress marks of the gold table
        assert row["text"] == gold[row["item"]]["word"]
        edges = [0.0, *(p["end"] for p in row["phones"])]
        assert [p["start"] for p in row["phones"]] == pytest.approx(edges[:-1]) and edges[-1] == row["seconds"]
        assert len(read_audio(row["audio"])) / 16_000 == row["seconds"]
    reasons = {row["id"]: row["reason"] for row in rejected}
    for key, reason in (mini.rejected | mini.mentioned).items():
        assert reasons[key].startswith(reason)
    assert about["times"] == {"aligner": 46 - 8, "durations": 8} and about["rejected"] == len(mini.rejected)
    assert about["splits"] == {"test": 7, "dev": 7} and about["source"] == "sLM21" and about["aligner"] == "recorded"
    assert "8 of 46 recordings could not be aligned" in about["notes"][2]
    assert not list((tmp_path / "out").glob(".tmp*"))


@pytest.mark.parametrize(
    ("stress", "found", "expected"),
    [
        (True, "B R IH K", "B R IH1 K"),
        (True, "B R IH2 K", "B R IH1 K"),
        (False, "B R IH1 K", "B R IH K"),
        (True, "", "B R IH1 K"),
        (False, "", "B R IH K"),
    ],
)
def test_stress_is_that_of_the_gold_table_if_training_has_stress(tmp_path, monkeypatch, stress, found, expected):
    mini = mini_slm21.make(splits=("dev",), words=mini_slm21.WORDS[:1], speakers=1, faults=False)
    options = Benchmarks(slm21=str(mini_slm21.write(mini, tmp_path / "slm21")))

    def find(request, seconds):
        phones = found.replace("R", "R" if request.text == "brick" else "L").split()
        return evenly(phones, request.text, seconds) if found else AlignmentError("no path")

    _, rows, _, _ = official(tmp_path, monkeypatch, "swuggy", options, find, stress)
    assert [p["label"] for p in rows[0]["phones"] if p["label"] != "SIL"] == expected.split()


def test_a_gold_table_without_stress_keeps_the_stress_of_the_aligner():
    spans = [Span("AH0", 0.0, 0.1), Span("SIL", 0.1, 0.2), Span("B", 0.2, 0.3)]
    assert spoken._relabelled(spans, ["AH", "B"]) == spans
    assert spoken._relabelled(spans, ["AH", "P"]) is None


def test_sentences_get_the_phones_of_their_words_if_alignment_fails(tmp_path, monkeypatch):
    mini = mini_slm21.make(splits=("dev",), sentences=2, speakers=1)
    path = mini_slm21.write(mini, tmp_path / "slm21")
    options = Benchmarks(slm21=str(path))
    _, rows, _, about = official(
        tmp_path, monkeypatch, "sblimp", options, lambda request, seconds: AlignmentError("no path")
    )
    assert about["times"] == {"durations": 4}
    for row in rows:
        words = [word["label"] for word in row["words"]]
        assert " ".join(words) == row["text"]
        assert row["words"][0]["start"] == row["phones"][1]["start"]
        assert {p["label"] for p in row["phones"]} <= {*"BDFGKLMNPRSTVWYZ"} | {
            *("AA", "AE", "AH", "AO", "AW", "AY", "CH", "DH", "EH", "ER", "EY", "HH", "IH", "IY", "JH", "NG", "OW"),
            *("OY", "SH", "TH", "UH", "UW", "ZH", "SIL"),
        }


def test_stories_are_items_with_their_transcripts(tmp_path, monkeypatch):
    said = [("1_tSC", "the dog sleeps", "the ship sails"), ("2_tSC", "a girl sings", "a boy eats")]
    archive = mini_storycloze.write(mini_storycloze.make(said), tmp_path / "tSC")
    heard = tmp_path / "transcripts.jsonl"
    names = [f"{name}_{end}" for name, *_ in said for end in ("correct", "incorrect")]
    rows = [{"filename": n, "text": f"heard {n[0]}" if n != names[3] else "", "asr": "Whisper tiny"} for n in names]
    heard.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def find(request, seconds):
        return evenly(["HH", "ER", "D"], request.text, seconds)

    options = Benchmarks(storycloze=str(archive))
    _, rows, rejected, about = official(tmp_path, monkeypatch, "topic", options, find, transcripts=heard)
    assert [(row["item"], row["text"]) for row in rows] == [
        ("1_tSC|good|given", "heard one"),
        ("1_tSC|bad|given", "heard one"),
    ]
    assert {row["id"] for row in rejected} == {"17_tSC_correct", "tSC", "2_tSC|given"}
    assert about["texts"] == "transcribed by Whisper tiny" and about["splits"] == {"": 1}
    assert any("transcribed by Whisper tiny" in note for note in about["notes"])
    with pytest.raises(UserError, match=r"benchmarks.storycloze_text"):
        official(tmp_path, monkeypatch, "topic", options, find)


def test_a_failing_aligner_leaves_no_files(tmp_path, monkeypatch):
    path = mini_slm21.write(mini_slm21.make(splits=("dev",), sentences=2, speakers=1), tmp_path / "slm21")

    def find(request, seconds):
        raise UserError("mfa has gone")

    with pytest.raises(UserError, match="mfa has gone"):
        official(tmp_path, monkeypatch, "sblimp", Benchmarks(slm21=str(path)), find)
    assert list((tmp_path / "out").iterdir()) == []


def test_pocketsphinx_finds_the_gold_phones(tmp_path):
    """The real aligner aligns a word and a non-word, whose phones are in no dictionary."""
    mini = mini_slm21.make(splits=("dev",), words=mini_slm21.WORDS[:1], speakers=1, faults=False)
    path = mini_slm21.write(mini, tmp_path / "slm21")
    out, options, about = tmp_path / "items.parquet", Benchmarks(slm21=str(path)), tmp_path / "about.json"
    paths = (out, tmp_path / "rejected.jsonl", about)
    items.make_items("swuggy", options, Alignment(), *paths, variability=0, max_rejected=0.0)
    assert read_json(about)["times"] == {"aligner": 2}
    for row, phones in zip(read_table(out, ITEMS).to_pylist(), ("B R IH1 K", "B L IH1 K")):
        assert [p["label"] for p in row["phones"] if p["label"] != "SIL"] == phones.split()


def test_recordings_are_read_when_needed_and_not_kept(monkeypatch):
    """With an aligner that answers one by one, each recording is read once, just before its answer."""
    read, answered = [], []

    class OneByOne(Recorded):
        def align_all(self, requests, advance=no_progress):
            for request in requests:
                yield request.id, evenly(["B"], request.text, len(request.samples()) / 16_000)

    def reader(number):
        read.append(number)
        return np.zeros(16_000, np.float32)

    monkeypatch.setattr(spoken, "load_aligner", lambda *args: OneByOne(None))
    halves = [spoken.Half(f"{n}", "p", "v", True, "t", "a", lambda n=n: reader(n), official=True) for n in range(9)]
    for number, found in enumerate(items.Speaker(Alignment()).utter(halves)):
        answered.append(found)
        assert read == list(range(number + 1)) and found.times == "aligner"
    assert len(answered) == 9


def test_silence_is_never_estimated(monkeypatch):
    monkeypatch.setattr(spoken, "load_aligner", lambda *args: Recorded(lambda *args: AlignmentError("no path")))
    half = spoken.Half("i", "p", "v", True, "t", "a", lambda: np.zeros(16_000, np.float32), official=True)
    (found,) = items.Speaker(Alignment(), Durations({}, 0.1)).utter([half])
    assert isinstance(found, AlignmentError) and str(found) == "silent"
