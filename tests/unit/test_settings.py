"""A configuration mistake is found by name, with what is allowed and the nearest spelling."""

import argparse
import shlex
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from speechladder.corpora.voices import CAUSES
from speechladder.io.errors import UserError
from speechladder.rungs.functions import phone_alphabet
from speechladder.rungs.tokenizers import SPECIALS
from speechladder.settings import (
    LM,
    Benchmarks,
    Corpus,
    Settings,
    Tokens,
    Units,
    add_max_rejected,
    add_options,
    as_options,
    from_options,
    load,
    untracked,
)
from speechladder.settings.corpus import Cause
from speechladder.settings.tokens import PHONES, STRESSED_PHONES
from speechladder.workflow.config import checked
from speechladder.workflow.subruns import synthesized_config, variability_config


@pytest.mark.parametrize(
    ("config", "parts"),
    [
        ({"corpu": {}}, ["corpu: unknown key", "did you mean 'corpus'"]),
        ({"lm": {"optimizer": "adamw", "adamw_lr": 1e-3}}, ["lm.adamw_lr: 0.001", "set adamw_lr to null"]),
        ({"lm": {"windw": 3}}, ["lm.windw: unknown key", "did you mean 'lm.window'", "hidden_size"]),
        ({"shards": 3}, ["shards: unknown key", "did you mean 'corpus.shards'"]),
        ({"rungs": ["text-bpe", "text-bpe"]}, ["rungs: text-bpe is named twice"]),
        ({"rungs": []}, ["rungs"]),
        ({"corpus": {"name": "wrld"}}, ["corpus.name: 'wrld'", "did you mean 'world'"]),
        (
            {"alignment": {"aligner": "mfaa"}},
            ["alignment.aligner: 'mfaa'", "did you mean 'mfa'", "truth, pocketsphinx"],
        ),
        ({"alignment": {"aligner": "textgrids"}}, ["alignment.textgrids", "belong together"]),
        (
            {"corpus": {"name": "libriheavy"}, "alignment": {"aligner": "mfa"}},
            ["corpus.archives: libriheavy", "source"],
        ),
        (
            {"corpus": {"name": "libriheavy", "source": "x"}, "alignment": {"aligner": "mfa"}},
            ["corpus.manifests: libriheavy needs its manifests"],
        ),
        ({"corpus": {"causes": ["rates"]}}, ["corpus.causes.0: 'rates'", "did you mean 'rate'", "bandwidth"]),
        ({"corpus": {"causes": ["rate", "noise", "rate"]}}, ["corpus.causes: rate is named twice"]),
        ({"corpus": {"causes": [], "variability": 1}}, ["causes: [] and variability: 1", "leave one of them out"]),
        (
            {"corpus": {"name": "local", "path": "x", "causes": []}, "alignment": {"aligner": "mfa"}},
            ["corpus.causes: would not be read, since name is local"],
        ),
        ({"corpus": {"archives": ["x.tar"]}}, ["corpus.archives: would not be read, since name is world"]),
        ({"downloads": {"files": {"x.tar": {"url": ["a"]}}}}, ["x.tar.url: unknown key", "did you mean", "x.tar.urls"]),
        ({"downloads": {"files": {"../x": {"urls": ["a"]}}}}, ["downloads.files: '../x' is no name of a file"]),
        ({"benchmarks": {"slm21_splits": ["dve"]}}, ["'dve' is not allowed; did you mean 'dev'?"]),
        ({"benchmarks": {"slm21": "x.zip", "swuggy": ["y.csv"]}}, ["swuggy: both slm21 and pairs files"]),
        ({"lm": {"window": "wide"}}, ["lm.window: 'wide' is not allowed; allowed: a whole number, at least 8"]),
        ({"lm": {"window": 2.5}}, ["lm.window"]),
        ({"lm": {"lr": True}}, ["lm.lr: true is not allowed; allowed: a number, above 0"]),
        ({"lm": {"lr": -1}}, ["lm.lr: -1 is not allowed; allowed: a number, above 0"]),
        ({"lm": {"hidden_size": 100, "heads": 3}}, ["lm.heads: 3 must divide hidden_size: 100, and kv_heads: "]),
        ({"lm": {"seeds": [1, 1]}}, ["lm.seeds: 1 is named twice"]),
        ({"lm": {"seeds": [0, -1]}}, ["lm.seeds: -1 is not allowed; a seed is 0 or more"]),
        ({"lm": {"hidden_size": 12, "heads": 4}}, ["hidden_size / heads is 3", "even"]),
        ({"corpus": {"min_seconds": 5, "max_seconds": 5}}, ["corpus.min_seconds: 5 must be below max_seconds: 5"]),
        ({"corpus": {"path": "x"}}, ["corpus.path: 'x'", "name: local", "presets/local.yaml"]),
        ({"units": {"sample_frames": 100, "clusters": 101}}, ["units.sample_frames: 100", "101 clusters"]),
        ({"tokens": {"phone_vocab": 44}}, ["tokens.phone_vocab: 44", "at least 45"]),
        ({"tokens": {"phone_vocab": 89, "stress": True}}, ["tokens.phone_vocab: 89", "at least 90"]),
        ({"corpus": {"name": "local"}}, ["corpus.path", "--config corpus="]),
        ({"corpus": {"name": "local", "path": "x"}}, ["alignment.aligner: truth", "pocketsphinx"]),
        (
            {"corpus": {"speech": "synthesized"}},
            ["speech: the world's speech is always synthesized", "leave speech out"],
        ),
        (
            {
                "corpus": {"name": "local", "path": "x", "speech": "synthesized"},
                "alignment": {"aligner": "textgrids", "textgrids": "grids"},
            },
            ["alignment.textgrids: TextGrids have the times of the recordings", "write aligner: truth"],
        ),
        (
            {
                "corpus": {"name": "local", "path": "x", "max_seconds": 5},
                "alignment": {"aligner": "pocketsphinx"},
            },
            ["continuation.prompt_seconds", "at most 5 s (corpus.max_seconds)", "5.5 s"],
        ),
        ({"questions": {"rungs": ["unit-bpe"]}}, ["questions.rungs.0: 'unit-bpe' is not allowed", "unit-words"]),
        ({"questions": {"rungs": ["unit-words", "unit-words"]}}, ["questions.rungs: unit-words is named twice"]),
        ({"questions": {"corpora": ["flat", "flat"]}}, ["questions.corpora: flat is named twice"]),
        ({"causes": {"rungs": [], "corpora": []}}, ["causes: rungs and corpora are both empty"]),
        ({"corpus": None}, ["corpus"]),
        ({"corpus": {"shards": 0}, "lm": {"layers": 0}}, ["2 mistakes", "corpus.shards", "lm.layers"]),
    ],
)
def test_a_mistake_is_named(config, parts):
    with pytest.raises(UserError) as error:
        load(config)
    for part in parts:
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("config", "parts"),
    [
        ({"rungs": ["text-bp"]}, ["1 mistake", "rungs.0: 'text-bp'", "did you mean 'text-bpe'", "phone-repeat"]),
        (
            {"scaling": {"rungs": ["text-bep"]}},
            ["scaling.rungs.0: 'text-bep' is not", "did you mean 'text-bpe'?"],
        ),
        (
            {"rungs": ["unit-vote", "unit-bpe"], "units": {"segments": "word"}},
            ["rungs: unit-vote: each unit must be a 50 Hz frame", "segments (units.segments: word)"],
        ),
        ({"rungs": ["x"], "scaling": {"rungs": ["y"]}}, ["2 mistakes", "  rungs.0: 'x'", "  scaling.rungs.0: 'y'"]),
    ],
)
def test_a_rung_that_cannot_be_made_is_named_before_any_job(tmp_path, config, parts):
    with pytest.raises(UserError) as error:
        checked(config, tmp_path)
    for part in parts:
        assert part in str(error.value)


