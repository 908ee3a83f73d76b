"""Points of the units sweep, of the scaling grid and of the questions: prefixes, settings, and what they share."""

import re
from types import SimpleNamespace

import pytest

from speechladder.io.errors import UserError
from speechladder.rungs import registry
from speechladder.settings import ARMS, Point, Units, at, load, own, where
from speechladder.settings.points import CODEBOOKS, LAYERS, MODELS, SAMPLES, Variation
from speechladder.workflow.grids import QuestionInputs, ScalingInputs, SweepInputs
from speechladder.workflow.inputs import Inputs
from speechladder.workflow.subruns import CausesInputs

PREFIXES = [
    "",
    "units_sweep/layer2/",
    "units_sweep/layer2-speaker/",
    "units_sweep/layer12-k2048-none-seed3/",
    "scaling/0.25/",
    "scaling/1e-05/",
    "scaling/1.0/s.2/",
    "questions/segments-auto/",
]
S = load({"scaling": {"seeds": [0, 1], "fractions": [0.25, 1.0]}})


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_prefix_says_in_what_its_point_differs(prefix):
    assert Variation.parse(prefix).prefix == prefix


def test_what_is_no_prefix_is_refused():
    for wrong in (
        "units_sweep/",
        "scaling/x/",
        "layer2/",
        "units_sweep/layer2",
        "questions/layer2/",
        "questions/segments-auto",
    ):
        with pytest.raises(ValueError, match="prefix"):
            Variation.parse(wrong)


@pytest.mark.parametrize("fraction", ["0", "0.0", "1.5", "2", "1e5", "0.2.5", "1-"])
def test_a_fraction_is_above_0_and_at_most_1(fraction):
    with pytest.raises(ValueError, match=rf"{fraction} is no share above 0, at most 1"):
        Variation.parse(f"scaling/{fraction}/s/")


def test_the_patterns_take_the_run_and_their_own_prefixes():
    found = {name: [p for p in PREFIXES if re.fullmatch(pattern, p)] for name, pattern in PATTERNS.items()}
    assert found == {
        "layers": PREFIXES[:2],
        "samples": [PREFIXES[0], PREFIXES[2], PREFIXES[7]],
        "codebooks": [PREFIXES[0], PREFIXES[3], PREFIXES[7]],
        "models": [PREFIXES[0], PREFIXES[3], PREFIXES[6], PREFIXES[7]],
    }
    assert not any(re.compile(pattern).groups for pattern in PATTERNS.values())


PATTERNS = {"layers": LAYERS, "samples": SAMPLES, "codebooks": CODEBOOKS, "models": MODELS}


def test_the_settings_of_a_point():
    assert at(S, "") is not None and at(S, "") == S
    swept = at(S, "units_sweep/layer2-k400-speaker-seed1/")
    assert (swept.units.layer, swept.units.clusters, swept.units.normalisation, swept.seed) == (2, 400, "speaker", 1)
    assert not swept.scores.layers and not swept.scores.learning and swept.lm == S.lm
    assert at(S, "units_sweep/layer2/").seed == S.seed
    scaled = at(S, "scaling/0.25/xs/")
    assert (scaled.lm.hidden_size, scaled.lm.learning_points, scaled.lm.seeds) == (32, 0, [0, 1])
    assert scaled.units == S.units
    arm = at(S, "questions/segments-auto/")
    assert (arm.units.segments, arm.lm.learning_points, arm.scores.layers) == ("auto", 0, False)
    assert arm.lm.seeds == S.lm.seeds


@pytest.mark.parametrize(
    ("prefix", "artefact", "found"),
    [
        ("", "models", ""),
        ("units_sweep/layer3-k100-none-seed0/", "models", ""),  # the run's own
        ("units_sweep/layer3-k400-none-seed0/", "sample", ""),
        ("units_sweep/layer3-k400-speaker-seed0/", "sample", "units_sweep/layer3-speaker/"),
        ("units_sweep/layer3-k400-speaker-seed0/", "speakers", ""),
        ("units_sweep/layer2-k400-speaker-seed0/", "speakers", "units_sweep/layer2/"),
        ("units_sweep/layer3-k100-none-seed1/", "units", "units_sweep/layer3-k100-none-seed1/"),
        ("scaling/0.25/xs/", "units", ""),
        ("scaling/0.25/xs/", "tokens", "scaling/0.25/"),
        ("scaling/1.0/xs/", "tokens", ""),
        ("scaling/1.0/xs/", "models", "scaling/1.0/xs/"),
        ("scaling/0.25/lm/", "models", "scaling/0.25/lm/"),
        ("scaling/1.0/lm/", "models", ""),  # the run's own
        ("questions/speaker-norm/", "speakers", ""),
        ("questions/speaker-norm/", "sample", "questions/speaker-norm/"),
        ("questions/segments-word/", "tokens", "questions/segments-word/"),
        ("questions/segments-word/", "models", "questions/segments-word/"),
    ],
)
def test_what_points_share_is_made_once(prefix, artefact, found):
    assert where(S, prefix, artefact) == found


def test_the_sweep_reads_the_runs_own_units_where_they_are_a_point(root):
    sweep = SweepInputs(Inputs(S, root))
    assert own(S) == Point(3, 100, "none", 0)
    books = sweep.codebooks(SimpleNamespace(layer="3"))
    assert books["layer3-k100-none-seed0"] == "results/units/centroids.safetensors"
    assert books["layer3-k400-none-seed0"] == "results/units_sweep/layer3-k400-none-seed0/units/centroids.safetensors"
    assert "layer3-k100-none-seed0-dedup=results" in sweep.trained_words(None)
    assert "results/scores/speech-hubert-dedup/topic.parquet" in sweep.scores(None)
    with pytest.raises(UserError, match=r"its points are layers of an encoder, and units\.source: mfcc has none"):
        SweepInputs(Inputs(load({"units": {"source": "mfcc"}}), root)).scores(None)


