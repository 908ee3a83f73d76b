"""What `continuation.vocoder` names, checked before any job runs: reads config.json only, imports no torch."""

import math
from pathlib import Path
from typing import Any

from speechladder.constants import FRAME_RATE, SAMPLE_RATE
from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.io.hub import is_hub_name, require

FIELD = "continuation.vocoder"
RUN = "run"
KIND = "speechladder-unit-vocoder"  # model_type of the run's own
WEIGHTS = ("*.safetensors", "g_*", "*.pt", "*.bin")  # in order of preference
NO_DURATIONS = (
    "no duration predictor (dur_predictor_params), which a rung of deduplicated units needs; take a vocoder that has "
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


def check(path: str | Path, clusters: int, runs: bool = False) -> None:
    """Raise UserError unless `path` (run; a folder; OWNER/NAME on a hub) can speak the run's `clusters` units.

    `runs`: also units of which each run is written once, whose durations the vocoder must predict.

    A folder has the layout of fairseq's and textless' CodeHiFiGAN: config.json and weights (*.safetensors, g_*, *.pt,
    *.bin). A hub's name is only looked at: when jobs start hub.require asks the hub, and its config.json is checked.
    """
    if str(path) == RUN:
        return
    if Path(path).expanduser().exists():
        folder = Path(path).expanduser()
        check_folder(folder, clusters)
        check_config(folder / "config.json", clusters, runs)
    elif not is_hub_name(str(path)):
        raise UserError(f"{FIELD}: no such folder: {path}; write run, a folder, or OWNER/NAME of a hub")


def fetch(path: str | Path) -> Path:
    """The folder that `path` means, fetched from the hub if need be (HF_HUB_OFFLINE: from its cache). UserError."""
    folder = Path(path).expanduser()
    if folder.exists():
        return folder
    if not is_hub_name(str(path)):
        raise UserError(f"{FIELD}: no such folder: {path}; write run, a folder, or OWNER/NAME of a hub")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(path), allow_patterns=["config.json", *WEIGHTS]))
    except Exception as error:  # the hub client raises a dozen kinds for 'not there' and 'no network'
        require(str(path), FIELD)  # says what is wrong, where it can tell
        raise UserError(
            f"{FIELD}: {path} could not be fetched ({type(error).__name__}); on a machine with a network: "
            f"'hf download {path} --local-dir FOLDER', copy FOLDER here and set {FIELD}: FOLDER"
        ) from None


def weights(folder: Path) -> Path:
    """The file of the weights: safetensors first; of training checkpoints (g_00050000) the last."""
    for pattern in WEIGHTS:
        if found := sorted(folder.glob(pattern)):
            if len(found) > 1 and pattern != "g_*":
                names = ", ".join(f.name for f in found)
                raise UserError(f"{FIELD}: {folder} holds several weights ({names}); leave the generator's only")
            return found[-1]
    raise UserError(f"{FIELD}: {folder} holds no weights ({', '.join(WEIGHTS)}); copy the generator's there")


def check_folder(folder: Path, clusters: int | None) -> dict[str, Any]:
    """config.json of a vocoder's folder, checked: of the run's own kind, or a CodeHiFiGAN. UserError naming the fix.

    `clusters`: None takes what the config has.
    """
    if not folder.is_dir():
        raise UserError(f"{FIELD}: {folder} is a file; name the folder that has config.json and the weights")
    file = folder / "config.json"
    if not file.is_file():
        raise UserError(f"{FIELD}: {file} is missing; it comes with the vocoder's weights (may be called otherwise)")
    config = check_config(file, clusters)
    weights(folder)
    return config


def check_config(file: Path, clusters: int | None, runs: bool = False) -> dict[str, Any]:
    """What `file`, the config.json of a vocoder, says, checked as `check` does; UserError naming the fix."""
    config = read_json(file)
    if not isinstance(config, dict):
        raise UserError(f"{FIELD}: {file} is no configuration of a vocoder")
    if config.get("model_type") == KIND:
        _same_clusters(file, "clusters", config.get("clusters"), clusters)
        return config
    if config.get("model_type") == "hifigan" or ("model_in_dim" in config and "num_embeddings" not in config):
        raise UserError(
            f"{FIELD}: {file} is a vocoder for mel spectra (no num_embeddings); the speech rungs need one for units "
            f"(CodeHiFiGAN), or write {FIELD}: run"
        )
    _check_code_hifigan(file, config)
    _same_clusters(file, "num_embeddings", config["num_embeddings"], clusters)
    if runs and not config.get("dur_predictor_params"):
        raise UserError(f"{FIELD}: {file}: {NO_DURATIONS}")
    return config


def _same_clusters(file: Path, name: str, found: Any, clusters: int | None) -> None:
    if clusters is not None and found != clusters:
        raise UserError(
            f"{FIELD}: {file} has {name} {found}, the run's units are {clusters} (units.clusters); take a vocoder "
            f"of these very units, or set units.encoder, units.layer and units.clusters to what it was trained on"
        )


def _check_code_hifigan(file: Path, config: dict[str, Any]) -> None:
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
                f"{FIELD}: {file}: {name} is set; a vocoder that needs pitch or a reference voice beside the units "
                "cannot speak for a language model, take one for units alone"
            )
    rate, hop = config.get("sampling_rate", SAMPLE_RATE), math.prod(config["upsample_rates"])
    if not isinstance(rate, int) or not 8_000 <= rate <= 96_000 or rate % FRAME_RATE:
        raise UserError(f"{FIELD}: {file}: sampling_rate is {rate!r} Hz; no whole number of samples per unit (50 Hz)")
    stated = config.get("code_hop_size", hop)
    if hop != rate // FRAME_RATE or stated != hop:
        raise UserError(
            f"{FIELD}: {file}: upsample_rates make {hop} samples of a unit (code_hop_size {stated}), but 50 units "
            f"per second at sampling_rate {rate} are {rate // FRAME_RATE}; the config does not fit units at 50 Hz"
        )
    width = config["embedding_dim"] * (2 if config.get("multispkr") else 1)
    if config["model_in_dim"] != width:
        raise UserError(
            f"{FIELD}: {file}: model_in_dim is {config['model_in_dim']}, but embedding_dim"
            f"{', with the speaker,' if config.get('multispkr') else ''} makes {width}"
        )