def test_the_least_phone_vocabulary_is_the_alphabet_and_the_specials():
    for stress, least in ((False, PHONES), (True, STRESSED_PHONES)):
        assert least == len(phone_alphabet(Tokens(stress=stress), 0)) + len(SPECIALS)


def test_numbers_as_yaml_and_the_command_line_write_them():
    # YAML 1.1 reads 4e-4 as text, and Snakemake's --config reads every value as text
    settings = load({"lm": yaml.safe_load("{lr: 4e-4, seeds: ['0', '2']}"), "corpus": {"hours": "0.5", "path": "null"}})
    assert settings.lm.lr == 4e-4
    assert settings.lm.seeds == [0, 2]
    assert settings.corpus.hours == 0.5
    assert settings.corpus.path is None


@given(st.floats(1e-6, 1.0), st.lists(st.integers(0, 99), min_size=1, unique=True), st.sampled_from(["fp32", "bf16"]))
def test_options_read_back_what_they_say(lr, seeds, precision):
    section = LM(lr=lr, seeds=seeds, precision=precision)
    parser = argparse.ArgumentParser()
    add_options(parser, LM)
    assert from_options(parser.parse_args(shlex.split(as_options(section))), LM) == section


def test_options_quote_paths_with_spaces():
    section = Benchmarks(sblimp=["a file.jsonl", "b'c.csv"])
    parser = argparse.ArgumentParser()
    add_options(parser, Benchmarks)
    assert from_options(parser.parse_args(shlex.split(as_options(section))), Benchmarks) == section


