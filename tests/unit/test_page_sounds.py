"""What one hears on the page is what the run's tables and files say."""

import base64
import io
import re
import shutil
from dataclasses import replace
from itertools import pairwise

import numpy as np
import page_sounds
import pyarrow as pa
import pytest
import soundfile
from page_results import RUNGS, make_run

from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import NORMS, SAMPLE_RATE
from speechladder.io import audio
from speechladder.io.spans import Span
from speechladder.io.tables import EXTERNAL_UNITS, ITEMS, SCORES, read_table, write_table
from speechladder.report.page import build, sound, spans
from speechladder.report.page.sections import items, listen, moment
from speechladder.rungs import registry


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("sounds") / "results")


@pytest.fixture
def copied(results, tmp_path):
    return shutil.copytree(results, tmp_path / "results")


def seconds(found: sound.Sound) -> float:
    content = base64.b64decode(found.uri.partition(",")[2])
    samples, rate = soundfile.read(io.BytesIO(content))
    return len(samples) / rate


# --- audio ---


@pytest.mark.parametrize("length", [0.05, 0.3, 2.0, 7.77])
def test_audio_lasts_as_long_as_its_source(length):
    source = page_sounds.tone(length)
    found = sound.sound(source)
    assert found.uri.startswith("data:audio/mpeg;base64,")
    assert seconds(found) == pytest.approx(len(source) / SAMPLE_RATE, abs=1e-4) == found.seconds
    exact = sound.sound(source, exact=True)
    assert seconds(exact) == pytest.approx(found.seconds) and exact.uri.startswith("data:audio/flac")
    assert sound.sound(source[:0]) is None


def test_speech_takes_five_kilobytes_a_second():
    noise = np.random.default_rng(0).normal(0, 0.1, 10 * SAMPLE_RATE).astype(np.float32)  # harder than speech
    assert len(sound.sound(noise).uri) < 10 * 8_000


def test_a_libsndfile_without_mp3_gives_flac(monkeypatch):
    monkeypatch.setattr(audio.soundfile, "available_formats", lambda: {"FLAC": ""})
    content, kind = audio.encode_small(page_sounds.tone(0.5))
    assert kind == "audio/flac" and content[:4] == b"fLaC"


def test_a_waveform_swells_with_its_sound():
    path = sound.waveform(page_sounds.tone(1.0), 10)
    heights = [int(y) for y in re.findall(r"\d+,(-?\d+)", path)]
    assert heights[:10] == sorted(heights[:10], reverse=True) and heights[9] == -sound.HALF
    assert heights[10:] == [-y for y in reversed(heights[:10])]


def test_a_budget_is_kept():
    one, budget = sound.sound(page_sounds.tone(0.3)), sound.Budget(10_000)
    assert budget.take(None) and budget.left == 10_000
    while budget.take(one, one):
        pass
    assert 0 <= budget.left < 2 * len(one.uri)


# --- listen ---


def test_each_rung_answers_each_prompt_with_its_own_audio(results):
    context = listen.section(results).context
    assert [prompt["id"] for prompt in context["prompts"]] == ["prompt 0", "prompt 1"] and context["of"] == 3
    for prompt in context["prompts"]:
        true, *answers = prompt["answers"]
        assert (true.said, true.heard) == ("sleeps <b>well</b>", "sleep well")
        assert true.sound.seconds == pytest.approx(page_sounds.REST)
        assert prompt["sound"].seconds == pytest.approx(page_sounds.PROMPT)
        assert [answer.rung for answer in answers] == list(RUNGS)
        for number, answer in enumerate(answers):
            assert answer.said == f"{answer.rung} {prompt['id']} 3 0"  # the first sample of the first model
            assert answer.sound.seconds == pytest.approx(0.3 + number / 10)
            assert answer.ppl == "7.39"  # exp(4 nats / 2 words)


def test_a_run_without_examples_keeps_its_transcripts(copied):
    for rung in RUNGS:
        shutil.rmtree(copied / "continuation" / rung / "examples")
    context = listen.section(copied).context
    assert not context["audio"] and len(context["prompts"]) == 3
    assert {answer.sound for answer in context["prompts"][0]["answers"][1:]} == {None}


