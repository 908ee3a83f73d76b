"""Plans: formulas against transformers and by hand, jobs, hours, rates with what they rest on, the page."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.command import parse
from speechladder.corpora.audit import audit_corpus
from speechladder.corpora.cuts import Cut, write_cuts
from speechladder.io.errors import UserError
from speechladder.io.files import write_jsonl
from speechladder.io.tables import UTTERANCES, write_table
from speechladder.lm import compute
from speechladder.plan import costs, page, rates, speech, stages
from speechladder.plan.context import Context
from speechladder.plan.inputs import (
    File,
    Job,
    Jobs,
    Machine,
    find_machine,
    find_target,
    hub_models,
    jobs_of_a_new_run,
    parse_jobs,
)
from speechladder.plan.rates import Figure
from speechladder.plan.speech import SPOKEN, Hours, Measured, find_hours
from speechladder.settings import LM, STAGES, WORLD_HOURS, load
from speechladder.units.encoders.compute import HUBERT_LARGE, encoder_flops
from speechladder.workflow.presets import configuration, preset_file
from speechladder.workflow.record import read_record, write_record

ROOT = Path(__file__).resolve().parents[2]
TINY = LM(hidden_size=8, layers=2, heads=4, kv_heads=2, intermediate_size=16, window=10, batch_windows=2)

# Round numbers: real-time factors, bytes per hour, FLOP/s.
NUMBERS = {
    "read_audio": 1000,
    "align_pocketsphinx": 20,
    "encoder_flops": 1e9,
    "encode_micro": 100,
    "assign_flops": 1e9,
    "kmeans_flops": 1e9,
    "lm_flops": 1e9,
    "lm_flops_30m": 2e9,
    "score_flops": 1e9,
    "generate_flops": 1e9,
    "bytes_cuts": 1000,
    "bytes_alignment": 2000,
    "bytes_units": 3000,
    "bytes_audio": 4000,
    "bytes_world": 5000,
    "select": 500,
    "tokenize": 250,
    "speak": 100,
    "manifest": 10_000,
    "bytes_manifest": 600,
    "start_light": 0.36,
    "start_torch": 3.6,
}
GPU = {"memory": 80e9, "bf16": 100e12, "fp32": 10e12, "fp64": 5e12}


def contents(**changes: object) -> dict:
    """A rates.json of round numbers."""
    shipped = json.loads(rates.FILE.read_text())
    entry = {"device": "cpu", "hardware": "a core", "date": "2026-01-01", "commit": "abc"}
    measured = [entry | {"rates": {name: {"value": value, "unit": "u"} for name, value in NUMBERS.items()}}]
    return shipped | {"measured": measured, "gpus": {"A100-80GB": GPU, "H200": GPU | {"bf16": 200e12}}} | changes


@pytest.fixture
def book() -> rates.Rates:
    return rates.Rates(contents(), Path("rates.json"))


def settings(**sections: object):
    """LibriSpeech of 100.6 + 5.4 hours in ten shards."""
    corpus = {"name": "librispeech", "archives": ["train-clean-100.tar.gz", "dev-clean.tar.gz"], "shards": 10}
    files = {name: {"urls": ["http://nowhere.test/x"], "bytes": 1000} for name in corpus["archives"]}
    base = {
        "corpus": corpus,
        "alignment": {"aligner": "pocketsphinx"},
        "downloads": {"files": files},
        "continuation": {"enabled": False},
    }
    return load(base | sections)


NEW = Jobs(error="Snakemake was not asked")  # of a run that has not begun


def measured(found, results: Path = Path("nowhere")) -> Measured:
    """What is measured in a folder, as a plan reads it."""
    return Measured(results, found, read_record(results))


def hours(found, results: Path = Path("nowhere")) -> Hours:
    return find_hours(found, measured(found, results))


def context(book: rates.Rates, found, machine: Machine, results: Path = Path("nowhere"), files=()) -> Context:
    return Context(found, hours(found, results), book, machine, measured(found, results), tuple(files))


def planned(book: rates.Rates, found, jobs: Jobs = NEW, gpus: int = 0, files=()) -> stages.Plan:
    machine = Machine(4, gpus, "A100-80GB" if gpus else None)
    return stages.make(context(book, found, machine, files=files), jobs)


def row(plan: stages.Plan, name: str) -> stages.Stage:
    return next(stage for stage in plan.stages if stage.name == name)


# ---------------------------------------------------------------- formulas


@pytest.mark.parametrize("vocabulary", [32, 2048])
def test_parameters_are_those_of_transformers(vocabulary):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from speechladder.units.kmeans.bottom_k import SHARE

    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=TINY.hidden_size,
        intermediate_size=TINY.intermediate_size,
        num_hidden_layers=TINY.layers,
        num_attention_heads=TINY.heads,
        num_key_value_heads=TINY.kv_heads,
        tie_word_embeddings=False,
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    assert compute.parameters(TINY, vocabulary) == model.num_parameters()
    assert (
        compute.active_parameters(TINY, vocabulary) == model.num_parameters() - model.model.embed_tokens.weight.numel()
    )
    assert costs.SAMPLE_SHARE == SHARE


def test_tinyllama_with_its_own_vocabulary_has_the_parameters_of_its_name():
    paper = load(yaml.safe_load((ROOT / "presets/paper.yaml").read_text())).lm
    assert compute.parameters(paper, 32_000) == 1_100_048_384  # as its card says


def test_training_operations_by_hand():
    # a block: q and o 2 x 64, k and v 2 x 8 x 4, feed-forward 3 x 8 x 16, norms 2 x 8; then the last norm, the head
    assert compute.active_parameters(TINY, 32) == 2 * 592 + 8 + 256
    assert (
        compute.train_flops(TINY, 32, 6) == 6 * 1448 + 12 * 2 * 8 * 3
    )  # a token sees three others of a document of six
    assert compute.train_flops(TINY, 32, 600) == 6 * 1448 + 12 * 2 * 8 * 5  # never beyond the window of ten
    assert compute.score_flops(TINY, 32, 6, layers=False) == compute.train_flops(TINY, 32, 6) / 3
    extra = compute.score_flops(TINY, 32, 6, layers=True) - compute.score_flops(TINY, 32, 6, layers=False)
    assert extra == 2 * 2 * 32 * 8  # the head once more for each layer


def test_encoder_operations_by_hand_and_of_hubert_large():
    tiny = {
        "hidden_size": 4,
        "intermediate_size": 8,
        "conv_dim": [2, 3],
        "conv_kernel": [10, 5],
        "conv_stride": [160, 2],
        "num_conv_pos_embeddings": 6,
        "num_conv_pos_embedding_groups": 2,
    }
    front = 2 * 10 * 1 * 2 * 100 + 2 * 5 * 2 * 3 * 50 + 2 * 3 * 4 * 50 + 2 * 6 * 2 * 4 * 50
    layer = (2 * (4 * 16 + 2 * 32) + 4 * 4 * 100) * 50  # two seconds are a hundred frames
    assert encoder_flops(tiny, 3, 2.0) == front + 3 * layer
    # "about 36 GFLOP per second of audio through all 24 layers", attention left out
    assert encoder_flops(HUBERT_LARGE, 24, 0.0) == pytest.approx(36e9, rel=0.05)
    assert encoder_flops(HUBERT_LARGE, 12, 10.0) < encoder_flops(HUBERT_LARGE, 24, 10.0)


def test_the_longest_job_decides_what_many_places_cannot_shorten():
    assert stages.makespan([5, 1, 1, 1, 1, 1], 2) == 5
    assert stages.makespan([3, 3, 3], 2) == 6
    assert stages.makespan([], 2) == 0


def test_a_sum_rests_on_its_weakest_term_that_is_not_nothing():
    assert (Figure(1, "measured") + Figure(2, "assumed")) == Figure(3, "assumed")
    assert (Figure(1, "published") + Figure(0, "assumed")) == Figure(1, "published")
    assert Figure(2, "measured").times(3, "derived") == Figure(6, "derived")


# ---------------------------------------------------------------- rates


def test_a_rate_says_what_it_rests_on(book):
    assert book.get("align_pocketsphinx") == rates.Rate(20, "measured", "a core, 2026-01-01, commit abc")
    assert book.get("align_mfa").basis == "assumed"
    assert book.get("bytes_librilight").basis == "published"
    with pytest.raises(UserError, match=r"rates.json: no rate 'nonsense'"):
        book.get("nonsense")


def test_a_gpu_that_nobody_measured_has_a_share_of_its_published_peak(book):
    found = book.gpu("lm_flops_1b", "A100-80GB", "bf16")
    assert (found.basis, found.value) == ("published", pytest.approx(0.56 * 100e12))
    assert "TinyLlama" in found.source
    assert book.gpu("lm_flops", "A100-80GB", "bf16").basis == "assumed"
    with pytest.raises(UserError, match=r"'A1000' is not known; known: A100-80GB, H200"):
        book.gpu("lm_flops", "A1000", "bf16")


def test_a_measured_gpu_counts_for_itself_and_by_its_share_for_others():
    entry = {"device": "cuda", "hardware": "NVIDIA A100-SXM4-80GB", "date": "2026-01-02", "commit": "def"}
    measured = contents()["measured"]
    book = rates.Rates(
        contents(measured=[*measured, entry | {"rates": {"lm_flops": {"value": 25e12}}}]), Path("r.json")
    )
    own, other = (book.gpu("lm_flops_1b", name, "bf16") for name in ("A100-80GB", "H200"))
    assert (own.value, own.basis) == (25e12, "measured")
    assert (other.value, other.basis) == (pytest.approx(50e12), "derived")
    assert book.get("align_pocketsphinx").value == 20  # a GPU's entry hides no rate of the CPU


def test_drivers_names_of_gpus_are_known():
    book = rates.Rates.load()
    names = {
        "NVIDIA A100-SXM4-80GB": "A100-80GB",
        "NVIDIA A100-PCIE-40GB": "A100-40GB",
        "NVIDIA H100 80GB HBM3": "H100",
        "NVIDIA H200": "H200",
        "NVIDIA GeForce RTX 4090": "RTX-4090",
        "Tesla T4": None,
    }
    assert {name: book.known_gpu(name) for name in names} == names


@pytest.mark.parametrize("broken", ["[]", '{"measured": {}}', "{"])
def test_a_broken_file_of_rates_is_named(tmp_path, broken):
    (tmp_path / "rates.json").write_text(broken)
    with pytest.raises(UserError, match=r"rates\.json"):
        rates.Rates.load(tmp_path / "rates.json")


def test_a_rate_of_nothing_is_refused():
    content = contents()
    content["assumed"]["align_mfa"]["value"] = 0
    with pytest.raises(UserError, match="'align_mfa' has no value above 0"):
        rates.Rates(content, Path("r.json")).get("align_mfa")


# ---------------------------------------------------------------- what is left to be done


DRY_RUN = """Building DAG of jobs...
[Fri Jan  2 10:16:43 2026]
localrule download:
    output: results/downloads/small.tar
    wildcards: file=small.tar
    resources: tmpdir=/tmp, downloads=1