def test_a_wrong_option_is_named():
    parser = argparse.ArgumentParser()
    add_options(parser, Corpus)
    with pytest.raises(UserError, match="--max-seconds"):
        from_options(parser.parse_args(["--max-seconds", "long"]), Corpus)


def test_left_out_fields_keep_their_option_out_of_the_command():
    assert "--seeds" not in as_options(LM(seeds=[5]), ["lr", "window"])


def test_untracked_settings_travel_in_the_environment(monkeypatch):
    settings = load({"corpus": {"max_rejected": 0.7}, "lm": {"checkpoint_every": 9}})
    assert "max-rejected" not in as_options(settings.corpus)
    assert "checkpoint-every" not in as_options(settings.lm)
    for name, value in untracked(settings).items():
        monkeypatch.setenv(name, value)
    parser = argparse.ArgumentParser()
    add_options(parser, Corpus)
    add_options(parser, LM)
    args = parser.parse_args([])
    assert from_options(args, Corpus).max_rejected == 0.7
    assert from_options(args, LM).checkpoint_every == 9
    alone = argparse.ArgumentParser()
    add_max_rejected(alone)
    assert alone.parse_args([]).max_rejected == 0.7
    assert alone.parse_args(["--max-rejected", "0.1"]).max_rejected == 0.1


@pytest.mark.parametrize("workers", [0, 3, None])
def test_how_units_are_made_travels_in_the_environment_and_in_no_command(monkeypatch, workers):
    """Else following the advice to lower units.workers would make the ladder anew."""
    settings = load({"units": {"workers": workers, "sample_gigabytes": 0.5}})
    assert as_options(settings.units) == as_options(load({}).units)
    for name, value in untracked(settings).items():
        monkeypatch.setenv(name, value)
    parser = argparse.ArgumentParser()
    add_options(parser, Units)
    assert from_options(parser.parse_args([]), Units) == settings.units
    assert from_options(parser.parse_args(["--workers", "1"]), Units).workers == 1


def test_paths_are_found_from_where_the_command_was_typed(tmp_path, monkeypatch):
    typed, work = tmp_path / "typed", tmp_path / "work"
    (typed / "corpus").mkdir(parents=True)
    (typed / "corpus" / "1-2.trans.txt").touch()
    work.mkdir()
    monkeypatch.chdir(work)  # as `snakemake --directory work` does
    monkeypatch.setenv("PWD", str(typed))
    config = {"corpus": {"name": "local", "path": "corpus"}, "alignment": {"aligner": "pocketsphinx"}}
    assert checked(config, tmp_path).corpus.path == str(typed / "corpus")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"corpus": {"name": "local", "path": "nowhere"}}, "corpus.path: nowhere"),
        ({"units": {"encoder": "./nowhere"}}, "units.encoder: ./nowhere"),
        ({"benchmarks": {"sblimp": ["nowhere.jsonl"]}}, "benchmarks.sblimp: nowhere.jsonl"),
    ],
)
def test_a_missing_path_is_found_before_any_job(tmp_path, change, field):
    with pytest.raises(UserError, match="no such file") as error:
        checked({"alignment": {"aligner": "pocketsphinx"}, **change}, tmp_path)
    assert field in str(error.value)