def test_prompts_that_do_not_fit_into_the_page_are_left_out(results, monkeypatch):
    first = listen.section(results).context["prompts"][0]
    need = sum(len(one.uri) for one in (first["sound"], *(answer.sound for answer in first["answers"])))
    monkeypatch.setattr(listen, "AUDIO", need)
    assert [prompt["id"] for prompt in listen.section(results).context["prompts"]] == ["prompt 0"]
    monkeypatch.setattr(listen, "AUDIO", need - 1)
    (text,) = {prompt["id"]: prompt["sound"] for prompt in listen.section(results).context["prompts"][:1]}.values()
    assert text is None


def test_a_rung_without_continuations_is_named(copied):
    shutil.rmtree(copied / "continuation" / "speech-hubert")
    context = listen.section(copied).context
    assert context["silent"] == ["speech-hubert"]
    assert [a.rung for a in context["prompts"][0]["answers"][1:]] == list(RUNGS[:-1])


def test_an_example_that_cannot_be_read_leaves_its_text(copied):
    (copied / "continuation" / "text-raw" / "examples" / "prompt_0.flac").write_bytes(b"nothing")
    answer = listen.section(copied).context["prompts"][0]["answers"][2]
    assert answer.rung == "text-raw" and answer.said and answer.sound is None


def test_a_run_without_continuations_has_no_such_section(tmp_path):
    assert listen.section(make_run(tmp_path / "results", ("text-bpe",), spoken=False)) is None


# --- items ---


def test_right_and_wrong_are_those_of_the_scores(results):
    pairs = items.section(results).context["pairs"]
    assert [pair.task for pair in pairs] == [task for task in TASKS for _ in range(items.PAIRS)]
    for pair in pairs:
        for rung in RUNGS:
            path = results / "scores" / rung / f"{pair.task}.parquet"
            rows = [r for r in read_table(path, SCORES).to_pylist() if (r["id"], r["voice"]) == (pair.id, pair.voice)]
            good, bad = (next(r for r in rows if r["correct"] is correct) for correct in (True, False))
            margin = pair.margins[rung]
            assert margin.sum == pytest.approx(bad["nll"] - good["nll"])
            assert margin.mean == pytest.approx(bad["nll"] / bad["tokens"] - good["nll"] / good["tokens"])
            for norm in ("sum", "mean"):
                assert (rung in pair.rungs("right", norm)) == (getattr(margin, norm) > 0)
        assert [item.correct for item in pair.items] == [True, False]
        assert pair.items[0].sound.seconds == pytest.approx(0.3) and pair.items[0].phones == "AH"


def test_every_rung_is_shown_right_and_wrong(results):
    for task in TASKS:
        pairs = items.task_pairs(results, task, RUNGS)
        for rung in RUNGS:
            path = results / "scores" / rung / f"{task}.parquet"
            table = read_table(path, SCORES).to_pylist()
            nll = {(r["id"], r["voice"], r["correct"]): r["nll"] for r in table}
            there = {nll[id, "v0", False] > nll[id, "v0", True] for id, *_ in nll}
            assert {rung in pair.rungs("right", "sum") for pair in pairs} == there, (task, rung)


def test_a_rare_outcome_is_shown_and_one_voice_of_a_pair():
    margins = {(f"{n}", v): {"a": items.Margin(1, 1, 1)} for n in range(500) for v in ("v0", "v1")}
    margins["77", "v1"] = {"a": items.Margin(-1, -1, -1)}
    seen = [items.choose(margins, task) for task in ("one", "two", "three", "four")]
    assert all(len({id for id, _ in keys}) == len(keys) == 500 for keys in seen)
    assert all(("77", "v1") in keys[:2] for keys in seen if ("77", "v1") in keys)
    assert len({keys[2] for keys in seen}) > 1  # the tasks have draws of their own


def test_a_tie_is_neither_right_nor_wrong():
    for norm in NORMS:
        margins = [items.Margin(**dict.fromkeys(NORMS, 1.0) | {norm: x}) for x in (0.1, 0.0, -0.1)]
        assert [margin.answer(norm) for margin in margins] == ["right", "tie", "wrong"]