[Fri Jan  2 10:16:43 2026]
rule align:
    input: results/corpus/cuts.0.jsonl.gz
    jobid: 7
    wildcards: shard=0
[Fri Jan  2 10:16:43 2026]
rule align:
    input: results/corpus/cuts.1.jsonl.gz
    jobid: 8
    wildcards: shard=1
[Fri Jan  2 10:16:43 2026]
rule train_lm:
    output: results/lm/text-bpe/seed0/train.json
    wildcards: rung=text-bpe, seed=0
rule train_lm:
    wildcards: point=scaling/1e-05/xs/, rung=text-bpe, seed=0
rule train_lm:
    wildcards: point=units_sweep/layer3-k100-none-seed0/, rung=speech-hubert-dedup, seed=0
rule sweep_quality:
    wildcards: layer=2
rule make_table:
    jobid: 0
Job stats:
job               count
--------------  -------
align                 2
total                 8
"""


def test_jobs_are_read_from_snakemakes_dry_run():
    jobs = parse_jobs(DRY_RUN)
    assert jobs == [
        Job("download", name="small.tar"),
        Job("align"),
        Job("align"),
        Job("train_lm", "text-bpe"),
        Job("train_lm", "text-bpe", point="scaling/1e-05/xs/"),
        Job("train_lm", "speech-hubert-dedup", point="units_sweep/layer3-k100-none-seed0/"),
        Job("sweep_quality", point="units_sweep/layer2/"),
        Job("make_table"),
    ]
    assert parse_jobs("Nothing to be done (all requested files are present and up to date).") == []


@pytest.mark.parametrize(("source", "width"), [("mfcc", 39), ("logmel", 40)])
def test_features_of_no_model_cost_what_they_cost_and_not_an_encoder(book, source, width):
    found = settings(rungs=["speech-hubert"], units={"source": source, "sample_frames": 9000, "layer": 99})
    units, sample = (row(planned(book, found), name) for name in ("units", "k-means sample"))
    assigned = 2 * 100 * width * 50 * 3600 * 106.0 / 1e9 / 3600
    features = 106.0 / book.get("encode_spectral").value
    assert units.cost.cpu.value == pytest.approx(106.0 / 1000 + features + assigned + 10 * 3.6 / 3600)
    assert sample.cost.disk.value == 9000 * width * 4


def test_the_plan_of_a_small_run_by_hand(book):
    lm = TINY.model_dump() | {"max_steps": 100, "max_passes": 100, "learning_points": 1, "valid_every": 50}
    lm |= {"valid_seconds": 100, "window": 100}
    found = settings(lm=lm, rungs=["text-raw", "speech-hubert"], units={"sample_frames": 9000, "iterations": 10})
    files = [File("train-clean-100.tar.gz", 1000, False), File("dev-clean.tar.gz", 500, True)]
    plan = planned(book, found, files=files)
    speech = 106.0

    assert row(plan, "download").cost.disk.value == 1000  # the other one is there
    align = row(plan, "align")
    assert (align.jobs, align.hours) == (11, Figure(speech, "published"))
    assert align.cost.cpu.value == pytest.approx(speech / 20 + 10 * 0.36 / 3600)
    assert align.cost.cpu.basis == "published"  # measured rate, published hours
    assert align.wall.value == pytest.approx(align.cost.cpu.value / 4)
    assert align.cost.disk == Figure(speech * 2000, "published")

    units = row(plan, "units")
    assigned = 2 * 100 * 192 * 50 * 3600 * speech / 1e9 / 3600  # clusters, width of hubert-micro, frames per hour
    assert units.cost.cpu.value == pytest.approx(speech / 1000 + speech / 100 + assigned + 10 * 3.6 / 3600)

    sample = row(plan, "k-means sample")
    assert sample.hours.value == pytest.approx(9000 / 50 / 3600 * 2)  # half of each utterance's frames
    assert sample.cost.disk.value == 9000 * 192 * 4
    kmeans = row(plan, "k-means")
    assert kmeans.cost.cpu.value == pytest.approx(2 * 9000 * 100 * 192 * 10 / 1e9 / 3600 + 0.36 / 3600)

    document = 12.3 * 50 + 2
    operations = 6 * (2 * 592 + 8 + 104 * 8) + 12 * 2 * 8 * 50
    validated = 2 * 100 * 50 / 3
    speaking = operations * (100 * 200 + validated) / 1e9 / 3600
    model = plan.models[1]
    assert (model.steps, model.tokens, model.vocabulary) == (100, 20_000, 104)
    assert model.pass_tokens == pytest.approx(100.6 * 3600 / 12.3 * document)
    assert model.cost.cpu.value == pytest.approx(speaking)
    train = row(plan, "train")
    assert train.jobs == 2
    both = compute.parameters(lm := found.lm, 104) + compute.parameters(lm, 33)
    assert train.cost.disk == Figure(4 * 2 * both, "derived")  # final weights and one snapshot
    assert train.wall.value == pytest.approx(
        max(m.cost.hours.value for m in plan.models)
    )  # at once, on two of four cores

    assert plan.total.jobs == sum(stage.jobs for stage in plan.stages)
    assert plan.total.cost.cpu.value == pytest.approx(sum(stage.cost.cpu.value for stage in plan.stages))
    assert plan.total.cost.cpu.basis == "assumed"


def test_gpus_take_over_what_models_do_and_leave_the_rest_to_cores(book):
    found = settings(units={"encoder": "facebook/hubert-large-ll60k", "layer": 24, "clusters": 2048})
    on_cpu, on_gpu = (planned(book, found, gpus=n) for n in (0, 2))
    units = row(on_gpu, "units")
    each = encoder_flops(HUBERT_LARGE, 24, 12.3)
    share, assigning = (book.content["assumed"][f"{n}_flops_utilisation"]["value"] for n in ("encoder", "assign"))
    encoded = 106 * each / (share * 100e12)  # in bf16, and centroids are ranked in fp32
    assigned = 106 * 2 * 2048 * 1024 * 50 / (assigning * 10e12)
    assert units.cost.gpu == Figure(pytest.approx(encoded + assigned), "assumed")
    assert units.wall.value == pytest.approx((units.cost.gpu.value + units.cost.cpu.value) / 2)
    assert row(on_cpu, "units").cost.gpu.value == 0
    assert row(on_cpu, "units").cost.cpu.value > units.cost.cpu.value
    assert row(on_gpu, "align").cost == row(on_cpu, "align").cost
    exact = settings(units={**found.units.model_dump(), "precision": "fp32", "kmeans": "torch"})
    slow = planned(book, exact, gpus=2)
    assert row(slow, "units").cost.gpu.value > 5 * units.cost.gpu.value
    assert row(slow, "k-means").cost.gpu.value > row(on_gpu, "k-means").cost.gpu.value == 0  # faiss, on a CPU
    assert row(on_gpu, "train").cost.gpu.basis == "assumed"


def test_of_a_half_finished_run_the_rest_is_planned(book):
    found = settings(rungs=["text-raw", "speech-hubert"])
    whole = planned(book, found)
    jobs = {Job("align"): 4, Job("extract_units"): 10, Job("train_lm", "speech-hubert"): 1, Job("make_table"): 1}
    rest = planned(book, found, Jobs(Counter(jobs | {Job("all"): 1, Job("polish"): 2, Job("polish", "text-raw"): 1})))
    assert [stage.name for stage in rest.stages] == ["align", "units", "train", "report"]
    assert row(rest, "align").cost.cpu.value == pytest.approx(0.4 * row(whole, "align").cost.cpu.value)
    assert row(rest, "align").hours.value == pytest.approx(42.4)
    assert row(rest, "units").cost == row(whole, "units").cost
    (speaking,) = rest.models
    assert speaking.name == "speech-hubert"
    assert row(rest, "train").cost.cpu.value == pytest.approx(speaking.cost.cpu.value + 3.6 / 3600)
    assert rest.unknown == {"polish": 3}  # said, not guessed at


OWN_TARGETS = re.compile(r"variability\w*|causes\w*|export_audio")  # no table needs them


def test_every_rule_of_a_table_belongs_to_a_stage():
    texts = [path.read_text() for path in (ROOT / "workflow" / "rules").glob("*.smk")]
    rules = {name for text in texts for name in re.findall(r"(?m)^ *(?:rule|use rule \w+ as) (\w+)(?: with)?:", text)}
    assert {name for name in rules if not OWN_TARGETS.fullmatch(name)} <= set(STAGES)
    assert set(costs.COSTS) | set(costs.NOT_ESTIMATED) <= set(STAGES)


def test_statistics_of_speakers_are_jobs_of_the_stages_that_wait_for_them(book):
    plain, spoken = (planned(book, settings(units={"normalisation": kind})) for kind in ("none", "speaker"))
    for name in ("k-means sample", "items"):
        assert row(spoken, name).jobs == row(plain, name).jobs + 1
    jobs = ["speaker_statistics", "sample_features", "voice_statistics", *["make_items"] * 3]
    some = planned(book, settings(units={"normalisation": "speaker"}), Jobs(Counter(map(Job, jobs))))
    assert some.unknown == {}
    assert (row(some, "k-means sample").jobs, row(some, "items").jobs) == (2, 4)


def test_passes_end_a_short_rung_before_the_steps_do(book):
    found = settings(lm={"max_steps": 10_000, "max_passes": 2, "batch_windows": 4})
    one = context(book, found, Machine(1, 0, None))
    text, speech = (costs.plan_model(one, name) for name in ("text-bpe", "speech-hubert"))
    assert text.steps == -(-2 * text.pass_tokens // (1024 * 4)) < speech.steps
    assert text.rate == Figure(4.45, "published")


def test_a_rungs_own_token_rate_goes_before_the_papers(tmp_path):
    (tmp_path / "tokens" / "text-bpe").mkdir(parents=True)
    (tmp_path / "tokens" / "text-bpe" / "meta.json").write_text('{"tokens_per_second": 5.5}')
    found = settings()
    write_record(tmp_path, found)
    assert costs.token_rate("text-bpe", found, measured(found, tmp_path)) == Figure(5.5, "measured")


def test_rungs_that_shorten_units_are_not_counted_as_frames(tmp_path):
    found = settings()
    for rung in ("speech-hubert-dedup", "unit-bpe", "unit-phone"):
        rate = costs.token_rate(rung, found, measured(found, tmp_path))
        assert (
            rate.basis == "assumed"
            and rate.value < costs.token_rate("unit-vote", found, measured(found, tmp_path)).value
        )


def test_vocabularies_are_the_tokenizers():
    found = settings(tokens={"stress": True, "text_vocab": 300}, units={"clusters": 77})
    sizes = {name: costs.vocabulary(name, found) for name in ("text-bpe", "text-raw", "phone-raw", "speech-hubert")}
    assert sizes == {"text-bpe": 300, "text-raw": 33, "phone-raw": 90, "speech-hubert": 81}


def test_a_training_that_fits_no_gpu_is_said(book):
    paper = yaml.safe_load((ROOT / "presets/paper.yaml").read_text())
    length = Hours(50_000, 40, 16.5, "published", "x")
    machine = Machine(1, 4, "A100-80GB")

    def verdict(memory: float, **lm: object) -> str | None:
        asked = load(paper | {"lm": paper["lm"] | lm})
        one = Context(asked, length, book, machine, measured(asked))
        return costs.too_large(costs.plan_model(one, "text-bpe"), asked, memory)

    assert verdict(80e9) is None  # gradients accumulate to the 128 windows
    assert verdict(80e9, processes=1) is None
    assert "0.98 B parameters needs some" in verdict(8e9, processes=1)
    assert "raise lm.processes, with lm.parallel: fsdp" in verdict(8e9, processes=1)
    assert verdict(8e9, processes=16) is None  # in parts


def test_processes_share_a_models_hours(book):
    one, two = (planned(book, settings(lm={"processes": n, "batch_windows": 4}), gpus=2) for n in (1, 2))
    assert row(two, "train").cost == row(one, "train").cost
    assert row(two, "train").wall.value == pytest.approx(sum(m.cost.hours.value for m in two.models) / 2)


def test_official_items_are_counted_and_capped():
    official = {"slm21": "sLM21.dataset.zip", "storycloze": "tSC.zip"}
    urls = {"urls": ["http://nowhere.test/x"]}
    files = settings().downloads.model_dump()["files"] | dict.fromkeys(official.values(), urls)

    def count(**more: object) -> speech.Items:
        found = settings(benchmarks=official | more, downloads={"files": files})
        return speech.all_items(found, measured(found))

    assert count().count == 40_000 + 50_400 + 3_742
    assert count(slm21_splits=["dev", "test"]).count == 200_000 + 554_400 + 3_742
    assert count(max_pairs=10).count == 80 + 80 + 20
    assert count().hours.basis == "assumed"
    found = settings(benchmarks=official, downloads={"files": files})
    assert speech.task_items(found, measured(found), TASKS["topic"]).hours.value == pytest.approx(3_742 * 14 / 3600)


# ---------------------------------------------------------------- hours


def _audited(corpus: Path, seconds: dict[str, int]) -> None:
    """The figures of the audit itself, of a corpus with so many utterances of a second in each split."""
    cuts = [
        Cut(f"{split}{n}", "r", "r.flac", 0.0, 1.0, "s", split, "a", "A", 16_000, 16_000)
        for split, count in seconds.items()
        for n in range(count)
    ]
    write_cuts(corpus / "cuts.0.jsonl.gz", cuts)
    write_jsonl(corpus / "rejected.0.jsonl", [{"id": "x", "reason": "silent", "source": "", "split": "train"}])
    audit_corpus(
        [corpus / "cuts.0.jsonl.gz"], [corpus / "rejected.0.jsonl"], corpus / "audit.json", corpus / "a.tsv", 0.5
    )


def test_hours_are_the_runs_own_as_far_as_it_got(tmp_path):
    found, corpus = settings(), tmp_path / "corpus"
    write_record(tmp_path, found)
    assert hours(found, tmp_path) == Hours(
        100.6, 5.4, 12.3, "published", "corpus.archives; LibriHeavy's and LibriSpeech's papers"
    )
    (corpus / "manifest").mkdir(parents=True)
    splits = {"train": {"utterances": 90, "hours": 0.9}, "valid": {"utterances": 10, "hours": 0.1}}
    (corpus / "manifest" / "summary.json").write_text(json.dumps({"after": splits}))
    manifest = hours(found, tmp_path)
    assert (manifest.train, manifest.other, manifest.utterance) == pytest.approx((0.9, 0.1, 36.0))
    _audited(corpus, {"train": 1620, "valid": 180})
    audited = hours(found, tmp_path)
    assert audited.train == 0.45
    assert (audited.other, audited.utterance) == pytest.approx((0.05, 1.0))
    rows = [
        {"id": split, "split": split, "shard": 0, "speaker": "a", "seconds": seconds, "frames": 1}
        for split, seconds in (("train", 72.0), ("valid", 36.0))
    ]
    write_table(tmp_path / "tokens" / "utterances.parquet", rows, UTTERANCES)
    last = hours(found, tmp_path)
    assert (last.train, last.other, last.utterance, last.basis) == pytest.approx((0.02, 0.01, 54.0, "measured"))


def test_hours_of_named_subsets_and_caps(tmp_path):
    manifests = ["libriheavy_cuts_small.jsonl.gz", "libriheavy_cuts_medium.jsonl.gz", "libriheavy_cuts_dev.jsonl.gz"]
    heavy = {"name": "libriheavy", "manifests": manifests, "source": "/nowhere"}
    found = hours(settings(corpus=heavy), tmp_path)
    assert (found.train, found.other) == pytest.approx((5042, 22.3))  # medium is cumulative in the paper
    capped = hours(settings(corpus=heavy | {"hours": 100}), tmp_path)
    assert (capped.train, capped.other) == pytest.approx((100, 22.3))
    alone = hours(settings(corpus=heavy | {"manifests": manifests[:1], "valid_fraction": 0.1}), tmp_path)
    assert (alone.train, alone.other) == pytest.approx((509 * 0.88, 509 * 0.12))
    with pytest.raises(UserError, match=r"corpus.manifests: the hours of mine.jsonl.gz are not known"):
        hours(settings(corpus=heavy | {"manifests": ["mine.jsonl.gz"]}), tmp_path)


def test_hours_of_the_world_and_of_a_folder(tmp_path):
    world = hours(load({"corpus": {"hours": 10}}), tmp_path)
    assert (world.total, world.basis) == (10, "derived")
    assert hours(load({}), tmp_path).total == WORLD_HOURS
    (tmp_path / "a" / "b").mkdir(parents=True)
    soundfile.write(tmp_path / "a" / "b" / "x.flac", np.zeros(16_000 * 36), 16_000)
    (tmp_path / "a" / "b" / "broken.flac").write_bytes(b"no")
    local = {"corpus": {"name": "local", "path": str(tmp_path)}, "alignment": {"aligner": "pocketsphinx"}}
    assert hours(load(local), tmp_path).total == pytest.approx(0.01)
    local["corpus"]["speech"] = "synthesized"
    spoken = hours(load(local), tmp_path)
    assert (spoken.total, spoken.basis) == (pytest.approx(0.01 * SPOKEN), "assumed")
    empty = {"corpus": {"name": "local", "path": str(tmp_path / "none")}, "alignment": {"aligner": "pocketsphinx"}}
    with pytest.raises(UserError, match=r"corpus.path: no audio"):
        hours(load(empty), tmp_path)


# ---------------------------------------------------------------- what counts as measured


@pytest.fixture
def default_run(tmp_path, monkeypatch) -> Path:
    """The folder of a default run, with the files from which a plan takes measured figures."""
    results = tmp_path / "results"
    (results / "corpus").mkdir(parents=True)
    (results / "corpus" / "cuts.0.jsonl.gz").touch()
    rows = [
        {"id": split, "split": split, "shard": 0, "speaker": "a", "seconds": seconds, "frames": 1}
        for split, seconds in (("train", 7200.0), ("valid", 3600.0))
    ]
    write_table(results / "tokens" / "utterances.parquet", rows, UTTERANCES)
    for rung in ("text-bpe", "speech-hubert"):
        (results / "tokens" / rung).mkdir()
        (results / "tokens" / rung / "meta.json").write_text('{"tokens_per_second": 5.5}')
    monkeypatch.chdir(tmp_path)
    write_record(results, load(configuration([], [])))
    return results


def shown(book: rates.Rates, preset: str = "", words: tuple[str, ...] = ()) -> tuple[str, dict]:
    """The page and the JSON of a plan in the working directory."""
    files = [preset_file(preset)] if preset else []
    found = stages.plan_run(files, words, book, Machine(1, 1, "A100-80GB"), "results/table.csv", dry=False)
    return page.as_text(found), page.as_json(found)


def test_figures_of_a_run_with_the_same_settings_are_measured(book, default_run):
    text, content = shown(book)
    assert (content["hours"]["train"], content["hours"]["basis"]) == (2.0, "measured")
    assert "5.5 m" in text
    assert content["not_measured"] == []
    assert content["conflict"] is None


def test_the_paper_is_not_planned_with_the_figures_of_the_default_run(book, default_run):
    text, content = shown(book, "paper")
    assert content["hours"]["train"] == pytest.approx(50_794)
    assert content["hours"]["basis"] == "published"
    assert {model["tokens"] > 1e9 for model in content["models"]} == {True}
    assert "5.5 m" not in text
    assert "Figures in results/ do not count as measured" in text
    assert "corpus.name: world there, libriheavy here" in text.replace("\n", " ")
    assert "The run would not start in this folder:" in text  # and the run itself says the same
    assert "another corpus (world)" in content["conflict"]
    assert max(map(len, text.splitlines())) <= page.WIDTH


def test_a_run_without_a_record_measured_nothing(book, default_run):
    (default_run / "run.json").unlink()
    text, content = shown(book)
    assert (content["hours"]["train"], content["hours"]["basis"]) == (pytest.approx(0.94 * WORLD_HOURS), "derived")
    assert "the run there left no record of its settings" in text.replace("\n", " ")
    assert content["conflict"] is None


def test_what_the_run_would_make_again_is_not_measured(book, default_run):
    # the record is of the last run that started here, which need not have made every file anew
    found = load({})
    both = Measured(default_run, found, read_record(default_run), frozenset({("tokenize_rung", "text-bpe")}))
    assert costs.token_rate("text-bpe", found, both).basis == "published"
    assert both.reasons == ["tokenize_rung would make tokens/text-bpe/meta.json again"]
    assert costs.token_rate("text-bpe", found, measured(found, default_run)).basis == "measured"


def test_other_units_leave_the_rates_of_text_measured(book, default_run):
    _, content = shown(book, words=("units={clusters: 50}",))
    found = {model["name"]: model["rate"] for model in content["models"]}
    assert found["text-bpe"] == {"value": 5.5, "basis": "measured"}
    assert found["speech-hubert"] == {"value": 50.0, "basis": "published"}
    assert content["hours"]["basis"] == "derived"  # which utterances are used depends on the units
    assert "units.clusters: 100 there, 50 here" in content["not_measured"][0]


# ---------------------------------------------------------------- the sweep and the scaling grid


def test_a_point_has_the_settings_of_its_name(book):
    run = context(book, settings(), Machine(1, 0, None))
    codebook, layer = run.at_point("units_sweep/layer2-k400-speaker-seed1/"), run.at_point("units_sweep/layer5/")
    units = codebook.settings.units
    assert (units.layer, units.clusters, units.normalisation) == (2, 400, "speaker")
    assert layer.settings.units.layer == 5
    small = run.at_point("scaling/1e-05/xs/")
    assert (small.settings.lm.hidden_size, small.settings.lm.learning_points, small.fraction) == (32, 0, 1e-05)
    assert small.settings.lm.seeds == run.settings.scaling.seeds
    assert run.at_point("scaling/0.25/").settings.lm.hidden_size == run.settings.lm.hidden_size
    assert not (codebook.settings.scores.layers or small.settings.scores.learning)
    assert run.at_point("") is run


def test_a_larger_model_on_more_data_costs_more_and_a_point_costs_its_own(book):
    jobs = {
        Job("train_lm", "text-raw"): 1,
        Job("train_lm", "text-raw", point="scaling/0.25/xs/"): 2,
        Job("train_lm", "text-raw", point="scaling/1.0/xs/"): 2,
        Job("train_kmeans", point="units_sweep/layer2-k100-none-seed0/"): 1,
        Job("train_kmeans", point="units_sweep/layer2-k400-none-seed0/"): 1,
        Job("extract_units", point="units_sweep/layer2-k400-none-seed0/"): 10,
        Job("sweep_quality", point="units_sweep/layer2/"): 1,
    }
    found = settings(units={"max_points_per_centroid": 100_000}, lm={"max_steps": 10**9, "max_passes": 1})
    plan = planned(book, found, Jobs(Counter(jobs)))
    assert plan.unknown == {}
    own, quarter, whole = plan.models
    assert [model.name for model in plan.models] == ["text-raw", "text-raw 0.25/xs", "text-raw 1.0/xs"]
    assert quarter.tokens == pytest.approx(whole.tokens / 4, rel=0.01)
    assert quarter.cost.hours.value < whole.cost.hours.value < own.cost.hours.value
    train = row(plan, "train")
    assert train.jobs == 5
    each = (own.cost + quarter.cost.times(2) + whole.cost.times(2)).cpu.value
    assert train.cost.cpu.value == pytest.approx(each + 5 * 3.6 / 3600)
    points = [row(planned(book, found, Jobs(Counter([job]))), "k-means") for job in jobs if job.rule == "train_kmeans"]
    assert points[1].cost.cpu.value == pytest.approx(4 * points[0].cost.cpu.value, rel=0.01)
    quality = row(planned(book, found, Jobs(Counter([Job("sweep_quality", point="units_sweep/layer2/")]))), "sweep")
    assert quality.hours.value == pytest.approx(found.sweep.minutes / 60)


@pytest.mark.parametrize(("target", "models"), [("results/units_sweep.csv", 7), ("results/scaling.csv", 27)])
def test_the_script_plans_sweep_and_scaling(tmp_path, target, models):
    command = [sys.executable, ROOT / "scripts/plan.py", "--preset", "smoke", "--target", target]
    words = ["--directory", tmp_path, "--config", "rungs=[text-bpe, phone-raw, phone-repeat, speech-hubert]"]
    done = subprocess.run([*command, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Rules without an estimate" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= page.WIDTH
    train = re.search(r"^train +(\d+) ", done.stdout, re.MULTILINE)
    assert int(train[1]) == models
    trained = re.findall(r"^(?:text-bpe|phone-\w+|speech-hubert\S*) .*\d [mpda]$", done.stdout, re.MULTILINE)
    assert len(trained) == models


# ---------------------------------------------------------------- configuration and machine


def test_a_preset_is_found_by_name_and_path_and_missed_by_its_nearest_name():
    assert preset_file("paper") == preset_file(str(ROOT / "presets/paper.yaml")) == ROOT / "presets/paper.yaml"
    with pytest.raises(UserError, match=r"did you mean 'libriheavy-small'\? presets: .*paper.*smoke"):
        preset_file("presets/libriheavy_smal.yaml")


def test_configurations_merge_as_snakemake_merges_them(tmp_path):
    (tmp_path / "a.yaml").write_text("corpus: {shards: 7}\nlm: {lr: 1.0e-4}\n")
    found = configuration([tmp_path / "a.yaml"], ["corpus={hours: 2}", "seed=3"])
    assert (found["corpus"]["shards"], found["corpus"]["hours"], found["seed"]) == (7, 2, 3)
    assert (found["lm"]["lr"], found["lm"]["window"]) == (1e-4, LM().window)  # config.yaml underneath
    for words, why in {"corpus": "is not KEY=VALUE", "corpus={": "not YAML"}.items():
        with pytest.raises(UserError, match=why):
            configuration([], [words])
    (tmp_path / "b.yaml").write_text("just words")
    with pytest.raises(UserError, match=r"b\.yaml: no settings in it"):
        configuration([tmp_path / "b.yaml"], [])


def test_the_machine_is_the_presets_unless_options_say_another(tmp_path, book):
    preset = tmp_path / "p.yaml"
    preset.write_text("# machine: cpus=64 gpus=8 gpu=A100-80GB\nseed: 0\n")
    assert find_machine(preset, book) == Machine(64, 8, "A100-80GB")
    assert find_machine(preset, book, gpus=0).gpus == 0
    assert str(find_machine(preset, book, cpus=3, gpu="H200")) == "3 CPU cores and 8 H200"
    with pytest.raises(UserError, match="'A10' is not known; known: A100-80GB, H200"):
        find_machine(preset, book, gpu="A10")
    with pytest.raises(UserError, match="are no machine"):
        find_machine(preset, book, cpus=0)
    preset.write_text("# machine: many\n")
    with pytest.raises(UserError, match=r"p\.yaml: the line '# machine:' needs cpus=N"):
        find_machine(preset, book)


def test_without_a_preset_it_is_this_machine(book, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_machine(None, book) == Machine(os.cpu_count(), 0, None)
    fake = tmp_path / "nvidia-smi"
    fake.write_text("#!/bin/sh\necho NVIDIA A100-SXM4-80GB\necho NVIDIA A100-SXM4-80GB\n")
    fake.chmod(0o755)
    assert find_machine(None, book) == Machine(os.cpu_count(), 2, "A100-80GB")


# ---------------------------------------------------------------- the page


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Each preset's page and JSON, without asking Snakemake."""
    here = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("run"))
    out = {}
    try:
        for name in ("paper", "libriheavy-small", "librispeech-100"):
            book, file = rates.Rates.load(), preset_file(name)
            found = stages.plan_run([file], [], book, find_machine(file, book), "results/table.csv", dry=False)
            out[name] = (page.as_text(found), json.loads(json.dumps(page.as_json(found))))
    finally:
        os.chdir(here)
    return out


