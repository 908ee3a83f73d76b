"""The record of a run, and what it protects: two corpora never meet in one results folder."""

import json
from pathlib import Path

import pytest

from speechladder import __version__
from speechladder.io.errors import UserError
from speechladder.settings import load, tracked
from speechladder.workflow.record import check_same_corpus, differences, read_record, write_record

LIBRISPEECH = {
    "corpus": {"name": "librispeech", "archives": ["train-clean-100.tar.gz"]},
    "alignment": {"aligner": "pocketsphinx"},
}


@pytest.fixture
def results(tmp_path) -> Path:
    """The results of a default run that has begun."""
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "cuts.0.jsonl.gz").touch()
    write_record(tmp_path, load({}))
    return tmp_path


def test_a_record_is_read_as_it_was_written(tmp_path):
    settings = load({"corpus": {"hours": 2}, "units": {"clusters": 77}})
    assert read_record(tmp_path) is None
    write_record(tmp_path, settings)
    assert read_record(tmp_path) == tracked(settings)
    content = json.loads((tmp_path / "run.json").read_text())
    assert (content["schema"], content["version"]) == (1, __version__)
    assert content["settings"]["corpus"]["hours"] == 2.0
    first = (tmp_path / "run.json").read_bytes()
    write_record(tmp_path, settings)
    assert (tmp_path / "run.json").read_bytes() == first


def test_settings_that_change_no_result_are_not_recorded(tmp_path):
    write_record(tmp_path, load({"corpus": {"max_rejected": 0.5}, "lm": {"keep_checkpoints": 7}}))
    record = read_record(tmp_path)
    assert "max_rejected" not in record["corpus"]
    assert "keep_checkpoints" not in record["lm"]
    assert "downloads" not in record


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "not JSON"),
        ("[]", "not the record of a run"),
        ('{"schema": 1}', "'settings' is missing"),
        ('{"schema": 2, "version": "9.9", "settings": {}}', r"schema 2, this version reads 1; .*\(9\.9\)"),
    ],
)
def test_a_broken_record_is_named(tmp_path, text, why):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(UserError, match=rf"run\.json: .*{why}"):
        read_record(tmp_path)


def test_the_same_corpus_passes_whatever_else_differs(results):
    check_same_corpus(results, load({}))
    check_same_corpus(results, load({"units": {"clusters": 50}, "rungs": ["text-bpe"], "lm": {"max_steps": 9}}))
    check_same_corpus(results, load({"corpus": {"max_rejected": 0.9}}))


def test_another_corpus_is_refused_with_what_differs_and_how_to_go_on(results):
    with pytest.raises(UserError) as error:
        check_same_corpus(results, load(LIBRISPEECH))
    message = str(error.value)
    assert str(results) in message
    assert "another corpus (world)" in message
    assert "corpus.name: world there, librispeech here" in message
    assert "corpus.archives: [] there, ['train-clean-100.tar.gz'] here" in message
    assert "--directory OTHER" in message
    assert "-R build_corpus or --forceall" in message


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"seed": 1}, "seed: 0 there, 1 here"),
        ({"corpus": {"hours": 10}}, "corpus.hours: null there, 10.0 here"),
        ({"corpus": {"variability": 0}}, "corpus.variability: 3 there, 0 here"),
        ({"corpus": {"causes": []}}, r"corpus.causes: null there, \[\] here"),
    ],
)
def test_other_speech_makes_it_another_corpus(results, changes, line):
    with pytest.raises(UserError, match=line):
        check_same_corpus(results, load(changes))


def test_settings_that_are_raised_in_place_make_no_other_corpus(results):
    check_same_corpus(results, load({"corpus": {"test_fraction": 0.1, "max_seconds": 20}}))
    write_record(results, load(LIBRISPEECH))  # which depends on no seed, and whose items alone have voices
    check_same_corpus(results, load(LIBRISPEECH | {"seed": 1}))
    check_same_corpus(results, load({**LIBRISPEECH, "corpus": LIBRISPEECH["corpus"] | {"variability": 0}}))
    spoken = {**LIBRISPEECH, "corpus": LIBRISPEECH["corpus"] | {"speech": "synthesized"}}
    with pytest.raises(UserError, match=r"corpus\.speech: recorded there, synthesized here"):
        check_same_corpus(results, load(spoken))
    write_record(results, load(spoken))  # which depends on the seed
    check_same_corpus(results, load(spoken))
    with pytest.raises(UserError, match="seed: 0 there, 1 here"):
        check_same_corpus(results, load(spoken | {"seed": 1}))


def test_a_corpus_is_replaced_on_purpose(results):
    check_same_corpus(results, load(LIBRISPEECH), replace=True)


def test_a_folder_without_a_record_or_without_a_corpus_passes(results):
    other = load(LIBRISPEECH)
    (results / "run.json").unlink()
    check_same_corpus(results, other)
    write_record(results, load({}))
    (results / "corpus" / "cuts.0.jsonl.gz").unlink()  # the run ended before it made anything
    check_same_corpus(results, other)
    check_same_corpus(results / "not-yet", other)


def test_a_field_that_an_older_record_lacks_counts_as_its_default():
    record = tracked(load({}))
    del record["corpus"]["english_only"], record["alignment"]
    assert differences(record, load({}), ("seed", "corpus", "alignment")) == []
    changed = load({"corpus": {"english_only": False}})
    assert differences(record, changed, ("corpus",)) == ["corpus.english_only: True there, False here"]


def test_many_and_long_differences_are_cut_short(results):
    far = {"name": "local", "path": "speech", "hours": 9, "shards": 9, "text": "asr"}
    with pytest.raises(UserError, match="and 1 more settings"):
        check_same_corpus(results, load({"corpus": far, "alignment": {"aligner": "pocketsphinx"}}))
    long = load(
        {"corpus": LIBRISPEECH["corpus"] | {"archives": ["x" * 100 + ".tar"]}} | {"alignment": {"aligner": "mfa"}}
    )
    assert max(map(len, differences(tracked(load({})), long, ("corpus",)))) < 120