def test_words_that_differ_are_marked():
    assert items.marked(["the", "cat", "sleeps"], ["the", "cats", "sleeps"]) == [
        ("the", False),
        ("cat", True),
        ("sleeps", False),
    ]
    assert items.marked(["so"], []) == [("so", True)] and items.marked([], ["so"]) == []


def test_items_without_audio_keep_their_margins(copied):
    path = copied / "benchmarks" / "topic" / "items.parquet"
    table = read_table(path, ITEMS)
    write_table(path, [row | {"audio": None, "phones": None} for row in table.to_pylist()], ITEMS)
    context = items.section(copied).context
    assert context["silent"] == TASKS["topic"].title and len(context["pairs"]) == 3 * items.PAIRS


def test_long_items_do_not_overfill_the_page(copied, monkeypatch):
    monkeypatch.setattr(items, "AUDIO", 3 * 4 * len(items.task_pairs(copied, "swuggy", RUNGS)[0].items[0].sound.uri))
    assert len(items.task_pairs(copied, "swuggy", RUNGS)) == 2
    monkeypatch.setattr(items, "AUDIO", 3)
    assert items.section(copied) is None


# --- the same seconds ---


def test_each_rung_lies_at_the_times_of_the_alignment(results):
    context = moment.section(results).context
    rows = {row.name: row for row in context["rows"]}
    assert list(rows) == ["words", *RUNGS] and context["unplaced"] == []
    assert context["sound"].seconds == pytest.approx(page_sounds.SECONDS) == context["seconds"]

    def times(name):
        return [(c.label, c.left / 100 * 2.5, (c.left + c.width) / 100 * 2.5) for c in rows[name].cells]

    def close(found, expected):
        assert [label for label, *_ in found] == [label for label, *_ in expected]
        assert np.allclose([t[1:] for t in found], [t[1:] for t in expected], atol=2e-4)

    close(times("words"), [tuple(word) for word in page_sounds.WORDS])
    close(times("phone-raw"), [(p.label.rstrip("012"), p.start, p.end) for p in page_sounds.phones()])
    letters = times("text-raw")
    assert "".join(label for label, *_ in letters) == "#the\N{OPEN BOX}cat#sleeps#"
    close(letters[:2], [("#", 0.0, 0.1), ("t", 0.1, 0.175)])  # three letters and the space share 0.3 s
    close(letters[8:10], [("#", 1.0, 1.3), ("s", 1.3, 1.3 + 1 / 6)])
    bpe = times("text-bpe")
    assert bpe[0][1] == 0.0 and bpe[-1][2] == pytest.approx(2.5)
    assert any(start == pytest.approx(1.3) for _, start, _ in bpe) and len(bpe) < len(letters)
    frames = times("phone-repeat")
    assert len(frames) == page_sounds.utterance().frames == len(times("speech-hubert"))
    assert frames[10][1:] == pytest.approx((0.2025, 0.2225), abs=1e-4)
    assert times("speech-hubert")[30][0] == "u10"
    assert rows["phone-repeat"].rate == pytest.approx(len(frames) / 2.5)
    assert rows["speech-hubert"].fine and not rows["text-raw"].fine


def test_external_units_last_as_long_as_their_durations(copied):
    row = {"id": page_sounds.ID, "units": [4, 4, 9], "durations": [10, 15, 25], "seconds": 2.5}
    path = copied / "units" / "0.parquet"
    write_table(path, [row], EXTERNAL_UNITS, rate="20")
    units, ends = moment.read_unit_ends(path, page_sounds.ID)
    assert units.tolist() == [4, 4, 9] and ends == pytest.approx([0.5, 1.25, 2.5])
    write_table(path, [row | {"durations": None}], EXTERNAL_UNITS, rate="1.5")
    assert moment.read_unit_ends(path, page_sounds.ID)[1] == pytest.approx([1 / 1.5, 2 / 1.5, 2.0])
    write_table(path, [row | {"durations": None}], EXTERNAL_UNITS, rate="0")
    assert moment.read_unit_ends(path, page_sounds.ID)[1] == []
    said = replace(page_sounds.utterance(), units=units)
    assert spans.token_spans([["u4", "u4"], ["u9"]], said, ends) == [Span("u4 u4", 0.0, 1.25), Span("u9", 1.25, 2.5)]
    assert spans.token_spans([["u4"], ["u4"], ["u9"]], said, []) is None


