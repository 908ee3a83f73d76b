"""What the shipped presets promise: the paper's choices and its open ones, genuine addresses, a DAG within seconds."""

import json
import os
import re
import resource
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from speechladder.plan.inputs import HUB_SIZES, SIZES, Job, Jobs, find_machine, find_target, parse_jobs
from speechladder.plan.rates import Rates
from speechladder.plan.speech import KNOWN
from speechladder.plan.stages import make, plan_run
from speechladder.settings import DIMENSIONS, EXECUTION_FIELDS, PAPER_RUNGS, Settings, load
from speechladder.workflow.config import checked
from speechladder.workflow.presets import configuration

ROOT = Path(__file__).resolve().parents[2]
REAL = ("paper", "libriheavy-small", "librispeech-100")
# What the paper leaves open (arXiv 2412.17048): the field that decides it here, and a word of the question.
OPEN = {
    "corpus.text": "text",
    "corpus.english_only": "normalisation",
    "corpus.hours": "hours",
    "corpus.max_seconds": "length",
    "alignment.aligner": "aligner",
    "alignment.mfa_g2p": "dictionary lacks",
    "units.layer": "layer",
    "units.sample_frames": "sample",
    "units.normalisation": "normalisation",
    "tokens.stress": "stress",
    "tokens.silence": "silence",
    "tokens.text_pauses": "pauses in text",
    "tokens.word_boundary": "word-boundary",
    "lm.window": "window",
    "lm.warmup_steps": "warm-up",
    "lm.max_steps": "converged",
    "lm.valid_seconds": "validation set",
    "lm.learning_points": "learning curve",
    "lm.seeds": "seeds",
    "benchmarks.slm21_splits": "dev or test",
    "benchmarks.storycloze_text": "transcripts",
    "scores.batch_tokens": "sum or mean",
    "scores.learning_pairs": "learning curve",
    "continuation.temperature": "temperature",
    "continuation.prompts": "prompts",
    "continuation.vocoder": "vocoder",
}
# settings of units that change speed or memory alone, or are read for units that are not the paper's
NO_OTHER_RESULT = {"workers", "compile", "sample_gigabytes", "path", "items_path", "rate", "repeat", "s3prl_python"}
NO_OTHER_RESULT |= {"segment_penalty", "label_minutes", "num_codebooks", "codebook_order"}
STATED = {
    "units": {"encoder": "facebook/hubert-large-ll60k", "clusters": 2048},
    "tokens": {"text_vocab": 2048, "phone_vocab": 2048},
    "lm": {"hidden_size": 2048, "layers": 22, "heads": 32, "kv_heads": 4, "intermediate_size": 5632, "lr": 4e-4,
           "batch_windows": 128},
    "continuation": {"samples": 10, "top_p": 0.9, "asr": "whisper", "whisper": "openai/whisper-large-v3",
                     "judge": "hf", "judge_model": "meta-llama/Llama-3.1-8B"},
}  # fmt: skip
PUBLISHED_MD5 = {
    "small.tar": "c49207eb86a8e8ac895561c37232041e",
    "medium.tar": "c75e7ac62471bfbf2db77528d62a9b74",
    "large.tar": "4dfbac018f50b99797ece101fc9f0c30",
    "train-clean-100.tar.gz": "2a93770f6d5c6c964bc36631d331a522",
    "dev-clean.tar.gz": "42e2234ba48799c1f50f24a7926300a1",
    "dev-other.tar.gz": "c8d0bcc9cca99d4f8b62fcc847357931",
    "test-clean.tar.gz": "32fa31d27d2e1cad72775fee3f4849a9",
    "test-other.tar.gz": "fb5a50374b501bb3bac4815ee91d3135",
}


def read(name: str) -> Settings:
    return load(yaml.safe_load((ROOT / "presets" / f"{name}.yaml").read_text()), name)


def marked(text: str) -> dict[str, str]:
    """Each '# open:' comment, whole, by the field that stands below it."""
    out: dict[str, str] = {}
    section, comment = "", ""
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            words = line.lstrip("# ").strip()
            comment = words if words.startswith("open:") else f"{comment} {words}" if comment else ""
        elif line.strip():
            key = line.split(":")[0].strip()
            section = key if not line.startswith(" ") else section
            if comment:
                out[f"{section}.{key}"] = comment
            comment = ""
    return out


def test_paper_states_what_the_paper_states():
    paper = read("paper").model_dump()
    for section, values in STATED.items():
        assert {name: paper[section][name] for name in values} == values
    assert tuple(paper["rungs"]) == PAPER_RUNGS
    parts = {Path(name).name.partition(".")[0] for name in paper["corpus"]["manifests"]}
    assert {f"libriheavy_cuts_{part}" for part in ("small", "medium", "large", "dev")} <= parts
    assert sum(KNOWN[part] for part in parts if not re.search("dev|test", part)) == pytest.approx(50_794)


def test_paper_marks_every_choice_that_the_paper_leaves_open_with_a_reason():
    found = marked((ROOT / "presets" / "paper.yaml").read_text())
    assert found.keys() == OPEN.keys()
    for field, word in OPEN.items():
        assert word in found[field], field
        assert len(found[field].split()) >= 8, f"{field}: no reason: {found[field]}"


