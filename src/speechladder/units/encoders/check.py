"""Which models can be the encoder of units, from their files alone. Loads neither torch nor transformers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from speechladder.constants import HOP, RECEPTIVE_FIELD, SAMPLE_RATE
from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.io.hub import WEIGHTS, check_whole, find_weights, read_model_config

FIELD = "units.encoder"
KINDS = {"hubert": "HubertModel", "wavlm": "WavLMModel", "wav2vec2": "Wav2Vec2Model"}  # model_type -> class
PREPROCESSOR = "preprocessor_config.json"
_FAIRSEQ = (
    "a .pt file of fairseq is read by s3prl (units.source: s3prl, units.encoder: hubert_local:FILE.pt); transformers "
    "needs the folder of the converted model, or its name on a hub, such as facebook/hubert-base-ls960"
)
# transformers' own values, where a config.json leaves them out
_DEFAULTS = {
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "feat_extract_activation": "gelu",
}


def check_folder(folder: Path, name: str, layer: int, source: str = "auto") -> None:
    """Raise UserError that names the field and the fix unless `folder` holds an encoder that transformers loads.

    `name`: the encoder in messages. See `check_config`. The weights must be there and whole; their tensors are compared
    when the encoder is opened.
    """
    if folder.is_file():
        there = f"; {_FAIRSEQ}" if folder.suffix == ".pt" else ""
        raise UserError(f"{FIELD}: {folder} is a file; name a folder that holds config.json and weights{there}")
    has_fairseq = any(folder.glob("*.pt"))
    advice = _FAIRSEQ if has_fairseq else "name the folder of a model as transformers saves it (save_pretrained)"
    check_config(read_model_config(folder, FIELD, advice), name, layer, source)
    advice = _FAIRSEQ if has_fairseq else "fetch the model again, or convert it"
    check_whole(find_weights(folder, FIELD, WEIGHTS, advice), FIELD)
    if (file := folder / PREPROCESSOR).is_file():
        found = read_json(file, "fetch the model again")
        rate = found.get("sampling_rate", SAMPLE_RATE) if isinstance(found, dict) else None
        if rate != SAMPLE_RATE:
            raise UserError(f"{FIELD}: {file}: sampling_rate is {rate}; the units need a model of 16000 Hz")


def check_config(config: Mapping[str, Any], name: str, layer: int, source: str = "auto") -> None:
    """Raise UserError if a config.json is not that of an encoder of one of KINDS with 50 frames a second and `layer`.

    `source` is auto or the model_type that the model must have. `name` is the encoder in messages.
    """
    kind, layers = config.get("model_type"), config.get("num_hidden_layers")
    if kind not in list(KINDS):  # it may be of any type
        what = f"a {kind!r} model" if kind else "no model of transformers (its config.json has no model_type)"
        raise UserError(f"{FIELD}: {name} is {what}; the units need one of {', '.join(KINDS)}")
    if source not in ("auto", kind):
        raise UserError(f"units.source: {source}, but {name} is a {kind!r} model; write source: auto")
    if not isinstance(layers, int) or layers < 1:
        raise UserError(f"{FIELD}: {name}: num_hidden_layers in its config.json is {layers!r}, not a number of layers")
    if not 1 <= layer <= layers:
        raise UserError(
            f"units.layer: {layer} is out of range; {name} has the layers 1 to {layers} (1 is the first transformer "
            "layer)"
        )
    kernels, strides, activation = (config.get(key, value) for key, value in _DEFAULTS.items())
    window, hop = _framing(kernels, strides, name)
    if (window, hop) != (RECEPTIVE_FIELD, HOP):
        raise UserError(
            f"{FIELD}: {name} has {SAMPLE_RATE / hop:g} frames a second ({window} samples every {hop}); the ladder "
            f"needs {SAMPLE_RATE // HOP} ({RECEPTIVE_FIELD} every {HOP} at 16 kHz), as HuBERT, WavLM and wav2vec 2.0 "
            "have them"
        )
    if activation != "gelu":  # every release has it, and the fast front end computes no other
        raise UserError(
            f"{FIELD}: {name}: feat_extract_activation in its config.json is {activation!r}; the units need gelu, as "
            "HuBERT, WavLM and wav2vec 2.0 have it"
        )


def _framing(kernels: Any, strides: Any, name: str) -> tuple[int, int]:
    """(samples of a frame, samples between two frames) of convolutions of these kernels and strides."""
    lists = [value if isinstance(value, list | tuple) else [] for value in (kernels, strides)]
    whole = all(isinstance(value, int) and value > 0 for value in [*lists[0], *lists[1]])
    if not whole or not lists[0] or len(lists[0]) != len(lists[1]):
        raise UserError(
            f"{FIELD}: {name}: conv_kernel and conv_stride in its config.json are {kernels!r} and {strides!r}, not two "
            "lists of as many whole numbers; fetch the model again"
        )
    window, hop = 1, 1
    for kernel, stride in zip(*lists, strict=True):
        window, hop = window + (kernel - 1) * hop, hop * stride
    return window, hop