@pytest.mark.parametrize("name", ["paper", "libriheavy-small", "librispeech-100"])
def test_the_page_fits_a_terminal_and_says_on_what_each_figure_rests(pages, name):
    text, content = pages[name]
    lines = text.splitlines()
    assert max(map(len, lines)) <= page.WIDTH
    rows = [line for line in lines if re.match(r"(align|units|train|total) ", line)]
    assert len(rows) == 4
    for line in rows:
        assert re.search(r"\d [mpda]( |$)", line), line
    assert not re.search(r"GPU.*\bm\b|[\d.]+ m +[\d.]+ m$", rows[2])  # no GPU was measured
    train = next(stage for stage in content["stages"] if stage["stage"] == "train")
    assert train["gpu_hours"]["basis"] in ("published", "assumed")
    assert "assumed" in {rate["basis"] for rate in content["rates"].values()}


def test_the_page_says_what_is_downloaded_and_whether_the_disk_has_room(pages):
    text, content = pages["paper"]
    assert "large.tar (3.0 TB)" in text
    assert "tSC.zip (size not known)" in text
    assert "openai/whisper-large-v3" in text
    assert content["bytes"]["downloads"] > 3.4e12
    free = min(content["free"].values())
    assert ("LACKS" in text) == (free < content["bytes"]["downloads"] + content["bytes"]["written"])