def test_runs_of_units_written_once_last_as_long_as_the_run():
    said = replace(page_sounds.utterance(), units=np.array([5, 5, 7, 5]), frames=4)
    found = spans.token_spans([["u5", "u7"], ["u5"]], said, [0.02, 0.04, 0.06, 0.08])
    assert found == [Span("u5 u7", 0.0, 0.06), Span("u5", 0.06, 0.08)]
    marked = spans.token_spans([["u5"], ["|"], ["u7"], ["u5"]], said, [0.02, 0.04, 0.06, 0.08])
    assert marked[1] == Span("|", 0.04, 0.04)
    assert spans.token_spans([["u1"], ["u2"]], said, [0.02, 0.04, 0.06, 0.08]) is None


@pytest.mark.parametrize("name", sorted(set(registry.names()) - {"phone-confused"}))  # which needs a table
def test_the_tokens_of_every_rung_have_times_or_none(name):
    said = page_sounds.utterance()
    ends = [0.02 * (n + 1) for n in range(said.frames)]
    symbols = registry.get(name).function(replace(said, seed=0, clusters=100))
    found = spans.token_spans([[symbol] for symbol in symbols], said, ends)
    if name in ("phone-repeat-even", "unit-phone"):
        assert found is None
        return
    assert [span.label for span in found] == symbols
    assert all(0 <= span.start <= span.end <= page_sounds.SECONDS + 1e-9 for span in found)
    assert all(one.start <= other.start + 1e-9 and one.end <= other.start + 0.011 for one, other in pairwise(found))


def test_a_long_utterance_is_cut_in_its_pauses():
    words = [Span("w", n + 0.1, n + 0.9) for n in range(12)]
    pauses = [Span("SIL", n - 0.1, n + 0.1) for n in (0.1, 5, 8, 11.9)]
    said = spans.Utterance("x", "w " * 12, words, pauses, None, 600, 12.0)
    assert moment.find_window(said) == (5.0, 8.0)
    said = spans.Utterance("x", "w " * 12, words, [], None, 600, 12.0)
    begin, end = moment.find_window(said)
    assert 2 <= end - begin <= 4 and {begin, end} <= {0.0, 12.0, *(word.end for word in words)}


def test_the_utterance_is_held_out_and_of_a_fitting_length():
    rows = [
        {"id": f"{n}", "split": split, "seconds": length}
        for n, (split, length) in enumerate([("train", 3.2), ("valid", 3.2), ("test", 1.0), ("test", 14.0)])
    ]
    assert moment.choose(rows)["id"] == "3"
    assert moment.choose(rows[:3])["id"] == "2" and moment.choose(rows[:2])["id"] == "1"
    assert moment.choose(rows[:1]) is None


def test_a_recording_that_is_gone_is_said(copied):
    (copied / "corpus" / "audio" / "0" / "held-out.flac").unlink()
    context = moment.section(copied).context
    assert context["sound"] is None and "held-out.flac" in context["reason"] and context["rows"]
    build.write_page(copied, copied / "report.html")
    assert "cannot be read here" in (copied / "report.html").read_text()


def test_a_run_without_a_held_out_utterance_has_no_such_section(copied):
    path = copied / "tokens" / "utterances.parquet"
    table = read_table(path, moment.UTTERANCES)
    write_table(path, table.filter(pa.compute.equal(table["split"], "train")), moment.UTTERANCES)
    assert moment.section(copied) is None


def test_a_page_of_any_rungs_is_written_and_escapes_what_is_said(copied):
    build.write_page(copied, copied / "report.html")
    html = (copied / "report.html").read_text()
    anchors = re.findall(r'<section id="([\w-]+)"', html)
    assert anchors[3:6] == ["listen", "items", "moment"]
    assert "sleeps &lt;b&gt;well&lt;/b&gt;" in html and "<b>well</b>" not in html
    sounds = re.findall(r'<audio[^>]*src="data:(audio/\w+);base64', html)
    assert len(sounds) == 2 * (2 + len(RUNGS)) + 2 * items.PAIRS * len(TASKS) + 1
