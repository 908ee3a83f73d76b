"""Perplexity of continuations: value, bounds, interval, and the statistics of silence and repetition."""

import io
import json
import math
import shutil
import warnings
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ladder_results import make
from test_judge import OPTIONS, TINY, TOKENS, save_llama

from speechladder.analysis import continuation, factors, table, types
from speechladder.analysis.csv_tables import read_csv
from speechladder.continuation import perplexity
from speechladder.continuation.asr import text as asr_text
from speechladder.continuation.judge import judgement
from speechladder.continuation.judge.judgement import judge_continuations, read_prompt_texts
from speechladder.continuation.judge.training import train_judge
from speechladder.continuation.perplexity import BABBLE, Speech
from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.io.tables import JUDGED, PROMPTS, TRANSCRIPTS, read_table, write_table
from speechladder.report import figures
from speechladder.report.terminal import show
from speechladder.settings import Analysis, Continuation

ANALYSIS = Analysis(resamples=200)
IDS = [f"p{n}" for n in range(6)]
TRUE = {id: f"the cow walks to barn {word}" for id, word in zip(IDS, ["by", "a", "the", "river", "and", "to"])}
REFERENCE = pa.schema([(name, pa.string()) for name in ("path", "id", "reference", "transcript")])


def row(id, nll, words, seed=0, sample=0, rung="phone-raw", path="transcript"):
    return {"rung": rung, "path": path, "id": id, "seed": seed, "sample": sample} | {
        "nll": nll,
        "words": words,
        "tokens": 2 * words,
    }


def estimated(rows, resamples=2000, seed=0):
    return continuation.estimate(rows, 0.95, resamples, np.random.default_rng(seed))


def test_the_corpus_perplexity_weighs_words():
    rows = [row("a", 2.0, 1), row("b", 30.0, 9)]
    assert continuation.total(rows) == pytest.approx(math.exp(3.2))
    assert continuation.total([*rows, row("c", 0.0, 0)]) == continuation.total(rows)
    assert math.isnan(continuation.total([row("c", 0.0, 0)]))


