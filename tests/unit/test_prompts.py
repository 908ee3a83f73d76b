"""Prompts are cut at the right places, and the judge's text never contains them."""

import gzip
import itertools
import json
import random
from pathlib import Path

import numpy as np
import pytest

from speechladder.alignment.base import AlignmentError
from speechladder.benchmarks.items import Speaker, Utterance
from speechladder.continuation import prompts
from speechladder.continuation.judge.text import LONGEST, judge_documents, write_judge_text
from speechladder.continuation.prompt_table import PARTS, STORIES
from speechladder.continuation.prompts import boundaries, cut_at, make_prompts, words_before
from speechladder.corpora.cuts import Cut, read_cuts, write_cuts
from speechladder.corpora.speak import speak
from speechladder.corpora.text import normalise
from speechladder.corpora.voices import voices
from speechladder.corpora.world.stories import document, held_out, written
from speechladder.corpora.world_speech import build_world_shard
from speechladder.io.audio import read_audio
from speechladder.io.errors import UserError
from speechladder.io.files import read_jsonl
from speechladder.io.hashing import stable_hash
from speechladder.io.spans import Span, from_rows
from speechladder.io.tables import ALIGNMENT, PROMPTS, read_table, write_table
from speechladder.settings import Alignment, Continuation, Corpus

SETTINGS = Continuation(prompts=6, seconds=4.0, judge_words=4000)
TRUTH = Alignment(aligner="truth")


def build(out: Path, settings=SETTINGS, seed: int = 0, cuts=(), alignments=(), alignment=TRUTH) -> Path:
    make_prompts(out, settings, alignment, list(cuts), list(alignments), seed=seed)
    return out


