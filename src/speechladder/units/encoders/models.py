"""Find, check and read a model of the wav2vec 2.0 family (HuBERT, WavLM, wav2vec 2.0) up to the wanted layer."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from speechladder.constants import SAMPLE_RATE
from speechladder.io.errors import UserError
from speechladder.io.hashing import files_sha256
from speechladder.io.hub import ALLOWED, WEIGHTS, fetch_model, find_weights
from speechladder.settings.units import SHIPPED, encoder_folder
from speechladder.units.encoders.check import FIELD, KINDS, PREPROCESSOR, check_config


def resolve(name: str) -> Path:
    """The folder of the model that `units.encoder` names: hubert-micro, a directory, or a hub id (fetched or cached).

    Raise UserError if there is none.
    """
    if name != SHIPPED:
        return fetch_model(name, FIELD, ["*config.json", "*.index.json"], WEIGHTS, f"{SHIPPED}, {ALLOWED}")
    folder = encoder_folder(name)
    if not folder.is_dir():
        raise UserError(f"{FIELD}: {folder} is missing from the installation; install the package again")
    return folder


def fingerprint(folder: Path) -> str:
    """sha256 (hex) of the weights in `folder`, which does not depend on where the folder is.

    They are the files that transformers loads; safetensors are preferred. Raise UserError if there are none.
    """
    return files_sha256(find_weights(folder, FIELD, WEIGHTS))


@dataclass(frozen=True)
class Checkpoint:
    """A model of one of KINDS in fp32 and eval mode, without its upper layers.

    `normalise`: whether it takes waveforms of zero mean and unit variance. `hash`: `fingerprint` of the weights.
    """

    model: Any
    normalise: bool
    hash: str


def read_model(name: str, layer: int, source: str = "auto") -> Checkpoint:
    """Read `name` (see `resolve`) up to transformer layer `layer`.

    `source` is auto or the model_type that the model must have. Raise UserError naming the field if the encoder is
    missing, broken or of another kind, or has fewer layers.
    """
    import transformers

    folder = resolve(name)
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise UserError(f"units.encoder: {folder}/config.json is missing or unreadable ({error})") from None
    check_config(config.to_dict(), str(folder), layer, source)
    weights = fingerprint(folder)
    model, normalise = _read_weights(folder, KINDS[config.model_type])
    model.encoder.layers = model.encoder.layers[:layer]
    if config.do_stable_layer_norm:
        # this kind has a layer norm after its last layer, which is not applied to the output of an inner layer
        model.encoder.layer_norm = torch.nn.Identity()
    conv = model.encoder.pos_conv_embed.conv
    if torch.nn.utils.parametrize.is_parametrized(conv, "weight"):
        torch.nn.utils.parametrize.remove_parametrizations(conv, "weight")  # otherwise recomputed at every call
    return Checkpoint(model.requires_grad_(False), normalise, weights)


def _read_weights(folder: Path, kind: str) -> tuple[Any, bool]:
    """(the model in fp32 and eval mode, whether it takes waveforms of zero mean and unit variance)."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    try:
        model, info = getattr(transformers, kind).from_pretrained(
            folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
        if (folder / PREPROCESSOR).is_file():
            extractor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(folder, local_files_only=True)
            if extractor.sampling_rate != SAMPLE_RATE:
                raise UserError(
                    f"units.encoder: {folder / PREPROCESSOR} wants {extractor.sampling_rate} Hz, not 16,000"
                )
            normalise = bool(extractor.do_normalize)
        else:  # in the releases the kind with layer norms (Large) was trained on normalised waveforms
            normalise = model.config.feat_extract_norm == "layer"
    except UserError:
        raise
    except Exception as error:  # safetensors, torch, json and transformers each raise their own
        raise UserError(
            f"units.encoder: {folder} cannot be loaded as a {kind} ({type(error).__name__}: {error}); "
            "fetch or save the checkpoint again"
        ) from None
    # masked_spec_embed is used in training only; transformers fills any other missing tensor with random numbers
    missing = sorted(key for key in info["missing_keys"] if key != "masked_spec_embed")
    if missing:
        raise UserError(f"units.encoder: {folder} lacks {len(missing)} of the model's tensors, first {missing[0]}")
    return model.eval(), normalise
