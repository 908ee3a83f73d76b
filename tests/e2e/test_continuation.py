"""Continuations of the smoke run's models with the paper's kind of ASR, vocoder and judge, from folders on disk."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from ..unit.test_asr import save_whisper
from ..unit.test_judge import save_llama
from ..unit.test_vocoder import PREDICTOR, save_hifigan
from .conftest import copy_run, run

pytestmark = pytest.mark.e2e
RUNGS = ["text-raw", "speech-hubert-dedup"]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """Random ones, in a folder with a space in its name."""
    folder = tmp_path_factory.mktemp("models") / "my models"
    save_whisper(folder / "whisper")
    save_llama(folder / "judge", "bytes")
    save_hifigan(folder / "vocoder", "old", num_embeddings=32, **PREDICTOR)
    return folder


def _words(models: Path, vocoder: str = "vocoder", **more: object) -> list[str]:
    wanted = {"judge": "hf", "judge_model": str(models / "judge"), "asr": "whisper", **more}
    wanted |= {
        "whisper": str(models / "whisper"),
        "second_asr": str(models / "whisper"),
        "vocoder": str(models / vocoder),
    }
    return ["--config", f"rungs={json.dumps(RUNGS)}", f"continuation={json.dumps(wanted)}", "--", "results/table.csv"]


def _rows(path: Path) -> dict[str, dict[str, str]]:
    with path.open() as handle:
        return {row["rung"]: row for row in csv.DictReader(handle)}


def test_models_from_disk_from_prompt_to_table(smoke, models, tmp_path):
    folder = copy_run(smoke, tmp_path / "run")
    run(folder, *_words(models))
    table, said = _rows(folder / "results/table.csv"), _rows(folder / "results/continuation.csv")
    assert [*table] == RUNGS and [*said] == [*RUNGS, "true", "shuffled"]
    assert all(float(row["ppl"]) > 1 and row["ppl"] == said[rung]["ppl"] for rung, row in table.items())
    continuation = folder / "results" / "continuation"
    quality = json.loads((continuation / "quality.json").read_text())
    assert quality["judge"] == {
        "judge": "hf",
        "model": str(models / "judge"),
        "valid_perplexity_per_word": None,
    }
    assert {*quality["wer"]} == {"natural", "tts", "resynthesis"}
    cases = quality["asr_cases"]
    assert [*cases] == ["reference", "speech-hubert-dedup"] and cases["reference"]["parts"] == 3 * quality["prompts"]
    second = quality["second_asr"]  # the same Whisper hears the same, and reads what the text rung writes
    assert second["wer"] == quality["wer"] and [*second["examples"]] == RUNGS
    (heard,) = second["examples"]["text-raw"]["transcripts"]
    assert (
        heard["first"] == json.loads((continuation / "text-raw/examples/transcripts.json").read_text())[0]["transcript"]
    )
    assert list((continuation / "speech-hubert-dedup" / "examples").glob("*.flac"))
    # another vocoder concerns only rungs of units; settings of the run's own judge and vocoder concern no rung
    shutil.copytree(models / "vocoder", models / "other")
    jobs = run(folder, "-n", *_words(models, "other"))
    assert "rule transcribe_reference:" in jobs and jobs.count("rule transcribe_rung:") == 1
    assert "Nothing to be done" in run(folder, "-n", *_words(models, judge_steps=9, vocoder_steps=9))
    # without continuations the table has its other columns
    run(folder, *_words(models, enabled=False))
    assert [row["ppl"] for row in _rows(folder / "results/table.csv").values()] == ["", ""]
    assert not _rows(folder / "results/continuation.csv")
