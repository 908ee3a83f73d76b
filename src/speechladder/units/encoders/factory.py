"""Which encoder `units.source` names."""

from importlib import import_module

from speechladder.io.errors import UserError
from speechladder.settings import Units
from speechladder.units.encoders.base import Encoder

_TRANSFORMERS = "speechladder.units.encoders.transformers:open_encoder"
_SPECTRAL = "speechladder.units.encoders.spectral:open_encoder"

# units.source -> the function (units, device) -> Encoder that opens it, as module:name
ENCODERS = {
    "auto": _TRANSFORMERS,
    "hubert": _TRANSFORMERS,
    "wavlm": _TRANSFORMERS,
    "wav2vec2": _TRANSFORMERS,
    "mfcc": _SPECTRAL,
    "logmel": _SPECTRAL,
    "s3prl": "speechladder.units.encoders.s3prl:open_encoder",
}


def open_encoder(units: Units, device: str | None = None) -> Encoder:
    """Open the encoder that `units` describes, by default on the device that io.devices chooses.

    Raise UserError if the source has no encoder, or if the encoder cannot be opened.
    """
    if units.source not in ENCODERS:
        raise UserError(f"units.source: {units.source} has no encoder; its units come from units.path")
    module, _, name = ENCODERS[units.source].partition(":")
    return getattr(import_module(module), name)(units, device)
