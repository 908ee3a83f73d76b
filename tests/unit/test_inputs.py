"""What the rules ask the settings: inputs of a job, and the parts of its command."""

from types import SimpleNamespace

import pytest

from speechladder.io.errors import UserError
from speechladder.settings import STAGES, load, version
from speechladder.workflow import inputs
from speechladder.workflow.inputs import Inputs, exported, flags
from speechladder.workflow.paths import as_input, check_inputs


def job(**wildcards: str) -> SimpleNamespace:
    return SimpleNamespace(**wildcards)


def test_a_flag_for_each_input_that_there_is():
    found = SimpleNamespace(truth="results/a b", models=[], storycloze_text=["x", "y'z"])
    words = flags("truth", "models", "storycloze_text")(None, found)
    assert words == "--truth 'results/a b' --storycloze-text x 'y'\"'\"'z'"
    assert flags("models")(None, found) == ""


def test_another_language_of_the_world_makes_its_corpus_again_and_no_other(root, monkeypatch):
    files = {"corpus": {"name": "local", "path": "."}, "alignment": {"aligner": "pocketsphinx"}}
    world, local = Inputs(load({}), root), Inputs(load(files), root)
    generates = ("build_corpus", "make_prompts", "make_judge_text", "make_items")
    before = [world.language_version(rule) for rule in generates]
    monkeypatch.setattr(inputs.world, "VERSION", 10)
    assert all(world.language_version(rule) != found for rule, found in zip(generates, before))
    assert [local.language_version(rule) for rule in generates] == [version(rule) for rule in generates]
    rules = "".join(path.read_text() for path in sorted((root / "workflow" / "rules").glob("*.smk")))
    assert all(f'version=inputs.language_version("{rule}")' in rules for rule in generates)


def test_another_decoding_of_whisper_transcribes_again_where_whisper_transcribes(root, monkeypatch):
    transcribe = [rule for rule in STAGES if rule.startswith("transcribe_")]
    plain, whisper = (Inputs(load({"continuation": {"asr": asr}}), root) for asr in ("pocketsphinx", "whisper"))
    before = [whisper.asr_version(rule) for rule in transcribe]
    monkeypatch.setattr(inputs, "DECODING", 10)
    assert all(whisper.asr_version(rule) != found for rule, found in zip(transcribe, before))
    unchanged = [rule for rule in transcribe if plain.asr_version(rule) == version(rule)]
    assert unchanged == [rule for rule in transcribe if rule != "transcribe_second"]
    rules = "".join(path.read_text() for path in sorted((root / "workflow" / "rules").glob("*.smk")))
    assert all(f'version=inputs.asr_version("{rule}")' in rules for rule in transcribe)


def test_a_second_recogniser_is_an_input_where_there_is_one(root, tmp_path):
    none, named, folder = (
        Inputs(load({"continuation": {"second_asr": s}}), root) for s in (None, "a/b", str(tmp_path))
    )
    assert none.second_transcripts(job()) == none.second_asr_model(job()) == named.second_asr_model(job()) == []
    assert named.second_transcripts(job()) == "results/continuation/second_asr.json"
    assert folder.second_asr_model(job()) == [str(tmp_path)]


def test_all_shards_are_one_word_for_bash(root):
    many, one = (Inputs(load({"corpus": {"shards": n}}), root) for n in (12, 1))
    assert many.over_shards("results/units/{shard}.parquet")(job()) == "results/units/{0..11}.parquet"
    assert one.over_shards("results/units/{shard}.parquet")(job()) == "results/units/0.parquet"
    point = job(point="units_sweep/layer2-k100-none-seed0/")
    words = many.over_shards("results/{point}units/{shard}.parquet")(point)
    assert words == "results/units_sweep/layer2-k100-none-seed0/units/{0..11}.parquet"
    assert many.units(point)[11] == "results/units_sweep/layer2-k100-none-seed0/units/11.parquet"


def test_items_are_official_from_files_or_generated(root, tmp_path):
    (tmp_path / "slm21").mkdir()
    official = Inputs(load({"benchmarks": {"slm21": str(tmp_path / "slm21")}}), root)
    swuggy, topic = job(task="swuggy"), job(task="topic")
    assert official.official(swuggy) == str(tmp_path / "slm21")
    assert official.official(topic) == [] == official.stories(topic)
    assert official.phone_durations(swuggy) == "results/alignment/durations.json"
    assert (official.item_threads(swuggy), official.item_threads(topic)) == (8, 1)
    assert official.submitted(job(rung="text-bpe", seed="0")) == str(tmp_path / "slm21")
    with pytest.raises(UserError, match=r"benchmarks\.slm21 is not set"):
        Inputs(load({}), root).submitted(job())


