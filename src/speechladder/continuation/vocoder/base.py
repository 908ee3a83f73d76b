"""The interface of a vocoder, and the factory that loads one from its folder."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from speechladder.continuation.vocoder.checks import ALLOWED, FIELD, KIND, WEIGHTS, check_vocoder_folder, find_generator
from speechladder.io.errors import UserError, first_line
from speechladder.io.hub import fetch_model


class Vocoder(Protocol):
    """Units at 50 Hz to a waveform at 16 kHz. The same units always give the same samples."""

    @property
    def clusters(self) -> int:
        """Number of units that the vocoder knows."""

    def speak(self, units: np.ndarray) -> np.ndarray:
        """Return (320 frames,) float32 samples at 16 kHz for (frames,) units, 320 samples for each unit."""

    def durations(self, units: np.ndarray) -> np.ndarray:
        """Return (n,) int64 durations in frames of 50 Hz, at least 1, for (n,) units without repetitions."""


def load_vocoder(name: str | Path, clusters: int | None = None) -> Vocoder:
    """Load the vocoder in a folder (the run's own is continuation/vocoder) or of OWNER/NAME on a hub.

    `clusters` is the run's number of units; None accepts any. Raise UserError if the vocoder has another number or
    cannot be read.
    """
    folder = fetch_model(str(name), FIELD, ["config.json"], WEIGHTS, ALLOWED)
    config = check_vocoder_folder(folder, clusters)
    if config.get("model_type") == KIND:
        return _load_own(folder, config)
    from speechladder.continuation.vocoder.hifigan import CodeHiFiGAN

    return CodeHiFiGAN(folder, config)


def _load_own(folder: Path, config: dict[str, Any]) -> Vocoder:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from speechladder.continuation.vocoder.model import Envelope, EnvelopeSize, OwnVocoder

    try:
        with torch.random.fork_rng():
            model = Envelope(EnvelopeSize(**{name: config[name] for name in EnvelopeSize.__dataclass_fields__}))
        model.load_state_dict(load_file(find_generator(folder)))
        return OwnVocoder(model, float(config["pitch"]))
    except (KeyError, TypeError, RuntimeError, OSError, SafetensorError) as error:
        raise UserError(f"{FIELD}: {folder} cannot be loaded ({first_line(error)}); delete it and run again") from None
