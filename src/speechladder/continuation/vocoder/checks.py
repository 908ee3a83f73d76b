"""Checks of the vocoder before any job starts. They read config.json alone and do not import torch."""

import math
from pathlib import Path
from typing import Any

from speechladder.constants import FRAME_RATE, SAMPLE_RATE
from speechladder.io.errors import UserError
from speechladder.io.hub import find_model_folder, find_weights, read_model_config

FIELD = "continuation.vocoder"
RUN = "run"
ALLOWED = "run, a folder, or a hub's model as OWNER/NAME"
KIND = "speechladder-unit-vocoder"  # model_type of the run's own vocoder
WEIGHTS = ("*.safetensors", "g_*", "*.pt", "*.bin")  # in order of preference
NO_DURATIONS = (
    "no duration predictor (dur_predictor_params), which a rung of deduplicated units needs; name a vocoder that has "
    "one, or write continuation.vocoder: run"
)
_NEEDED = {
    "num_embeddings": int,
    "embedding_dim": int,
    "model_in_dim": int,
    "upsample_rates": list,
    "upsample_kernel_sizes": list,
    "upsample_initial_channel": int,
    "resblock_kernel_sizes": list,
    "resblock_dilation_sizes": list,
}


def check_vocoder(name: str | Path, clusters: int, needs_durations: bool = False) -> None:
    """Raise UserError unless `name` (run, a folder, or OWNER/NAME on a hub) can speak the run's `clusters` units.

    `needs_durations`: a rung writes each run of equal units once, so that the vocoder must predict durations. A folder
    has the layout of CodeHiFiGAN in fairseq and textless: config.json and weights (*.safetensors, g_*, *.pt, *.bin).
    For OWNER/NAME only the form is checked here; the hub is asked when jobs start.
    """
    if str(name) == RUN:
        return
    if folder := find_model_folder(str(name), FIELD, ALLOWED):
        check_vocoder_folder(folder, clusters, needs_durations)


def check_vocoder_folder(folder: Path, clusters: int | None, needs_durations: bool = False) -> dict[str, Any]:
    """Return the checked config.json of a vocoder's folder: the run's own vocoder, or a CodeHiFiGAN.

    `clusters`: None accepts any number. Raise UserError naming the fix.
    """
    config = read_model_config(folder, FIELD, "it comes with the vocoder's weights (may be called otherwise)")
    check_vocoder_config(config, f"{folder}/config.json", clusters, needs_durations)
    find_generator(folder)
    return config


def find_generator(folder: Path) -> Path:
    """Return the file of the weights: safetensors first; the last of several training checkpoints (g_00050000)."""
    files = find_weights(folder, FIELD, WEIGHTS, "copy the generator's there")
    checkpoints = files[0].match("g_*") and files[0].suffix != ".safetensors"
    if len(files) > 1 and not checkpoints:
        names = ", ".join(file.name for file in files)
        raise UserError(f"{FIELD}: {folder} holds several files of weights ({names}); keep only the generator's")
    return files[-1]


def check_vocoder_config(
    config: dict[str, Any], name: str, clusters: int | None, needs_durations: bool = False
) -> None:
    """Raise UserError if the config.json called `name` is not that of a vocoder that `check_vocoder` accepts."""
    if config.get("model_type") == KIND:
        _check_clusters(name, "clusters", config.get("clusters"), clusters)
        return
    if config.get("model_type") == "hifigan" or ("model_in_dim" in config and "num_embeddings" not in config):
        raise UserError(
            f"{FIELD}: {name} is a vocoder for mel spectra (no num_embeddings); the speech rungs need one for units "
            f"(CodeHiFiGAN), or write {FIELD}: run"
        )
    _check_code_hifigan(name, config)
    _check_clusters(name, "num_embeddings", config["num_embeddings"], clusters)
    if needs_durations and not config.get("dur_predictor_params"):
        raise UserError(f"{FIELD}: {name}: {NO_DURATIONS}")


def _check_clusters(file: str, name: str, found: Any, clusters: int | None) -> None:
    if clusters is not None and found != clusters:
        raise UserError(
            f"{FIELD}: {file} has {name} {found}, the run's units are {clusters} (units.clusters); name a vocoder for "
            "the run's units, or set units.encoder, units.layer and units.clusters to those of its training"
        )


def _check_code_hifigan(file: str, config: dict[str, Any]) -> None:
    for name, kind in _NEEDED.items():
        if name not in config:
            raise UserError(f"{FIELD}: {file} has no {name}; a CodeHiFiGAN's config.json is needed")
        if not isinstance(config[name], kind) or (kind is list and not config[name]):
            raise UserError(f"{FIELD}: {file}: {name} is {config[name]!r}, expected {kind.__name__}")
    for one, other in (
        ("upsample_rates", "upsample_kernel_sizes"),
        ("resblock_kernel_sizes", "resblock_dilation_sizes"),
    ):
        if len(config[one]) != len(config[other]):
            raise UserError(f"{FIELD}: {file}: {one} and {other} differ in length")
    if str(config.get("resblock", "1")) not in ("1", "2"):
        raise UserError(f"{FIELD}: {file}: resblock is {config['resblock']!r}, known are '1' and '2'")
    for name in ("f0", "embedder_params"):
        if config.get(name):
            raise UserError(
                f"{FIELD}: {file}: {name} is set; this vocoder needs pitch or a reference voice too, but a language "
                "model gives units alone; name a vocoder for units alone"
            )
    rate, hop = config.get("sampling_rate", SAMPLE_RATE), math.prod(config["upsample_rates"])
    if not isinstance(rate, int) or not 8_000 <= rate <= 96_000 or rate % FRAME_RATE:
        raise UserError(
            f"{FIELD}: {file}: sampling_rate is {rate!r}; it must be 8000 to 96000 Hz and a multiple of {FRAME_RATE}, "
            "the units per second"
        )
    stated = config.get("code_hop_size", hop)
    if hop != rate // FRAME_RATE or stated != hop:
        raise UserError(
            f"{FIELD}: {file}: upsample_rates give {hop} samples of a unit (code_hop_size {stated}), but 50 "
            f"units per second at sampling_rate {rate} are {rate // FRAME_RATE}; "
            "name a vocoder for units at 50 Hz"
        )
    width = config["embedding_dim"] * (2 if config.get("multispkr") else 1)
    if config["model_in_dim"] != width:
        raise UserError(
            f"{FIELD}: {file}: model_in_dim is {config['model_in_dim']}, but embedding_dim"
            f"{' (twice, because multispkr is set)' if config.get('multispkr') else ''} gives {width}; mend the file"
        )