def test_a_second_recogniser_is_planned_where_it_is_wanted():
    plain, second = (load({"continuation": {"second_asr": name}}) for name in (None, "openai/whisper-large-v3"))
    assert jobs_of_a_new_run(second, ()) - jobs_of_a_new_run(plain, ()) == {Job("transcribe_second"): 1}
    assert "openai/whisper-large-v3" in hub_models(second) and "openai/whisper-large-v3" not in hub_models(plain)


def test_a_failed_dry_run_is_shown_and_planned_around(book, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.yaml").write_text("units: {encoder: ./no-such-folder}\n")
    found = stages.plan_run([tmp_path / "p.yaml"], [], book, Machine(2, 0, None), "results/table.csv")
    text = page.as_text(found)
    assert "no-such-folder" in text
    assert "These are the jobs of results/table.csv in a new folder" in text
    assert row(found, "align").jobs == 5


def test_a_mistake_in_the_settings_ends_the_plan_by_name(book, tmp_path):
    (tmp_path / "p.yaml").write_text("corpus: {shard: 3}\n")
    with pytest.raises(UserError, match=r"corpus.shard: unknown key; did you mean 'corpus.shards'"):
        stages.plan_run([tmp_path / "p.yaml"], [], book, Machine(2, 0, None), "results/table.csv")


def test_sizes_and_counts_are_readable():
    assert [page.size(n) for n in (3.05e12, 35e9, 2.5e6, 300)] == ["3.0 TB", "35.0 GB", "2.5 MB", "0 kB"]
    assert [page.count(n) for n in (1.1e9, 88e6, 3200, 45)] == ["1.1 B", "88.0 M", "3.2 k", "45"]


def test_presets_and_settings_may_be_given_together_or_one_by_one():
    words = ["--preset", "paper", "--config", "seed=1", "rungs=[text-bpe]", "--preset", "smoke", "--config", "seed=2"]
    found = parse(page.print_plan, words)
    assert found["preset"] == ["paper", "smoke"]
    assert found["config"] == ["seed=1", "rungs=[text-bpe]", "seed=2"]
    nothing = parse(page.print_plan, [])
    assert (len(nothing["preset"]), nothing["target"], nothing["gpus"]) == (0, None, None)


def test_the_target_is_that_of_the_last_preset(root):
    presets = root / "presets"
    assert find_target([]) == find_target([presets / "smoke.yaml"]) == "results/table.csv"
    both = [presets / "paper.yaml", presets / "questions-paper.yaml"]
    assert find_target(both) == "results/questions.csv"


def test_the_script_names_the_nearest_preset_and_fails():
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/plan.py", "--preset", "papr"], capture_output=True, text=True, cwd=ROOT
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean 'paper'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_shipped_rates_say_when_and_on_what_they_were_measured():
    content = json.loads(rates.FILE.read_text())
    assert [entry["device"] for entry in content["measured"]]
    for entry in content["measured"]:
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", entry["date"])
        assert entry["hardware"]
        assert re.fullmatch(r"[0-9a-f]{7,}\+?", entry["commit"])
        assert all({"value", "unit", "what"} <= set(rate) for rate in entry["rates"].values())
    assert set(NUMBERS) <= {name for entry in content["measured"] for name in entry["rates"]}
    for part in ("published", "assumed", "gpus"):
        assert all(entry["source"] for entry in content[part].values())
