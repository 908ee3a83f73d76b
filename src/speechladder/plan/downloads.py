"""The files and models that a run fetches, with their sizes."""

from dataclasses import dataclass
from pathlib import Path

from speechladder.io.hub import is_hub_name
from speechladder.settings import Settings
from speechladder.workflow.sources import missing

# Bytes, published, of files for which the presets give no exact number: Libri-Light's README; the file list of
# LibriHeavy on its hub; a note in ESPnet's recipe (sLM21).
SIZES = {
    "small.tar": 35e9,
    "medium.tar": 321e9,
    "large.tar": 3.05e12,
    "libriheavy_cuts_small.jsonl.gz": 76.6e6,
    "libriheavy_cuts_medium.jsonl.gz": 708e6,
    "libriheavy_cuts_large.jsonl.gz": 7.12e9,
    "libriheavy_cuts_dev.jsonl.gz": 4.79e6,
    "libriheavy_cuts_test_clean.jsonl.gz": 2.31e6,
    "libriheavy_cuts_test_other.jsonl.gz": 2.45e6,
    "sLM21.dataset.zip": 30.6e9,
}
# Bytes of models on the hub: the parameters that their cards state, in the precision in which the hub stores them.
HUB_SIZES = {
    "facebook/hubert-base-ls960": 0.38e9,
    "facebook/hubert-large-ll60k": 1.26e9,
    "openai/whisper-large-v3": 3.1e9,
    "meta-llama/Llama-3.1-8B": 16.1e9,
    "EleutherAI/pythia-1.4b": 2.9e9,
}


@dataclass(frozen=True)
class File:
    """A download: its bytes as the preset states or as published, None if neither is known; whether it is there."""

    name: str
    bytes: float | None
    there: bool


def downloads(settings: Settings) -> list[File]:
    """Return the files under `downloads`, fetched already or not, in their order.

    Raise UserError, as workflow.sources does, if a file that the run needs can be had nowhere.
    """
    absent = set(missing(settings))
    return [
        File(name, wanted.bytes or SIZES.get(name), name not in absent)
        for name, wanted in settings.downloads.files.items()
    ]


def hub_models(settings: Settings) -> dict[str, float | None]:
    """Return the models that are fetched from a hub on first use, and their bytes where they are known."""
    c = settings.continuation
    names = [settings.units.encoder] * (settings.units.source != "external") + [settings.lm.init or ""]
    if c.enabled:
        names += [c.whisper] * (c.asr == "whisper") + [c.judge_model] * (c.judge == "hf") + [c.vocoder]
    return {name: HUB_SIZES.get(name) for name in names if is_hub_name(name) and not Path(name).exists()}
