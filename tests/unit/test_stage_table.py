"""The table of stages: a setting reruns the stages that read it, and no others."""

import argparse
import shlex
from types import SimpleNamespace

import pytest
from pydantic import Field

from speechladder.benchmarks.items import make_items
from speechladder.command import parse
from speechladder.continuation.prompts import make_prompts
from speechladder.corpora.build import build_shard
from speechladder.settings import STAGES, Settings, Units, load, options, untracked
from speechladder.settings.documents import sections
from speechladder.settings.stages import Stage, version
from speechladder.workflow.unread import read_options

# Fields that no stage reads: the workflow finds an environment by one, and the points of a target by the other.
WORKFLOW = {"units.s3prl_python"}


def is_untracked(field: str) -> bool:
    """Whether scripts read `section.field` from the environment, because it never changes a byte of a result."""
    return f"SPEECHLADDER_{field.replace('.', '_')}".upper() in untracked(Settings())


def all_options(settings: Settings, **wildcards: str) -> dict[str, str]:
    job = SimpleNamespace(**({"task": "swuggy", "rung": "text-bpe"} | wildcards))
    return {rule: read_options(settings, rule, job) for rule in STAGES}


def changed(before: Settings, after: Settings, **wildcards: str) -> set[str]:
    one, other = all_options(before, **wildcards), all_options(after, **wildcards)
    return {rule for rule in STAGES if one[rule] != other[rule]}


def test_every_listed_field_exists_and_every_field_is_listed():
    fields = {f"{name}.{field}" for name, section in sections().items() for field in section.model_fields}
    fields |= {"seed", "rungs"}
    listed = {field for stage in STAGES.values() for field in stage.reads}
    assert listed <= fields
    tracked = {name for name in fields if not is_untracked(name)}
    assert tracked - listed == WORKFLOW, "a field that no stage reads; list it in settings/stages.py"


def test_a_new_field_of_a_section_changes_no_stage(monkeypatch):
    class More(Units):
        dithering: float = Field(0.5, description="Something that one new stage reads.")

    plain = load({})
    before = all_options(plain)
    settings = plain.model_copy(update={"units": More(**plain.units.model_dump(), dithering=0.7)})
    assert all_options(settings) == before
    monkeypatch.setitem(STAGES, "polish", Stage("units", options={"units": ("dithering",)}))
    assert all_options(settings) == before | {"polish": "--dithering 0.7"}


@pytest.mark.parametrize(
    ("config", "change", "rules"),
    [
        ({}, {"units": {"abx_minutes": 3}}, {"features_abx", "units_quality", "sweep_quality", "diagnosis_quality"}),
        ({}, {"units": {"iterations": 3}}, {"train_kmeans"}),
        ({}, {"units": {"sample_frames": 3000}}, {"sample_features"}),
        ({}, {"units": {"segment_penalty": 5.0}}, set()),  # without auto segments; an arm of the questions reads it
        ({}, {"units": {"labels": "none"}}, set()),
        (
            {"units": {"labels": "phones"}},
            {"units": {"labels": "phones", "clusters": 7, "iterations": 3, "sample_frames": 3000}},
            set(),
        ),
        (
            {"units": {"labels": "phones"}},
            {"units": {"labels": "phones", "label_minutes": 1.0}},
            {"sample_features"},
        ),
        ({}, {"questions": {"arms": ["segments-auto"]}}, set()),
        ({}, {"scores": {"layers": False}}, {"score_rung"}),
        ({}, {"tokens": {"text_vocab": 100}}, {"tokenize_rung", "train_judge"}),
        ({}, {"tokens": {"phone_vocab": 100}}, set()),  # of the rung text-bpe
        ({}, {"tokens": {"text_pauses": False}}, {"tokenize_rung", "score_external"}),
        (
            {},
            {"tokens": {"stress": True}},
            {"score_external"},
        ),  # not of text-bpe; perhaps of a model of phones
        ({"tokens": {"text_pauses": False}}, {"tokens": {"text_pauses": False, "silence": False}}, {"score_external"}),
        ({}, {"benchmarks": {"swuggy_pairs": 30}}, {"make_items"}),
        ({}, {"benchmarks": {"topic_pairs": 30}}, set()),  # of the task swuggy
        ({}, {"continuation": {"whisper": "tiny"}}, set()),
        ({}, {"continuation": {"second_asr": "openai/whisper-tiny"}}, {"transcribe_second"}),
        ({}, {"continuation": {"vocoder_steps": 3}}, {"train_vocoder"}),
        ({}, {"continuation": {"resynthesis_minutes": 3}}, {"transcribe_held_out"}),
        ({}, {"corpus": {"causes": None}}, set()),  # a run without causes has the commands of before
        ({}, {"corpus": {"causes": []}}, {"build_corpus", "make_items", "make_prompts"}),
        ({}, {"corpus": {"text": "asr"}}, set()),  # of the world
        ({}, {"corpus": {"min_seconds": 0.5}}, {"build_corpus", "speak_corpus"}),
        (
            {"corpus": {"name": "local", "path": "x"}, "alignment": {"aligner": "pocketsphinx"}},
            {
                "corpus": {"name": "local", "path": "x", "speech": "synthesized"},
                "alignment": {"aligner": "pocketsphinx"},
            },
            set(),  # the cuts of the recordings stay, and another rule makes those of the run
        ),
        ({}, {"alignment": {"beam": 1e-100}}, {"make_items", "alignment_quality"}),
        ({"alignment": {"aligner": "mfa"}}, {"alignment": {"aligner": "mfa", "beam": 1e-100}}, {"alignment_quality"}),
        (
            {"alignment": {"aligner": "pocketsphinx"}},
            {"alignment": {"aligner": "pocketsphinx", "mfa_g2p": None}},
            set(),
        ),
        ({}, {"lm": {"max_steps": 3}}, {"train_lm"}),
        ({}, {"lm": {"lr": 1e-4}}, {"train_lm", "train_judge"}),
        ({}, {"lm": {"optimizer": "adamw"}}, {"train_lm", "train_judge"}),
        ({}, {"lm": {"schedule": "wsd"}}, {"train_lm", "train_judge"}),
        ({}, {"lm": {"parallel": "ddp"}, "units": {"workers": 3}}, set()),
        (
            {},
            {"analysis": {"resamples": 200}},
            {
                "make_table",
                "make_baselines",
                "units_sweep",
                "scaling",
                "variability",
                "resynthesis",
                "causes",
                "questions",
                "diagnose_units",
                "external",
            },
        ),
    ],
)
def test_a_setting_reruns_the_stages_that_read_it(config, change, rules):
    assert changed(load(config), load(change)) == rules


