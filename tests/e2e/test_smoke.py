"""The smoke preset through the whole DAG: the table, a rerun that does nothing, reruns that touch what follows."""

import csv
import json
import re
import shutil
from pathlib import Path

import pytest

from speechladder.analysis.baselines import BASELINES
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import NORMS
from speechladder.settings import PAPER_RUNGS, STAGES

from .conftest import ROOT, copy_run, run

pytestmark = pytest.mark.e2e
LADDER = list(PAPER_RUNGS)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open() as handle:
        return list(csv.DictReader(handle))


def _files(folder: Path) -> dict[str, int]:
    """Each file with the time of its last change."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def _counts(out: str) -> dict[str, int]:
    """How often a dry run would run each rule, from its table of job counts."""
    table = out[out.index("Job stats:") : out.index("total")]
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", table, re.M)}


def _jobs(out: str) -> set[str]:
    """The rules that a dry run would run."""
    return set(_counts(out))


SPOKEN = {"continue_rung", "transcribe_rung", "judge_continuations"}  # what follows a changed model
HEARD = {"extract_prompt_units", "train_vocoder", "transcribe_reference"}  # what follows changed units, beside these


def test_the_table_has_a_row_per_rung_and_the_columns_of_the_contract(smoke):
    rows = _rows(smoke / "results" / "table.csv")
    assert [r["rung"] for r in rows] == LADDER
    kinds = NORMS, [f"pairwise_{norm}" for norm in NORMS]
    scores = [f"{t}_{n}{end}" for kind in kinds for t in TASKS for n in kind for end in ("", "_low", "_high")]
    assert list(rows[0]) == [
        *("rung", "vocab_size", "tokens_per_second", "seeds", "train_tokens", "passes", "valid_bits_per_second"),
        *scores,
        *("ppl", "ppl_low", "ppl_high"),
    ]
    for row in rows:
        assert 1 < float(row["ppl_low"]) <= float(row["ppl"]) <= float(row["ppl_high"])
        for name in scores[::3]:
            low, value, high = (float(row[name + end]) for end in ("_low", "", "_high"))
            assert 0 <= low <= value <= high <= 100
    by_rung = {r["rung"]: r for r in rows}
    # 50 Hz less the last part of a frame of each utterance
    assert float(by_rung["phone-repeat"]["tokens_per_second"]) == pytest.approx(50, rel=0.01)
    assert by_rung["phone-repeat"]["tokens_per_second"] == by_rung["speech-hubert"]["tokens_per_second"]
    assert float(by_rung["text-raw"]["tokens_per_second"]) > float(by_rung["text-bpe"]["tokens_per_second"])


def test_the_other_results_are_there(smoke):
    results = smoke / "results"
    assert {r["factor"] for r in _rows(results / "factors.csv")} >= {"B", "C"}
    assert {r["rung"] for r in _rows(results / "layers.csv")} == set(LADDER)
    assert [r["rung"] for r in _rows(results / "baselines.csv")][:: len(TASKS) * len(BASELINES)] == list(LADDER)
    curve = _rows(results / "learning.csv")
    assert {r["rung"] for r in curve} == set(LADDER)
    points = [(r["rung"], r["task"], r["norm"], r["train_tokens"]) for r in curve]
    assert len(points) == len(set(points))
    assert {r["stage"] for r in _rows(results / "costs.csv")} >= {"build_corpus", "train_lm", "score_rung"}
    # every job's log says what it used; two jobs side by side stay under 4 GB
    assert all(float(r["cpu_seconds"]) > 0 for r in _rows(results / "costs.csv"))
    assert max(float(r["peak_memory_mb"]) for r in _rows(results / "costs.csv")) < 2000
    for name in ("ladder", "factors", "layers", "learning", "lengths", "continuation"):
        assert (results / "figures" / f"{name}.svg").read_text().rstrip().endswith("</svg>")
        assert (results / "figures" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    quality = json.loads((results / "alignment" / "quality.json").read_text())
    assert quality["aligner"] == "pocketsphinx"
    assert quality["reference"] == "truth"


def test_nothing_half_written_is_left(smoke):
    assert [p for p in (smoke / "results").rglob("*") if ".tmp-" in p.name or p.name.endswith(".checkpoints")] == []


def test_a_model_is_a_folder_to_upload(smoke):
    for path in (smoke / "results" / "lm").glob("*/seed*"):
        names = {str(part.relative_to(path)) for part in path.rglob("*") if part.parent.name != "learning"}
        assert names - {"symbols.json", "sentencepiece.model"} == {  # the tokenizer's own, of some rungs
            *("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"),
            *("README.md", "log.jsonl", "train.json", "learning"),
        }
        assert {part.suffix for part in (path / "learning").iterdir()} == {".safetensors"}


def test_a_model_that_is_trained_again_is_replaced_whole(smoke, tmp_path):
    folder = copy_run(smoke, tmp_path / "run")
    model = folder / "results" / "lm" / "text-bpe" / "seed0"
    before = _files(model)
    (model / "of-an-old-model").touch()
    run(folder, "--config", "lm={max_steps: 2, learning_points: 0}", "--", "results/lm/text-bpe/seed0/train.json")
    after = _files(model)
    assert {name for name in before if not name.startswith("learning/")} == set(after)
    assert all(after[name] != before[name] for name in ("model.safetensors", "log.jsonl", "train.json"))
    assert json.loads((model / "train.json").read_text())["steps"] == 2
    assert [path.name for path in model.parent.iterdir()] == ["seed0"]


def test_another_corpus_in_the_same_folder_stops_before_any_job(smoke):
    record, before = json.loads((smoke / "results" / "run.json").read_text()), _files(smoke / "results")
    assert record["settings"]["corpus"]["name"] == "world" and record["settings"]["rungs"] == LADDER
    hours = record["settings"]["corpus"]["hours"]
    for config, difference, asked in (
        ("corpus={hours: 0.2}", f"corpus.hours: {hours} there, 0.2 here", ["--forceall"]),
        ("seed=1", "seed: 0 there, 1 here", ["-R", "build_corpus"]),
    ):
        out = run(smoke, "--config", config, "--", "results/table.csv", check=False)
        assert "holds a run on another corpus (world), which this run would replace" in out and difference in out
        assert "--directory OTHER" in out and "-R build_corpus or --forceall" in out
        assert "Traceback" not in out and "rule build_corpus:" not in out
        assert _files(smoke / "results") == before
        jobs = _jobs(run(smoke, "-n", *asked, "--config", config, "--", "results/table.csv"))
        assert {"build_corpus", "align", "train_lm", "make_baselines", "make_table"} <= jobs


def test_a_second_run_does_nothing(smoke):
    assert "Nothing to be done" in run(smoke, "results/table.csv")


@pytest.mark.parametrize(
    "config",
    ["corpus={max_rejected: 0.6}", "lm={checkpoint_every: 7}", "units={workers: 1, sample_gigabytes: 0.1}"],
)
def test_a_setting_that_changes_no_result_reruns_nothing(smoke, config):
    assert "Nothing to be done" in run(smoke, "-n", "--config", config, "--", "results/table.csv")


def test_forcing_a_stage_touches_only_what_follows(smoke):
    assert _jobs(run(smoke, "-n", "-R", "train_lm", "--", "results/table.csv")) == {
        "train_lm",
        "score_rung",
        "make_table",
        *SPOKEN,
    }


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("lm={lr: 1e-3}", {"train_lm", "train_judge", "score_rung", "make_table"} | SPOKEN),
        ("analysis={resamples: 300}", {"make_baselines", "make_table"}),
        ("lm={seeds: [0, 1]}", {"train_lm", "score_rung", "make_table"} | SPOKEN),
        ("continuation={top_p: 0.8}", SPOKEN | {"make_table"}),
        ("continuation={judge_steps: 21}", {"train_judge", "judge_continuations", "make_table"}),
        ("continuation={enabled: false}", {"make_table"}),
        (
            "units={clusters: 16}",
            {"train_kmeans", "extract_units", "extract_item_units", "units_quality", "select_utterances"}
            | {"tokenize_rung", "tokenize_items", "train_lm", "score_rung", "make_baselines", "make_table"}
            | SPOKEN
            | HEARD,
        ),
    ],
)
def test_a_changed_setting_reruns_what_depends_on_it(smoke, config, expected):
    assert _jobs(run(smoke, "-n", "--config", config, "--", "results/table.csv")) == expected


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            "tokens={text_vocab: 100}",
            dict.fromkeys(["tokenize_rung", "tokenize_items", "train_lm", "score_rung", "continue_rung"], 1)
            | dict.fromkeys(["transcribe_rung", "train_judge", "judge_continuations"], 1),
        ),
        (
            "benchmarks={topic_pairs: 8}",
            {"make_items": 1, "extract_item_units": 1, "units_quality": 1}
            | dict.fromkeys(["tokenize_items", "score_rung"], len(LADDER)),
        ),
    ],
)
def test_a_setting_of_one_rung_or_task_touches_no_other(smoke, config, expected):
    jobs = _counts(run(smoke, "-n", "--config", config, "--", "results/table.csv"))
    assert jobs == expected | {"make_baselines": 1, "make_table": 1}


def test_another_checkout_reruns_only_what_differs(smoke, tmp_path):
    # a copy of the workflow in another place, whose files are newer than the results; a comment more changes nothing
    code = tmp_path / "code"
    for name in ("Snakefile", "config", "workflow", "envs", "scripts", "presets", "src"):
        (code / name).parent.mkdir(parents=True, exist_ok=True)
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, code / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            (code / name).write_bytes(source.read_bytes())
    words = ("-n", "--snakefile", str(code / "Snakefile"), "--", "results/table.csv")
    for path in (code / "scripts").glob("*.py"):
        path.write_text(path.read_text() + "\n# one more comment\n")
    for path in code.rglob("*"):
        path.touch()
    assert "Nothing to be done" in run(smoke, *words)
    front_end = code / "src" / "speechladder" / "assets" / "hubert-micro" / "preprocessor_config.json"
    before = front_end.read_bytes()
    front_end.write_bytes(before + b"\n")
    jobs = _jobs(run(smoke, *words))
    assert {"sample_features", "features_abx", "train_kmeans", "extract_units", "train_lm", "make_table"} <= jobs
    assert not jobs & {"build_corpus", "align", "make_items", "make_prompts", "build_asr", "train_judge"}
    front_end.write_bytes(before)  # as before, and newer
    assert "Nothing to be done" in run(smoke, *words)
    settings = code / "src" / "speechladder" / "settings" / "stages.py"
    old = f'"score_rung": Stage(\n        "scores",\n        version={STAGES["score_rung"].version},'
    assert old in settings.read_text()
    settings.write_text(settings.read_text().replace(old, '"score_rung": Stage("scores", version=9999,'))
    assert _jobs(run(smoke, *words)) == {"score_rung", "make_table"}


def test_the_units_sweep_runs_beside_the_ladder(smoke, tmp_path):
    """A codebook, units, tokens, a model and scores of its own; the run's models and units stay what they are."""
    folder = copy_run(smoke, tmp_path / "run")
    before = _files(folder / "results" / "lm")
    sweep = "sweep={layers: [1], clusters: [16], normalisations: [utterance], dedup: [true], seeds: [1], minutes: 0.3}"
    words = ["results/units_sweep.csv", "--config", "units={abx_minutes: 0}"]
    run(folder, *words, sweep)
    (row,) = _rows(folder / "results" / "units_sweep.csv")
    assert row["point"] == "layer1-k16-utterance-seed1-dedup"
    assert 0 < float(row["phone_purity"]) < 1 and 0 < float(row["units_per_second"]) < 50
    assert float(row["valid_bits_per_second"]) > 0
    assert all(0 <= float(row[f"{task}_sum"]) <= 100 for task in TASKS)
    assert (folder / "results" / "figures" / "units_sweep.svg").is_file()
    assert _files(folder / "results" / "lm") == before
    more = _counts(run(folder, "-n", *words, sweep.replace("seeds: [1]", "seeds: [1, 2]")))
    own = [more[rule] for rule in ("train_kmeans", "extract_units", "train_lm")]
    assert own == [1, 1, 1]  # what the new point has for itself