def test_statistics_of_speakers_are_inputs_where_features_are_normalised_by_them(root):
    plain, spoken = (Inputs(load({"units": {"normalisation": kind}}), root) for kind in ("none", "speaker"))
    assert plain.speakers(job()) == [] == plain.item_speakers(job())
    assert spoken.speakers(job()) == "results/units/speakers.safetensors"
    assert spoken.item_speakers(job()) == ["results/units/speakers.safetensors", "results/units/voices.safetensors"]
    point = job(point="units_sweep/layer2-k100-speaker-seed0/")
    assert plain.speakers(point) == "results/units_sweep/layer2/units/speakers.safetensors"


def test_a_warm_start_has_the_dimensions_of_its_model(root):
    lm = {"init": "OWNER/NAME", "layers": 2}
    found = Inputs(load({"lm": lm}), root)
    assert found.init_files(job(point="")) == []
    with pytest.raises(UserError, match=r"scaling\.sizes: xs has other dimensions than lm\.init"):
        found.init_files(job(point="scaling/0.25/xs/"))


def test_the_encoder_is_known_by_its_content(root, tmp_path):
    names = {path.rpartition("/")[2] for path in Inputs(load({}), root).encoder_files()}
    assert {"config.json", "model.safetensors"} <= names

    assert Inputs(load({"units": {"source": "logmel"}}), root).encoder_files() == []

    def digest(folder):
        inputs._content.cache_clear()  # as another run of Snakemake
        return inputs.Inputs(load({"units": {"encoder": str(folder)}}), root).encoder_digest(job())

    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for name in ("model.safetensors", "config.json", "preprocessor_config.json"):
            (tmp_path / folder / name).write_text(name)
    found = digest(tmp_path / "a")
    (tmp_path / "a" / "model.safetensors").touch()
    (tmp_path / "a" / "README.md").write_text("read by no job")
    assert len(found) == 64 and digest(tmp_path / "a") == digest(tmp_path / "b") == found
    for name in ("model.safetensors", "preprocessor_config.json"):
        (tmp_path / "b" / name).write_text(name.upper())
        assert digest(tmp_path / "b") != found
        (tmp_path / "b" / name).write_text(name)
    assert digest("OWNER/NAME") == ""


LOCAL = {"corpus": {"name": "local", "path": "."}}


@pytest.mark.parametrize("name", ["my {v2}", "{ v }", "{v2,\\d+}", "a <v2>"])
def test_a_path_that_snakemake_would_take_for_its_own_is_refused_before_any_job(tmp_path, name):
    folder = str(tmp_path / name / "tg")
    with pytest.raises(UserError, match=r"alignment\.textgrids: .*tg: Snakemake takes .* rename the folder"):
        check_inputs(load({**LOCAL, "alignment": {"aligner": "textgrids", "textgrids": folder}}), tmp_path)
    with pytest.raises(UserError, match=r"continuation\.judge_text: "):
        check_inputs(load({"continuation": {"judge_text": [str(tmp_path / "x"), f"{folder}/y"]}}), tmp_path)
    with pytest.raises(UserError, match=r"the folder of the checkout: "):
        check_inputs(load({}), tmp_path / name)
    natural = {"corpus": {"name": "librispeech", "source": str(tmp_path / name)}, "alignment": {"aligner": "mfa"}}
    found = Inputs(load(natural), tmp_path)
    (tmp_path / name / "train-clean-100").mkdir(parents=True)
    assert found.corpus_roots(job()) == [str(tmp_path / name)]  # of params, which are no inputs


def test_other_names_are_taken_as_they_are():
    for path in ("/a b/it's", '/"q"/50%', "/a,b/{}", "/a<B>/<1>", "/ü/日本", "/{a"):
        assert as_input(path, "x") == path


def test_braces_are_doubled_for_snakemakes_prefix():
    assert exported({"A": "/my {v2}/bin", "B": 1}).format() == "A='/my {v2}/bin' B=1"