def test_options_are_words_that_a_script_reads_back():
    words = shlex.split(options(load({"continuation": {"whisper": "a model"}, "seed": 3}), "transcribe_rung"))
    parser = argparse.ArgumentParser()
    for name in ("seed", "clusters", "asr", "whisper", "vocoder", "examples"):
        parser.add_argument(f"--{name}", required=True)
    found = parser.parse_args(words)
    assert (found.seed, found.whisper, found.clusters) == ("3", "a model", "100")
    assert "--clusters" not in options(load({}), "transcribe_rung", ["units.clusters"])


@pytest.mark.parametrize("causes", [None, [], ["voices", "noise"]])
def test_causes_are_an_option_where_they_are_given(causes):
    given = load({"corpus": {"causes": causes}})
    for rule, function in (("build_corpus", build_shard), ("make_items", make_items), ("make_prompts", make_prompts)):
        words = shlex.split(read_options(given, rule, SimpleNamespace(task="swuggy")))
        assert ("--causes" in words) == (causes is not None)
        needed = ["--shard", "0", "--cuts", "c", "--rejected", "r"] if rule == "build_corpus" else ["--out", "o"]
        needed += ["--task", "swuggy", "--rejected", "r"] if rule == "make_items" else []
        found = parse(function, [*needed, *words])
        assert (found["corpus"].causes if rule == "build_corpus" else found["causes"]) == causes


def test_units_from_elsewhere_and_units_of_an_encoder_read_their_own_settings():
    given = load({"units": {"source": "external", "path": "x"}})
    words = read_options(given, "extract_units")
    assert "--path x" in words and "--clusters 100" in words and "--layer" not in words
    words = read_options(load({}), "extract_units")
    assert "--layer 3" in words and "--path" not in words and "--clusters" not in words
    assert "clusters" in read_options(given, "units_quality") and "clusters" not in read_options(
        load({}), "units_quality"
    )


def test_features_of_no_model_read_neither_encoder_nor_layer():
    for rule in ("sample_features", "features_abx", "extract_units", "extract_item_units", "speaker_statistics"):
        options = {
            read_options(load({"units": {"source": "mfcc", "layer": layer, "encoder": encoder}}), rule)
            for layer, encoder in ((3, "hubert-micro"), (2, "somewhere/else"))
        }
        (words,) = options
        assert "--source mfcc" in words and "--layer" not in words


def test_only_a_rung_that_draws_by_the_seed_reads_it():
    job = {rung: SimpleNamespace(rung=rung) for rung in ("speech-hubert", "random-units")}
    read = {rung: read_options(load({"seed": 5}), "tokenize_rung", of).split() for rung, of in job.items()}
    assert "--seed" not in read["speech-hubert"] and read["random-units"][:2] == ["--seed", "5"]


def test_untracked_settings_are_no_options():
    assert any("PROCESSES" in name for name in untracked(load({})))
    assert not any(is_untracked(field) for stage in STAGES.values() for field in stage.reads)
    assert version("make_prompts") == (1, version("build_corpus")[0])