def test_the_scaling_grid_is_rungs_by_sizes_by_fractions(root):
    grid = ScalingInputs(Inputs(S, root))
    models = grid.models(None)
    assert len(models) == 3 * 3 * 2 * 2
    point, run = "results/scaling/0.25/xs/lm/text-bpe", "results/lm/text-bpe"
    assert models[:2] == [f"{point}/seed0/train.json", f"{point}/seed1/train.json"]
    assert models[10:12] == [f"{run}/seed0/train.json", f"{run}/seed1/train.json"]
    folders = Inputs(S, root).model_folders(None, SimpleNamespace(models=models))
    assert folders[0] == f"{point}/seed0" and len(folders) == len(models)
    assert grid.tokens(None)[:2] == ["results/scaling/0.25/tokens/text-bpe", "results/tokens/text-bpe"]
    assert grid.scores(None)[0] == "results/scaling/0.25/xs/scores/text-bpe/swuggy.parquet"


@pytest.mark.parametrize("arm", ARMS)
def test_an_arm_is_a_valid_change_of_the_default_units_and_of_those_of_every_other_arm(arm):
    rung, changes = ARMS[arm]
    assert rung in registry.names()
    for base in [{}, *(other.units for other in ARMS.values())]:
        changed = Units().model_dump() | base | changes
        assert Units.model_validate(changed) == Units(**base).model_copy(update=changes)
    assert where(S, f"questions/{arm}/", "units") == f"questions/{arm}/"


def test_an_arm_that_is_the_run_is_not_made_again():
    assert where(load({"units": {"normalisation": "speaker"}}), "questions/speaker-norm/", "models") == ""


def test_the_questions_read_the_scores_of_their_arms(root):
    questions = QuestionInputs(Inputs(load({"questions": {"arms": ["supervised-1"]}}), root))
    folder = "results/questions/supervised-1"
    assert f"{folder}/scores/speech-hubert/topic.parquet" in questions.scores(None)
    assert questions.arm_words == [f"supervised-1={folder}"]
    assert questions.rungs == ["phone-repeat", "speech-hubert", "unit-words", "text-units"]
    assert len(questions.scores(None)) == 5 * len(questions.inputs.tasks)
    external = load({"units": {"source": "external", "path": "units.jsonl"}})
    with pytest.raises(UserError, match=r"questions\.arms"):
        QuestionInputs(Inputs(external, root)).scores(None)


def test_rungs_of_frames_stop_a_target_whose_units_are_segments(root):
    inputs = Inputs(load({"units": {"segments": "phone"}}), root)
    with pytest.raises(UserError, match=r"causes\.rungs: unit-vote, unit-phone: each unit must be a 50 Hz frame"):
        CausesInputs(inputs).scores(None)
    inputs = Inputs(load({"units": {"segments": "phone"}, "questions": {"arms": []}}), root)
    with pytest.raises(UserError, match=r"questions\.rungs: unit-words, text-units: each unit must be a 50 Hz frame"):
        QuestionInputs(inputs).scores(None)


def test_the_corpus_that_a_run_cannot_have_is_left_out(root):
    local = {"name": "local", "path": "x"}
    phones = {"aligner": "pocketsphinx"}
    for corpus, found in (
        ({}, ["flat"]),
        (local, ["synthesized"]),
        (local | {"speech": "synthesized"}, []),
    ):
        settings = load({"corpus": corpus, "alignment": phones})
        assert QuestionInputs(Inputs(settings, root)).corpora == found


def test_units_of_segments_have_no_curriculum_of_durations():
    assert at(S, "questions/segments-word/").lm.run_curriculum == 0
    assert at(load({"units": {"segments": "word"}}), "").lm.run_curriculum == 0
    assert at(S, "questions/supervised-1/").lm.run_curriculum == at(S, "").lm.run_curriculum == S.lm.run_curriculum > 0


def test_an_arm_that_does_not_exist_is_named():
    with pytest.raises(UserError, match=r"questions\.arms.*did you mean 'segments-phone'"):
        load({"questions": {"arms": ["segment-phone"]}})
    with pytest.raises(UserError, match="named twice"):
        load({"questions": {"arms": ["supervised-1", "supervised-1"]}})


@pytest.mark.parametrize("units", [{"segments": "word"}, {"labels": "phones"}])
def test_arms_need_a_run_whose_units_are_frames_of_kmeans(root, units):
    with pytest.raises(UserError, match=r"units\.segments and units\.labels"):
        QuestionInputs(Inputs(load({"units": units, "questions": {"rungs": []}}), root)).scores(None)
    alone = {"units": units, "questions": {"arms": [], "rungs": []}}
    assert "results/scores/speech-hubert/topic.parquet" in QuestionInputs(Inputs(load(alone), root)).scores(None)


def test_an_asr_that_hears_the_arms_is_checked_without_continuations(root, tmp_path):
    given = {"continuation": {"enabled": False, "asr": "whisper", "whisper": str(tmp_path / "none")}}
    with pytest.raises(UserError, match="whisper"):
        QuestionInputs(Inputs(load(given), root)).quality(None)
    given["questions"] = {"resynthesis": False}
    assert not any("resynthesis" in path for path in QuestionInputs(Inputs(load(given), root)).quality(None))