def test_every_line_of_paper_is_written_out_not_left_to_a_default():
    """A default may change; what the paper preset means may not."""
    paper = yaml.safe_load((ROOT / "presets" / "paper.yaml").read_text())
    for section in ("units", "tokens"):
        fields = set(Settings.model_fields[section].annotation.model_fields)
        assert fields - paper[section].keys() <= NO_OTHER_RESULT, section
    assert paper["lm"]["model"] == "tinyllama-1.1b"  # which fixes its dimensions
    machine = {"threads", *DIMENSIONS, *EXECUTION_FIELDS} - {"checkpoint_every", "processes"}
    assert set(Settings.model_fields["lm"].annotation.model_fields) - paper["lm"].keys() == machine


@pytest.mark.parametrize("name", REAL)
def test_addresses_are_the_publishers_and_checksums_the_published(name):
    hosts = {
        "dl.fbaipublicfiles.com",
        "huggingface.co",
        "www.openslr.org",
        "us.openslr.org",
        "openslr.elda.org",
        "download.zerospeech.com",
        "drive.usercontent.google.com",
    }
    files = read(name).downloads.files
    for file, wanted in files.items():
        for url in wanted.urls:
            scheme, _, rest = url.partition("://")
            assert scheme == "https"
            assert rest.partition("/")[0] in hosts, url
            assert url.rpartition("/")[2] == file or file == "tSC.zip", url
        assert wanted.md5 == PUBLISHED_MD5.get(file)
        assert wanted.bytes or file in SIZES or file == "tSC.zip"  # the plan knows how large it is


@pytest.mark.parametrize("name", REAL)
def test_the_workflow_takes_a_preset_without_a_network(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    file = ROOT / "presets" / f"{name}.yaml"
    found = checked(yaml.safe_load(file.read_text()), ROOT)
    # transformers, not openai-whisper, which the default environment does not have
    assert found.continuation.whisper in HUB_SIZES
    assert {found.units.encoder, found.continuation.judge_model} <= HUB_SIZES.keys()
    assert found.corpus.max_seconds * 50 + 2 <= found.lm.window  # the longest utterance is one document of a window
    assert find_machine(file, Rates.load()).gpus > 0


@pytest.mark.parametrize("name", ["causes", "questions"])
def test_a_target_at_the_papers_scale_has_a_preset_that_names_it(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    files = [ROOT / "presets" / f"{preset}.yaml" for preset in ("paper", f"{name}-paper")]
    checked(configuration(files, []), ROOT)
    assert find_target(files) == f"results/{name}.csv" and find_machine(files[-1], Rates.load()).gpus > 0


def test_only_the_presets_that_say_so_need_conda():
    assert read("librispeech-100").alignment.aligner == "pocketsphinx"
    for name in ("paper", "libriheavy-small"):
        assert read(name).alignment.aligner == "mfa"
        assert "--sdm conda" in (ROOT / "presets" / f"{name}.yaml").read_text()


def test_a_plan_asks_snakemake_for_its_jobs(tmp_path):
    command = [sys.executable, ROOT / "scripts" / "plan.py", "--preset", "smoke", "--directory", tmp_path, "--json"]
    done = subprocess.run([*command, "--config", "corpus={shards: 3}"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    stages = {stage["stage"]: stage for stage in found["stages"]}
    assert found["dry_run_error"] is None
    assert found["without_estimate"] == {}  # every rule of the workflow belongs to a stage
    assert stages["corpus"]["jobs"] == 3
    assert stages["train"]["jobs"] == 6
    assert stages["total"]["jobs"] == sum(stage["jobs"] for stage in found["stages"] if stage["stage"] != "total")
    assert not (tmp_path / "results").exists()  # nothing was started


@pytest.mark.parametrize(
    ("target", "without"),
    [("units_sweep", {}), ("scaling", {}), ("variability", {"variability_run": 4}), ("causes", {"causes_run": 9})],
)
def test_a_plan_has_a_row_for_each_rule_of_other_targets(target, without, tmp_path):
    command = [sys.executable, ROOT / "scripts" / "plan.py", "--preset", "smoke", "--directory", tmp_path, "--json"]
    done = subprocess.run([*command, "--target", f"results/{target}.csv"], capture_output=True, text=True, cwd=ROOT)
    found = json.loads(done.stdout)
    assert found["dry_run_error"] is None
    assert found["without_estimate"] == without


@pytest.mark.parametrize("name", REAL)
def test_the_dag_is_built_within_thirty_seconds(name, tmp_path, monkeypatch):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "-n"]
    command += ["--directory", tmp_path, "--configfile", ROOT / "presets" / f"{name}.yaml", "--", "results/table.csv"]
    env = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env, timeout=300)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    listed = Counter(parse_jobs(done.stdout))
    jobs, shards = Counter(job.rule for job in listed.elements()), read(name).corpus.shards
    assert [jobs[rule] for rule in ("build_corpus", "align", "extract_units")] == [shards] * 3
    assert jobs["download"] == len(read(name).downloads.files)
    monkeypatch.chdir(tmp_path)
    file, book = ROOT / "presets" / f"{name}.yaml", Rates.load()
    context = plan_run([file], [], book, find_machine(file, book), "results/table.csv", dry=False).context
    plan = make(context, Jobs(listed))
    assert plan.unknown == {}  # the plan has an estimate for each
    assert sum(stage.jobs for stage in plan.stages) == listed.total() - listed[Job("all")]
    # of the processor: the clock of a shared machine says little
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 30