def test_the_page_is_made_and_the_report_of_snakemake_holds_it_and_the_figures(smoke, tmp_path):
    folder = copy_run(smoke, tmp_path / "run")
    assert _jobs(run(folder, "-n", "results/report.html")) == {"make_report"}
    run(folder, "results/report.html")
    page = (folder / "results" / "report.html").read_text()
    names = ("finding", "ladder", "steps", "listen", "items", "moment", "costs", "run")
    assert all(f'<section id="{name}"' in page for name in names)
    run(folder, "--report", "snakemake_report.html", "--", "results/report.html")
    html = (folder / "snakemake_report.html").read_text()
    files = ("ladder.svg", "factors.svg", "table.csv", "continuation.svg", "continuation.csv", "prompt-0000.flac")
    for name in (*files, "report.html"):
        assert name in html


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config", "lm={windw: 3}"], "did you mean 'lm.window'"),
        (["--config", "rungs=[text-bp]"], "did you mean 'text-bpe'"),
        (
            ["--config", "corpus={name: local, path: nowhere}", "alignment={aligner: pocketsphinx}"],
            "corpus.path: nowhere",
        ),
        (["--config", "corpus={hours: many}"], "corpus.hours"),
        (["--config", "units={encoder: hubert-micor}"], "did you mean 'hubert-micro'"),
        (["--config", "units={layer: 99}"], "units.layer: 99"),
        (
            ["--config", "continuation={judge: hf, judge_model: nowhere}"],
            "continuation.judge_model: no such folder: nowhere",
        ),
        (["--config", "continuation={asr: whisper, whisper: larg}"], "continuation.whisper: 'larg'"),
        (["--config", "continuation={vocoder: nowhere}"], "continuation.vocoder: no such folder: nowhere"),
        (["--config", "continuation={judge_text: [nowhere.txt]}"], "continuation.judge_text: nowhere.txt"),
    ],
)
def test_a_mistake_in_the_configuration_ends_before_any_job(tmp_path, words, message):
    out = run(tmp_path, *words, "--", "results/table.csv", check=False)
    assert message in out
    assert not (tmp_path / "results").exists()
