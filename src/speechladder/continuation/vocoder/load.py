"""A vocoder from its folder, whichever kind it is."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from speechladder.continuation.vocoder.check import FIELD, KIND, check_folder, fetch, weights
from speechladder.io.errors import UserError


class Vocoder(Protocol):
    """Units at 50 Hz to a waveform at 16 kHz; the same units give the same samples."""

    @property
    def clusters(self) -> int:
        """How many units it knows."""

    def speak(self, units: np.ndarray) -> np.ndarray:
        """(frames,) -> (320 frames,) float32, within one unit's 320 samples."""

    def durations(self, units: np.ndarray) -> np.ndarray:
        """(n,) units, one per run -> (n,) int64 frames of 50 Hz, 1 at least."""


def load(path: str | Path, clusters: int | None = None) -> Vocoder:
    """The vocoder in a folder (the run's own: continuation/vocoder), or of OWNER/NAME on a hub.

    `clusters`: the run's; UserError where the vocoder has another number, or cannot be read.
    """
    folder = fetch(path)
    config = check_folder(folder, clusters)
    if config.get("model_type") == KIND:
        return _own(folder, config)
    from speechladder.continuation.vocoder.hifigan import CodeHiFiGAN

    return CodeHiFiGAN(folder, config)


def _own(folder: Path, config: dict[str, Any]) -> Vocoder:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from speechladder.continuation.vocoder.model import Envelope, OwnVocoder, Shape

    try:
        with torch.random.fork_rng():
            model = Envelope(Shape(**{name: config[name] for name in Shape.__dataclass_fields__}))
        model.load_state_dict(load_file(weights(folder)))
        return OwnVocoder(model, float(config["pitch"]))
    except (KeyError, TypeError, RuntimeError, OSError, SafetensorError) as error:
        first = str(error).splitlines()[0]
        raise UserError(f"{FIELD}: {folder} cannot be loaded ({first}); delete it and run again") from None