def rows_of(path: Path) -> list[tuple[dict, dict]]:
    rows = read_table(path, PROMPTS).to_pylist()
    return list(zip(rows[::2], rows[1::2]))


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    return build(tmp_path_factory.mktemp("world") / "prompts.parquet")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Cuts and alignment of a small corpus, half of it in the test split, in the role of a natural corpus."""
    folder = tmp_path_factory.mktemp("corpus")
    paths = [folder / name for name in ("cuts.jsonl.gz", "audio", "truth.parquet", "rejected.jsonl")]
    build_world_shard(Corpus(hours=0.08, shards=1, test_fraction=0.49, max_rejected=1.0), 0, 0, *paths)
    return paths[0], paths[2]


@pytest.fixture(scope="module")
def natural(corpus, tmp_path_factory) -> Path:
    return build(tmp_path_factory.mktemp("natural") / "prompts.parquet", cuts=corpus[:1], alignments=corpus[1:])


@pytest.fixture(scope="module")
def aligned(tmp_path_factory) -> Path:
    settings = SETTINGS.model_copy(update={"prompts": 2})
    return build(
        tmp_path_factory.mktemp("aligned") / "prompts.parquet", settings, alignment=Alignment(aligner="pocketsphinx")
    )


@pytest.mark.parametrize("source", ["world", "natural", "aligned"])
def test_the_table_is_as_documented(source, request):
    pairs = rows_of(request.getfixturevalue(source))
    assert len(pairs) == len({p["id"] for p, _ in pairs}) == (2 if source == "aligned" else SETTINGS.prompts)
    for pair in pairs:
        for row, part in zip(pair, PARTS):
            assert (row["part"], row["item"]) == (part, f"{row['id']}|{part}")
            samples, phones, words = read_audio(row["audio"]), from_rows(row["phones"]), from_rows(row["words"])
            assert row["seconds"] == len(samples) / 16_000
            assert [p.start for p in phones] == [0.0, *(p.end for p in phones[:-1])]
            assert phones[-1].end == row["seconds"]
            assert all(p.end > p.start for p in phones)
            assert row["text"] == " ".join(w.label for w in words) == normalise(row["text"])
            assert all(a.end <= b.start + 1e-9 for a, b in itertools.pairwise(words))
            # every word is complete: only a pause follows it
            assert words[-1].end == pytest.approx(phones[-1].start if phones[-1].label == "SIL" else phones[-1].end)
        prompt, whole = pair
        assert prompt["voice"] == whole["voice"]
        audio = [read_audio(row["audio"]) for row in pair]
        assert np.array_equal(audio[0], audio[1][: len(audio[0])])
        assert prompt["words"] == whole["words"][: len(prompt["words"])] != whole["words"]
        *before, last = prompt["phones"]
        assert before == whole["phones"][: len(before)]
        same = whole["phones"][len(before)]
        assert (last["label"], last["start"]) == (same["label"], same["start"])
        assert last["end"] == pytest.approx(same["end"], abs=1e-4) or last["label"] == "SIL"
        assert SETTINGS.seconds / 2 <= whole["seconds"] - prompt["seconds"] + 1e-4
        assert whole["seconds"] - prompt["seconds"] <= SETTINGS.seconds + 1e-4


def test_world_prompts_are_held_out_stories_of_all_topics_in_many_voices(world):
    stories = json.loads(read_table(world, PROMPTS).schema.metadata[STORIES.encode()])
    pairs = rows_of(world)
    assert list(stories) == [p["id"] for p, _ in pairs]
    assert all(held_out(s) for told in stories.values() for s in told)
    for prompt, whole in pairs:
        told = stories[prompt["id"]]
        assert prompt["text"] == " ".join(told[: SETTINGS.prompt_sentences])
        assert f"{' '.join(told)} ".startswith(f"{whole['text']} ")
        assert len(told) >= 4
        # the next word would end too late: the continuation has as many whole words as fit
        assert whole["seconds"] - prompt["seconds"] > SETTINGS.seconds - 1.5
        assert prompt["phones"][-1]["label"] == "SIL"
    names = [v.name for v in voices(3)]
    used = [names.index(p["voice"]) for p, _ in pairs]
    assert len(set(used)) == 6 and max(used) > len(names) * 2 / 3 and min(used) < len(names) / 3


def test_training_documents_never_have_a_prompts_sentence(world):
    stories = json.loads(read_table(world, PROMPTS).schema.metadata[STORIES.encode()])
    told = {s for sentences in stories.values() for s in sentences}
    trained = {s for n in range(3000) for s in document(random.Random(f"document/0/0/{n}")).sentences}
    assert told.isdisjoint(trained)


def test_same_arguments_same_bytes(world, natural, corpus, tmp_path):
    assert build(tmp_path / "a.parquet").read_bytes() == world.read_bytes()
    again = build(tmp_path / "b.parquet", cuts=corpus[:1], alignments=corpus[1:])
    assert again.read_bytes() == natural.read_bytes()
    other = rows_of(build(tmp_path / "c.parquet", seed=1))
    assert {p["text"] for p, _ in other}.isdisjoint(p["text"] for p, _ in rows_of(world))


def test_natural_prompts_end_at_the_first_boundary_after_the_time(natural, corpus):
    cuts = {c.id: c for c in read_cuts(corpus[0])}
    for prompt, whole in rows_of(natural):
        cut = cuts[prompt["id"]]
        assert cut.split == "test" and prompt["voice"] == cut.speaker
        assert f"{cut.text} ".startswith(f"{whole['text']} ")
        assert SETTINGS.prompt_seconds - 1e-4 <= prompt["seconds"] < SETTINGS.prompt_seconds + 1.5
        assert np.allclose(read_audio(whole["audio"]), cut.samples()[: round(whole["seconds"] * 16_000)], atol=1e-4)
        before, last = prompt["words"][-2:]
        assert (before["end"] + last["start"]) / 2 < SETTINGS.prompt_seconds  # the previous boundary is too early


def test_natural_prompts_alternate_speakers():
    def cut(n: int, speaker: str) -> Cut:
        return Cut(f"u{n}", "r", "x.wav", 0.0, 1.0, speaker, "test", "a", "a", 16_000, 16_000)

    cuts = [cut(n, "loud") for n in range(20)] + [cut(20, "shy"), cut(21, "rare")]
    drawn = list(prompts._alternate_speakers(cuts, 0))
    assert {c.speaker for c in drawn[:3]} == {"loud", "shy", "rare"}
    assert len(drawn) == 22
    assert drawn == list(prompts._alternate_speakers(cuts[::-1], 0)) != list(prompts._alternate_speakers(cuts, 1))


def test_too_few_natural_prompts(corpus, tmp_path, capsys):
    many = build(tmp_path / "a.parquet", Continuation(prompts=500), cuts=corpus[:1], alignments=corpus[1:])
    assert 2 <= len(rows_of(many)) < 500
    assert "instead of 500" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"corpus\.test_fraction.*continuation\.prompt_seconds"):
        build(tmp_path / "b.parquet", Continuation(prompt_seconds=35), cuts=corpus[:1], alignments=corpus[1:])


def test_a_story_that_cannot_be_aligned_is_replaced(world, tmp_path, monkeypatch, capsys):
    synthesize, calls = Speaker.synthesize, []

    def failing(self, text, voice, seed):
        calls.append(text)
        if len(calls) == 2:
            raise AlignmentError("no path")
        return synthesize(self, text, voice, seed)

    monkeypatch.setattr(Speaker, "synthesize", failing)
    pairs = rows_of(build(tmp_path / "a.parquet"))
    assert [p["id"] for p, _ in pairs] == [f"prompt-{n:04d}" for n in (0, 2, 3, 4, 5, 6)]
    assert "1 of 7 stories" in capsys.readouterr().err
    monkeypatch.setattr(Speaker, "synthesize", lambda *_: (_ for _ in ()).throw(AlignmentError("no path")))
    with pytest.raises(UserError, match="no path"):
        build(tmp_path / "b.parquet")


WORDS = [Span("in", 0.1, 0.2), Span("the", 0.2, 0.3), Span("sea", 0.5, 0.9)]
PHONES = [*(("SIL", 0.0, 0.1), ("IH", 0.1, 0.2), ("DH", 0.2, 0.3), ("SIL", 0.3, 0.5), ("S", 0.5, 0.9), ("SIL", 0.9, 1))]
PHONES = [Span(*p) for p in PHONES]


def test_cuts_are_between_words():
    assert boundaries(WORDS, PHONES, 1.0) == pytest.approx([0.2, 0.4, 0.95])
    merged = [PHONES[0], Span("IH", 0.1, 0.3), *PHONES[3:]]
    assert boundaries(WORDS, merged, 1.0) == pytest.approx([np.nan, 0.4, 0.95], nan_ok=True)
    spoken = Utterance(np.zeros(16_000, np.float32), WORDS, PHONES)
    assert [words_before(spoken, t) for t in (0.1, 0.2, 0.21, 0.41, 0.96)] == [1, 1, 2, 3, 0]
    cut = cut_at("u", "v", spoken, 1, 0.3)
    assert (cut.words, cut.samples) == ((1, 2), (3200, 6400))
    assert [r["phones"][-1] for r in cut.rows()] == [
        {"label": "IH", "start": 0.1, "end": 0.2},
        {"label": "SIL", "start": 0.3, "end": 0.4},
    ]
    assert cut_at("u", "v", spoken, 1, 0.5) is None  # the last boundary within the time is before half of it
    assert cut_at("u", "v", spoken, 3, 0.5) is None  # nothing follows


def test_the_judge_of_the_world_reads_documents_without_the_prompts_sentences(world):
    train, valid = judge_documents(SETTINGS, 0, [], [], world)
    assert (train, valid) == judge_documents(SETTINGS, 0, [], [], world)
    assert set(train).isdisjoint(valid) and 0.02 < len(valid) / len(train + valid) < 0.06
    assert SETTINGS.judge_words <= len(" ".join(train + valid).split()) < SETTINGS.judge_words + 80
    trained = {normalise(document(random.Random(f"document/0/0/{n}")).text) for n in range(1000)}
    assert sum(t in trained for t in train) <= 1  # the judge has a text of its own
    stories = json.loads(read_table(world, PROMPTS).schema.metadata[STORIES.encode()])
    # a sentence of the judge's text is left out once a prompt contains it
    taken = next(t for t in train if 4 <= len(t.split()) <= 8)
    told = world.with_name("told.parquet")
    write_table(told, read_table(world, PROMPTS), PROMPTS, **{STORIES: json.dumps(stories | {"prompt-0000": [taken]})})
    assert all(taken not in texts for texts in judge_documents(SETTINGS, 0, [], [], told))
    for texts in stories.values():
        assert not any(f" {s} " in f" {t} " for s in texts for t in train + valid)


def book(folder: Path, name: str, paragraphs: list[str]) -> Path:
    path = folder / name
    text = "\r\n\r\n".join(paragraphs) + "\r\n"
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def prose(seed: int, count: int) -> list[str]:
    return [document(random.Random(f"{seed} {n}")).text for n in range(count)]


def test_the_judge_reads_files_without_the_prompts_text(natural, tmp_path):
    told = rows_of(natural)
    prompt, whole = told[0]
    end = whole["text"][len(prompt["text"]) :].strip()
    a = book(tmp_path, "a.txt", [*prose(0, 40), f'"Oh, {whole["text"].upper()}, 42!"', *prose(1, 40)])
    b = book(tmp_path, "b.txt.gz", ["word " * 300, *prose(2, 60), f"he said {end} and left. " + " ".join(prose(3, 2))])
    options = SETTINGS.model_copy(update={"judge_words": 100_000})
    train, valid = judge_documents(options, 0, [a, b], [], natural)
    texts = train + valid
    assert all(t == normalise(t) and 0 < len(t.split()) <= LONGEST for t in texts)
    assert any("word word" in t for t in texts) and valid and set(train).isdisjoint(valid)
    assert not any(end in t or whole["text"] in t or "oh the" in t for t in texts)
    assert len(" ".join(texts).split()) > 3000  # little other text is lost
    few, _ = judge_documents(options.model_copy(update={"judge_words": 500}), 0, [a, b], [], natural)
    assert {t.split()[0] == "word" for t in few} == {True, False}  # each file has its share
    with pytest.raises(UserError, match=r"c\.pdf is not plain text"):
        judge_documents(options, 0, [tmp_path / "c.pdf"], [], natural)
    with pytest.raises(UserError, match=r"gone\.txt: no such file"):
        judge_documents(options, 0, [tmp_path / "gone.txt"], [], natural)
    (tmp_path / "broken.txt.gz").write_bytes(b.read_bytes()[:300])
    with pytest.raises(UserError, match=r"broken\.txt\.gz is not readable"):
        judge_documents(options, 0, [tmp_path / "broken.txt.gz"], [], natural)
    with pytest.raises(UserError, match=r"continuation\.judge_text: 1 documents"):
        judge_documents(options, 0, [book(tmp_path, "d.txt", ["One line."])], [], natural)


def test_the_judge_leaves_out_what_cannot_be_spelt_and_lists_it(natural, tmp_path):
    texts = ["He paid \u00a33 10s. 6d. for it.", "The \u0430 is Cyrillic. It was 5pm."]
    text = [*prose(0, 40), *texts, *prose(1, 40)]
    a = book(tmp_path, "a.txt", text)
    a.write_bytes(a.read_bytes() + "\r\nIt is a caf\u00e9.\r\n".encode("cp1252"))
    write_judge_text(natural, tmp_path / "text", SETTINGS, files=[a])
    said = "".join((tmp_path / "text" / f"{n}.txt").read_text() for n in ("train", "valid"))
    assert "three pounds ten shillings and six pence for it" in said and "it was five p m" in said
    assert "cyrillic" not in said and "caf" not in said
    rejected = list(read_jsonl(tmp_path / "text" / "rejected.jsonl"))
    assert [(row["id"], row["reason"].split(":")[0], row["source"]) for row in rejected] == [
        ("a.txt:83", "letters that are not English", str(a)),
        ("a.txt:165", "not UTF-8", str(a)),
    ]


def test_transcripts_are_of_the_train_split_and_a_message_says_so(natural, corpus, tmp_path, capsys):
    cuts = list(read_cuts(corpus[0]))
    told = rows_of(natural)[0][1]["text"]
    copy = tmp_path / "cuts.jsonl.gz"
    leak = Cut("leak", "r", "x.wav", 0.0, 1.0, "s", "train", f"well {told}", told, 16_000, 16_000)
    write_cuts(copy, [*cuts, leak])
    write_judge_text(natural, tmp_path / "text", SETTINGS, cuts=[copy])
    assert "on which the rungs are trained too" in capsys.readouterr().err
    train, valid = ((tmp_path / "text" / f"{n}.txt").read_text().splitlines() for n in ("train", "valid"))
    assert set(train) | set(valid) == {c.text for c in cuts if c.split == "train"}
    assert valid and set(train).isdisjoint(valid)


def test_alignment_of_another_split_is_no_prompt(corpus, tmp_path):
    table = read_table(corpus[1], ALIGNMENT)
    trained = {c.id for c in read_cuts(corpus[0]) if c.split == "train"}
    write_table(tmp_path / "a.parquet", [r for r in table.to_pylist() if r["id"] in trained], ALIGNMENT)
    with pytest.raises(UserError, match="0 of 0 aligned held-out utterances"):
        build(tmp_path / "out.parquet", cuts=corpus[:1], alignments=[tmp_path / "a.parquet"])


def test_voices_speak_as_drawn_for_the_prompt(world):
    stories = json.loads(read_table(world, PROMPTS).schema.metadata[STORIES.encode()])
    prompt, whole = rows_of(world)[-1]
    voice = next(v for v in voices(3) if v.name == whole["voice"])
    draw = stable_hash(0, "prompt", whole["id"], voice.name)
    spoken = speak(written(stories[whole["id"]]), voice.jittered(random.Random(draw)), draw % 2**31)
    assert np.allclose(read_audio(whole["audio"]), spoken.samples[: round(whole["seconds"] * 16_000)], atol=1e-4)
    assert prompt["words"][0]["start"] == spoken.words[0].start