@pytest.mark.parametrize(
    ("units", "parts"),
    [
        ({"encoder": "hubert-micor"}, ["units.encoder", "did you mean 'hubert-micro'", "OWNER/NAME"]),
        ({"encoder": "a b/c"}, ["units.encoder", "a b/c"]),
        ({"encoder": "empty"}, ["units.encoder", "empty has no config.json"]),
        ({"encoder": "models/hubert", "layer": 3}, ["units.layer: 3", "layers 1 to 2"]),
        ({"layer": 99}, ["units.layer: 99", "hubert-micro has the layers 1 to"]),
    ],
)
def test_an_encoder_or_a_layer_that_is_none_is_found_before_any_job(tmp_path, units, parts):
    (tmp_path / "empty").mkdir()
    _model(tmp_path)
    with pytest.raises(UserError) as error:
        checked({"units": units}, tmp_path)
    for part in parts:
        assert part in str(error.value)


def test_an_encoder_is_the_shipped_one_a_folder_or_a_hubs(tmp_path):
    _model(tmp_path)
    for encoder, found in (
        ("hubert-micro", "hubert-micro"),
        ("models/hubert", str(tmp_path / "models" / "hubert")),
        ("facebook/hubert-large-ll60k", "facebook/hubert-large-ll60k"),
    ):
        assert checked({"units": {"encoder": encoder, "layer": 2}}, tmp_path).units.encoder == found


def _model(folder: Path) -> None:
    (folder / "models" / "hubert").mkdir(parents=True)
    (folder / "models" / "hubert" / "config.json").write_text('{"model_type": "hubert", "num_hidden_layers": 2}')
    save_file({"x": np.zeros(1)}, folder / "models" / "hubert" / "model.safetensors")


def test_variability_levels_need_the_world():
    config = {"corpus": {"name": "local", "path": "."}, "alignment": {"aligner": "pocketsphinx"}}
    with pytest.raises(UserError, match="world"):
        variability_config(load(config), 0)
    for run in (Settings(), load({"corpus": {"causes": ["rate"]}})):  # a level takes the place of causes
        words = shlex.split(variability_config(run, 2))
        values = {word.split("=", 1)[0]: yaml.safe_load(word.split("=", 1)[1]) for word in words}
        assert (load(values).corpus.variability, load(values).corpus.causes) == (2, None)
        assert load(values).rungs == ["phone-repeat", "speech-hubert"]


def test_the_order_of_causes_makes_no_other_corpus():
    assert Corpus(causes=["noise", "voices"]) == Corpus(causes=["voices", "noise"])
    assert list(get_args(Cause)) == list(CAUSES)


def test_natural_against_synthetic_speech_needs_recordings_and_an_encoder(tmp_path):
    given = {
        "corpus": {"name": "librispeech", "archives": ["train-clean-100.tar.gz"]},
        "alignment": {"aligner": "textgrids", "textgrids": "grids.zip"},
        "downloads": {
            "folder": str(tmp_path),
            "files": {"train-clean-100.tar.gz": {"urls": ["https://me:password@host/x"], "bytes": 9}},
        },
    }
    settings = load(given)
    words = synthesized_config(settings)
    found = load({word.partition("=")[0]: yaml.safe_load(word.partition("=")[2]) for word in shlex.split(words)})
    assert found.corpus == settings.corpus.model_copy(update={"speech": "synthesized"})
    assert (found.rungs, found.continuation.enabled) == (["phone-repeat", "speech-hubert"], False)
    assert (found.scores.layers, found.scores.learning) == (False, False)
    assert (found.alignment.aligner, found.alignment.textgrids) == ("pocketsphinx", None)  # which items have too
    assert (found.units, found.lm, found.benchmarks) == (settings.units, settings.lm, settings.benchmarks)
    (file,) = found.downloads.files.values()
    assert (file.urls, file.bytes) == ([str(tmp_path / "train-clean-100.tar.gz")], 9) and "password" not in words
    phones = given | {"alignment": {"aligner": "pocketsphinx"}}
    again = phones | {"corpus": given["corpus"] | {"speech": "synthesized"}}
    for config, message in (
        ({}, "no recordings"),
        (again, "no recordings"),
        (phones | {"units": {"source": "external", "path": "x"}}, r"units\.source: external"),
    ):
        with pytest.raises(UserError, match=message):
            synthesized_config(load(config))


def test_an_encoder_of_another_kind_than_its_source_is_refused_before_any_job(root):
    with pytest.raises(UserError, match=r"units\.source: wavlm, but hubert-micro is a 'hubert' model"):
        checked({"units": {"source": "wavlm"}}, root)