def test_an_endless_word_does_not_stop_the_run():
    rows = [row("a", 2000.0, 1), row("b", 5000.0, 1), row("c", 3.0, 1)]
    assert continuation.total(rows) == math.exp(100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert estimated(rows).high == math.exp(100)


def test_the_interval_holds_the_truth_and_resamples_prompts():
    covered, narrow = 0, []
    for trial in range(60):
        rng = np.random.default_rng(trial)
        ease = rng.normal(3.0, 0.5, 40)  # a prompt's continuations are equally hard
        rows = [row(f"{n}", float(ease[n] * 10), 10, sample=s) for n in range(40) for s in range(3)]
        value, low, high = estimated(rows, 400, trial)
        covered += low <= math.exp(3.0) <= high
        narrow.append(math.log(high / low))
        assert low <= value <= high
    assert covered >= 50
    # three copies of each are as uncertain as one: 2 x 1.96 x 0.5 / sqrt(40)
    assert np.mean(narrow) == pytest.approx(0.31, abs=0.04)


def test_models_that_differ_widen_the_interval():
    rows = [row(f"{n}", 10.0 * (3 + 0.1 * (n % 3) + seed), 10, seed) for n in range(20) for seed in range(2)]
    one = estimated([r for r in rows if r["seed"] == 0])
    both = estimated(rows)
    assert math.log(both.high / both.low) > 3 * math.log(one.high / one.low)


def test_silence_is_no_estimate():
    assert all(math.isnan(value) for value in estimated([row("a", 0.0, 0), row("b", 0.0, 0)]))
    value, low, high = estimated([row("a", 3.0, 1), row("b", 0.0, 0)])
    assert value == pytest.approx(math.exp(3)) and math.isnan(low) and math.isnan(high)
    assert (continuation.cell(low), continuation.cell(value)) == ("", "20.09")


def test_the_floor_shuffles_the_same_words():
    dealt = perplexity.shuffled(TRUE, 0, 2)
    assert dealt == perplexity.shuffled(dict(reversed(TRUE.items())), 0, 2) != perplexity.shuffled(TRUE, 1, 2)
    words = Counter(word for text in TRUE.values() for word in text.split())
    for sample in range(2):
        part = {id: text for id, number, text in dealt if number == sample}
        assert Counter(word for text in part.values() for word in text.split()) == words
        assert {id: len(text.split()) for id, text in part.items()} == dict.fromkeys(IDS, 6)


def test_distinct_and_entropy():
    varied, same = [["a", "b", "c", "d"]], [["a", "a", "a", "a"]]
    assert (perplexity.distinct(varied, 1), perplexity.distinct(same, 1)) == (1.0, 0.25)
    assert perplexity.distinct([["a", "b"], ["a", "b"]], 2) == 0.5  # not across two texts
    assert (perplexity.entropy(varied), perplexity.entropy(same)) == (2.0, 0.0)
    assert math.isnan(perplexity.distinct([[], ["a"]], 2)) and math.isnan(perplexity.entropy([[]]))


def test_statistics_are_of_equal_amounts():
    group = [Speech(["a", "b"], 1.0), Speech(["c", "d"], 1.0)]
    once, thrice = perplexity.statistics([group], 5.0), perplexity.statistics([group] * 3, 5.0)
    assert once == thrice == {"distinct_1": 1, "distinct_2": 1, "entropy": 2, "words_per_second": 2, "empty": 0}
    text = perplexity.statistics([[Speech(["a", "b"], 0.0), Speech([], 0.0)]], 5.0)
    assert (text["words_per_second"], text["empty"]) == (0.2, 0.5)
    silent = perplexity.statistics([[Speech([], 0.0)]], 5.0)
    assert silent == {"distinct_1": None, "distinct_2": None, "entropy": None, "words_per_second": 0.0, "empty": 1.0}


def wer(references, hypotheses, normalise):
    """Replaces jiwer's word error rate by the share of texts that differ."""
    return sum(normalise(a) != normalise(b) for a, b in zip(references, hypotheses, strict=True)) / len(references)


def transcripts(true, said, direct=lambda text: "", babble="the the barn"):
    """Rows of TRANSCRIPTS: the true continuations as `true` transcribes them, and two samples of two models."""
    rows = [(id, -1, -1, true(text)) for id, text in TRUE.items()]
    rows += [(id, seed, sample, said(text)) for id, text in TRUE.items() for seed in (0, 1) for sample in (0, 1)]
    rows += [(id, BABBLE, 0, babble) for id in [*TRUE][:3]]
    keys = ("id", "seed", "sample", "transcript")
    return [dict(zip(keys, r)) | {"direct": direct(r[3]), "seconds": 2.0} for r in rows]


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A results folder with three rungs, judged by a judge that knows the true sentences."""
    results = make(tmp_path_factory.mktemp("results"), ["text-bpe", "phone-raw", "speech-hubert"], ids=8, layers=0)
    folder = results / "continuation"
    rows = []
    for id, text in TRUE.items():
        common = {"id": id, "voice": "v", "words": [], "phones": [], "audio": b""}
        rows.append(common | {"item": f"{id}|prompt", "part": "prompt", "text": "the farmer sees", "seconds": 1.0})
        rows.append(
            common | {"item": f"{id}|whole", "part": "whole", "text": f"the farmer sees {text}", "seconds": 3.0}
        )
    write_table(folder / "prompts.parquet", rows, PROMPTS)
    write_table(folder / "text-bpe" / "transcripts.parquet", transcripts(str, str), TRANSCRIPTS)
    direct = transcripts(lambda t: t.replace("cow", "barn"), lambda t: t[::-1], lambda t: t.replace("barn", "cow"))
    write_table(folder / "phone-raw" / "transcripts.parquet", direct, TRANSCRIPTS)
    write_table(
        folder / "speech-hubert" / "transcripts.parquet", transcripts(lambda t: "the", lambda t: ""), TRANSCRIPTS
    )
    paths = (("natural", str), ("tts", str), ("resynthesis", lambda text: "the"))
    rows = [{"path": p, "id": i, "reference": t, "transcript": f(t)} for p, f in paths for i, t in TRUE.items()]
    write_table(folder / "reference.parquet", rows, REFERENCE)
    text = results / "text"
    text.mkdir()
    (text / "train.txt").write_text("".join(f"the farmer sees {t}\n" for t in TRUE.values()) * 30)
    (text / "valid.txt").write_text("".join(f"the farmer sees {t}\n" for t in TRUE.values()))
    lm = TINY.model_copy(update={"lr": 2e-2})
    train_judge(text, folder / "judge", OPTIONS.model_copy(update={"judge_steps": 60}), lm, TOKENS)
    judge(results)
    return results


def judge(results, settings=Continuation(), out="judged.parquet", quality="quality.json", second=None):  # noqa: B008
    folder = results / "continuation"
    rungs = ["text-bpe", "phone-raw", "speech-hubert"]
    files = [folder / rung / "transcripts.parquet" for rung in rungs]
    own = folder / "judge" if settings.judge == "run" else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judgement, "wer", wer)
        patch.setattr(asr_text, "wer", wer)
        judge_continuations(
            rungs,
            files,
            folder / "prompts.parquet",
            folder / "reference.parquet",
            folder / out,
            folder / quality,
            settings,
            own,
            second,
        )


def test_what_is_judged(judged):
    rows = read_table(judged / "continuation" / "judged.parquet", JUDGED).to_pylist()
    kinds = Counter((r["rung"], r["path"], r["seed"] == -1) for r in rows)
    assert kinds == {
        ("reference", "true", True): 6,
        ("reference", "shuffled", True): 12,
        ("text-bpe", "transcript", True): 6,
        ("text-bpe", "transcript", False): 27,  # four by the models of each prompt, three of babble
        ("phone-raw", "transcript", True): 6,
        ("phone-raw", "transcript", False): 27,
        ("phone-raw", "direct", True): 6,
        ("phone-raw", "direct", False): 27,
        ("speech-hubert", "transcript", True): 6,
        ("speech-hubert", "transcript", False): 27,
    }
    silent = [r for r in rows if r["rung"] == "speech-hubert" and r["seed"] >= 0]
    assert {(r["nll"], r["words"], r["tokens"]) for r in silent} == {(0.0, 0, 0)}
    assert {r["words"] for r in rows if r["rung"] == "reference"} == {6}


def test_quality(judged):
    quality = read_json(judged / "continuation" / "quality.json")
    assert quality["wer"] == {"natural": 0.0, "tts": 0.0, "resynthesis": 1.0}
    assert quality["wer_of_path"] == {"text-bpe": 0.0, "phone-raw": 1.0, "speech-hubert": 1.0}
    assert 1 < quality["judge"]["valid_perplexity_per_word"] < 3  # it has seen these six sentences 30 times
    assert "WER of 100 %" in quality["notes"][0]
    assert quality["said"]["true"]["words_per_second"] == 3.0
    assert quality["said"]["speech-hubert"]["empty"] == 1.0  # babble is no continuation of the rung
    assert quality["babble_prompts"] == 3


def test_whispers_cases_and_the_second_recogniser_are_part_of_the_quality(judged, tmp_path):
    plain = read_json(judged / "continuation" / "quality.json")
    assert not {"asr_cases", "second_asr"} & {*plain}  # PocketSphinx has neither
    results = tmp_path / "results"
    shutil.copytree(judged, results)
    folder = results / "continuation"
    counts = {
        "parts": 9,
        "repetitive": 2,
        "improbable": 1,
        "no_speech": 3,
        "still_repetitive": 0,
        "still_improbable": 0,
    }
    for file, more in (
        (folder / "reference.parquet", {}),
        (folder / "phone-raw" / "transcripts.parquet", {"still_repetitive": 2}),
    ):
        found = pq.read_table(file)
        pq.write_table(found.replace_schema_metadata({"asr_cases": json.dumps(counts | more)}), file)
    second = {"asr": "Whisper tiny", "wer": {"natural": 0.41, "tts": 0.32, "resynthesis": 0.66}, "examples": {}}
    (folder / "second_asr.json").write_text(json.dumps(second))
    judge(results, second=folder / "second_asr.json")
    quality = read_json(folder / "quality.json")
    assert quality["asr_cases"] == {"reference": counts, "phone-raw": counts | {"still_repetitive": 2}}
    assert "repeats itself at its last temperature too (2 of 9 of phone-raw)" in quality["notes"][-1]
    assert quality["second_asr"] == second
    assert {**quality, "notes": quality["notes"][:-1]} == {
        **plain,
        "asr_cases": quality["asr_cases"],
        "second_asr": second,
    }


def test_the_table_and_its_bounds(judged):
    rungs = ["text-bpe", "phone-raw", "speech-hubert"]
    said = continuation.write_continuation(judged, rungs, 0, ANALYSIS)
    rows = {row["rung"]: row for row in read_csv(judged / "continuation.csv", continuation.COLUMNS)}
    assert list(rows) == [*rungs, "true", "shuffled"]
    text, phone, speech = (rows[rung] for rung in rungs)
    assert text["ppl"] == text["ceiling"] == text["text_ceiling"] == rows["true"]["ppl"]
    assert float(text["ppl"]) < float(text["floor"]) < float(phone["ppl"])
    assert float(phone["direct_ceiling"]) > float(text["ceiling"]) and text["direct_ppl"] == ""
    assert (speech["ppl"], speech["ppl_low"], speech["empty"], speech["words_per_second"]) == (
        "",
        "",
        "100.0",
        "0.000",
    )
    assert float(text["ppl_low"]) <= float(text["ppl"]) <= float(text["ppl_high"])
    # the same three words after three prompts: the floor of a path, whatever the rung's own continuations are
    said_babble = {row["babble"] for row in (text, phone, speech)}
    assert len(said_babble) == 1 and float(text["babble"]) > float(text["ppl"])
    assert float(text["babble_low"]) <= float(text["babble"]) <= float(text["babble_high"])
    assert phone["direct_babble"] != phone["babble"] == text["babble"] and text["direct_babble"] == ""
    before = (judged / "continuation.csv").read_bytes()
    continuation.write_continuation(judged, rungs, 0, ANALYSIS)
    assert before == (judged / "continuation.csv").read_bytes()
    table.write_table(judged, rungs, table.read_scores(judged, rungs), 0, ANALYSIS, said)
    for write in (factors.write_factors, types.write_types):
        write(judged, rungs, table.read_scores(judged, rungs), 0, ANALYSIS)
    cells = read_csv(judged / "table.csv", table.table_columns())
    assert list(cells[0])[-3:] == ["ppl", "ppl_low", "ppl_high"]
    assert [row["ppl"] for row in cells] == [text["ppl"], phone["ppl"], ""]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures.draw_continuation(judged / "continuation.csv", judged / "figures")
    assert {path.name for path in (judged / "figures").iterdir()} == {"continuation.svg", "continuation.png"}
    out = io.StringIO()
    show(judged, file=out, width=80)
    lines = [line for line in out.getvalue().splitlines() if str(judged) not in line]
    assert max(map(len, lines)) <= 80 and "PPL" in out.getvalue()
    assert "the first 3 prompts" in " ".join(out.getvalue().split())
    assert "100 %" in next(line for line in reversed(lines) if line.startswith("speech-hubert"))
    flat = " ".join(out.getvalue().split())
    assert "units through the vocoder 100 %" in flat and "Note: resynthesised" in flat
    quality = judged / "continuation" / "quality.json"
    plain = quality.read_text()
    second = {"asr": "Whisper tiny", "wer": {"natural": 0.41, "tts": 0.32, "resynthesis": 0.66}}
    quality.write_text(json.dumps(json.loads(plain) | {"second_asr": second}))
    show(judged, file=(again := io.StringIO()), width=80)
    quality.write_text(plain)
    wanted = "The same by Whisper tiny: natural speech 41 %, text through TTS 32 %, units through the vocoder 66 %."
    assert wanted in " ".join(again.getvalue().split()) and wanted not in flat
    with pytest.raises(UserError, match=r"judged.parquet: no rung phone-bpe"):
        continuation.write_continuation(judged, ["phone-bpe"], 0, ANALYSIS)


def test_off_leaves_headers_and_empty_cells(tmp_path):
    make(tmp_path, ["phone-raw"], ids=8, layers=0, learning=0)
    said = continuation.write_continuation(tmp_path, [], 0, ANALYSIS)
    assert said == {} and read_csv(tmp_path / "continuation.csv", continuation.COLUMNS) == []
    table.write_table(tmp_path, ["phone-raw"], table.read_scores(tmp_path, ["phone-raw"]), 0, ANALYSIS, said)
    for write in (factors.write_factors, types.write_types):
        write(tmp_path, ["phone-raw"], table.read_scores(tmp_path, ["phone-raw"]), 0, ANALYSIS)
    (row,) = read_csv(tmp_path / "table.csv", table.table_columns())
    assert [row[name] for name in table.PPL] == ["", "", ""]
    out = io.StringIO()
    show(tmp_path, file=out, width=80)
    assert "PPL" not in out.getvalue()


def test_another_judge_and_the_same_bytes(judged, tmp_path):
    judge(judged, out="again.parquet", quality="again.json")
    folder = judged / "continuation"
    for suffix, first in (("parquet", "judged"), ("json", "quality")):
        assert (folder / f"again.{suffix}").read_bytes() == (folder / f"{first}.{suffix}").read_bytes()
    other = Continuation(judge="hf", judge_model=str(save_llama(tmp_path, "bytes")))
    judge(judged, other, "hf.parquet", "hf.json")
    rows = read_table(folder / "hf.parquet", JUDGED).to_pylist()
    assert all(math.isfinite(r["nll"]) and (r["nll"] > 0) == (r["words"] > 0) for r in rows)
    assert read_json(folder / "hf.json")["judge"]["model"] == str(tmp_path)


def test_prompts_of_another_run(judged, tmp_path):
    path = judged / "continuation" / "prompts.parquet"
    told = read_prompt_texts(path, str.upper)
    assert told.prompts["p0"] == "THE FARMER SEES" and told.true["p0"] == "THE COW WALKS TO BARN BY"
    assert told.seconds["p0"] == 2.0
    rows = read_table(path, PROMPTS).to_pylist()
    write_table(tmp_path / "prompts.parquet", rows[1:], PROMPTS)
    with pytest.raises(
        UserError, match=r"prompts.parquet: prompt 'p0' has the parts \['whole'\], not prompt and whole"
    ):
        read_prompt_texts(tmp_path / "prompts.parquet", str)
