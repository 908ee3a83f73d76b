"""Single stages: what docs/stages.md says of each command is what it does, and scripts run without Snakemake."""

import re
import shlex
import subprocess
import sys
from types import SimpleNamespace

import pytest
import yaml

from speechladder.settings import load
from speechladder.workflow.listing import stages
from speechladder.workflow.unread import read_options

from .conftest import ROOT, copy_run, run
from .test_smoke import _counts

pytestmark = pytest.mark.e2e
DOCS = (ROOT / "docs" / "stages.md").read_text()


def _documented() -> list[tuple[str, dict[str, int]]]:
    """Command -> jobs, of the table "What a command does"."""
    table = DOCS[DOCS.index("## What a command does") : DOCS.index("## What invalidates")]
    out = []
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 2 and cells[0].startswith("`"):
            found = re.findall(r"`([a-z_]+)`(?: (\d+))?", cells[1])
            out.append((cells[0].strip("`"), {rule: int(count or 1) for rule, count in found}))
    return out


SMOKE = ["--configfile", str(ROOT / "presets/smoke.yaml")]


def test_every_rule_and_its_needs_are_listed(tmp_path):
    listed = {stage.rule: stage for stage in stages([*SMOKE, "-d", str(tmp_path)])}
    assert all(stage.makes for stage in listed.values())
    assert listed["train_kmeans"].needs == ["sample_features"]
    assert "results/units/quality.json" in listed["units_quality"].makes
    assert listed["scaling"].needs is None  # a target of its own
    order = [rule for rule, stage in listed.items() if stage.needs is not None]
    for rule in order:
        assert all(order.index(before) < order.index(rule) for before in listed[rule].needs), rule


def test_the_listed_outputs_are_the_files_that_a_run_makes(smoke):
    # a model's folder is known by its train.json
    listed = [path for stage in stages([*SMOKE, "-d", str(smoke)]) for path in stage.makes]
    patterns = [path.removesuffix("/train.json") for path in listed]
    prefixed = [
        re.escape(pattern).replace(r"\{point\}", "(?:(?:units_sweep|scaling)/.+/)?") for pattern in patterns
    ]  # empty for the run itself
    wildcards = [re.sub(r"\\\{\w+\\\}", "[^/]+", pattern) for pattern in prefixed]
    known = re.compile("|".join(f"{pattern}(/.*)?" for pattern in wildcards))
    made = [str(path.relative_to(smoke)) for path in (smoke / "results").rglob("*") if path.is_file()]
    own = ("results/logs/", "results/costs/", "results/run.json")  # what Snakemake and the run itself write
    assert [path for path in made if not known.fullmatch(path) and not path.startswith(own)] == []


@pytest.mark.parametrize(
    ("words", "jobs"),
    _documented(),
    ids=lambda value: re.sub(r"\W+", "-", value)[:50] if isinstance(value, str) else "",
)
def test_a_command_does_what_its_page_says(smoke, words, jobs):
    out = run(smoke, "-n", *shlex.split(words))
    assert ("Nothing to be done" in out) == (jobs == {})
    if jobs:
        assert _counts(out) == jobs


def test_a_single_file_in_an_empty_folder_needs_no_model(tmp_path):
    jobs = _counts(run(tmp_path, "-n", "results/units/quality.json"))
    assert set(jobs) == {"build_corpus", "align", "sample_features", "train_kmeans", "extract_units"} | {
        "features_abx",
        "make_items",
        "extract_item_units",
        "units_quality",
    }


def test_touched_and_deleted_files_rerun_nothing(smoke, tmp_path):
    folder = copy_run(smoke, tmp_path / "run")
    (folder / "results/alignment/0.parquet").touch()
    (folder / "results/units/sample.safetensors").unlink()
    assert "Nothing to be done" in run(folder, "-n", "results/table.csv")
    # other content: what reads it is made anew
    path = folder / "results/units/quality.json"
    path.write_text(path.read_text() + "\n")
    assert _counts(run(folder, "-n", "results/table.csv")) == {"make_table": 1}


def test_scripts_run_by_hand_on_files_given_by_path(smoke, tmp_path):
    # elsewhere, without Snakemake, its working directory or its environment: the same bytes as the run's own
    settings = load(yaml.safe_load((ROOT / "presets/smoke.yaml").read_text()))
    made = smoke / "results"
    cuts, alignment = f"--cuts {made}/corpus/cuts.0.jsonl.gz", f"{made}/alignment/0.parquet"
    parts = f"{cuts} --alignment {alignment} --units {made}/units/0.parquet"
    rung = f"--rung text-bpe {read_options(settings, 'tokenize_rung', SimpleNamespace(rung='text-bpe'))}"
    commands = {
        "alignment/durations.json": f"phone_durations.py {cuts} --alignments {alignment} --out durations.json",
        "tokens/utterances.parquet": f"select_utterances.py {parts} --out utterances.parquet --rejected rejected.jsonl",
        "tokens/text-bpe": f"tokenize_rung.py {rung} --utterances utterances.parquet {parts} --out text-bpe",
    }
    for name, words in commands.items():
        script, *arguments = shlex.split(words)
        command = [sys.executable, str(ROOT / "scripts" / script), *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT / "src")}
        )
        assert done.returncode == 0, done.stderr
        ours, theirs = tmp_path / name.split("/")[1], made / name
        if theirs.is_dir():
            for path in theirs.rglob("*"):
                if path.is_file() and path.name != ".snakemake_timestamp":
                    assert (ours / path.relative_to(theirs)).read_bytes() == path.read_bytes(), path
        elif theirs.exists():  # the smoke preset needs no durations
            assert ours.read_bytes() == theirs.read_bytes()
        else:
            assert ours.stat().st_size > 100


def test_a_shard_is_a_handful_of_files(smoke):
    # on a shared file system; docs/clusters.md states it per hour of speech
    paths = [path.relative_to(smoke) for path in (smoke / "results").rglob("*") if path.is_file()]
    others = re.compile(r"sweep|scal|fraction|external|export")  # what other tests made here beside the table
    paths = [path for path in paths if not others.search(str(path))]
    own = [
        p for p in paths if re.search(r"[./]0\.(parquet|jsonl|jsonl\.gz|log|tsv)$", f"/{p}") and "truth" not in p.name
    ]
    assert len(own) == 12, own
    fixed = [p for p in paths if p not in own and "audio" not in p.parts]
    assert len(fixed) < 450
