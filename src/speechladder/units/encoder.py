"""HuBERT as transformers has it, from a folder or the hub: one layer's features, which no batch can change."""

import hashlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speechladder.io.audio import frame_count
from speechladder.io.errors import UserError
from speechladder.settings import SAMPLE_RATE

MICRO = "hubert-micro"
ASSETS = Path(__file__).resolve().parent.parent / "assets"
MIN_SAMPLES = 400  # at 16 kHz: the window of one frame; anything shorter has no unit
_WEIGHTS = ("model.safetensors", "model-*.safetensors", "pytorch_model.bin", "pytorch_model-*.bin")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def resolve(name: str) -> Path:
    """The folder that `units.encoder` means: hubert-micro, a directory, or a hub id (fetched, or from its cache).

    Raises UserError when there is none.
    """
    folder = ASSETS / MICRO if name == MICRO else Path(name).expanduser()
    if folder.is_dir():
        return folder
    if name == MICRO:
        raise UserError(f"units.encoder: {folder} is missing from the installation; install the package again")
    if not _HUB_ID.fullmatch(name):
        raise UserError(
            f"units.encoder: no such directory: {name}; name {MICRO}, a directory, or a hub id (OWNER/NAME)"
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=["*config.json", "*.index.json", *_WEIGHTS]))
    except Exception as error:  # the hub client raises a dozen kinds for 'not there' and 'no network'
        raise UserError(
            f"units.encoder: {name} is neither a directory nor in the hub's cache, and could not be fetched "
            f"({type(error).__name__}). On a machine with a network: 'hf download {name} --local-dir FOLDER', "
            "copy FOLDER here and set units.encoder to it"
        ) from None


def _weights(folder: Path) -> list[Path]:
    """The files that transformers will load, safetensors first."""
    for pattern in _WEIGHTS:
        if files := sorted(folder.glob(pattern)):
            return files
    raise UserError(f"units.encoder: {folder} holds no weights ({' or '.join(_WEIGHTS)})")


def fingerprint(folder: Path) -> str:
    """sha256 (hex) over the weights in `folder`: the same for the same model wherever it lies."""
    digest = hashlib.sha256()
    for file in _weights(folder):
        with file.open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()


def _check_config(config: Any, folder: Path, layer: int) -> None:
    if config.model_type != "hubert":
        raise UserError(f"units.encoder: {folder} is a '{config.model_type}' model; the units need a HuBERT")
    if not 1 <= layer <= config.num_hidden_layers:
        raise UserError(
            f"units.layer: {layer} is not a layer of {folder}; allowed: 1 to {config.num_hidden_layers} "
            "(1 is the first transformer layer)"
        )
    window, hop = 1, 1
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        window, hop = window + (kernel - 1) * hop, hop * stride
    if (window, hop) != (MIN_SAMPLES, 320):
        raise UserError(
            f"units.encoder: {folder} frames by {window} samples every {hop}; the ladder needs 400 every 320 (50 Hz)"
        )


def _read_model(folder: Path) -> tuple[Any, bool]:
    """(HubertModel in fp32 and eval mode, whether the waveform is normalised to zero mean and unit variance)."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    try:
        model, info = transformers.HubertModel.from_pretrained(
            folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
        if (folder / "preprocessor_config.json").is_file():
            extractor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(folder, local_files_only=True)
            if extractor.sampling_rate != SAMPLE_RATE:
                raise UserError(
                    f"units.encoder: {folder}/preprocessor_config.json wants {extractor.sampling_rate} Hz, not 16,000"
                )
            normalise = bool(extractor.do_normalize)
        else:  # as the releases do: the layer-norm kind (Large) was trained on normalised waveforms
            normalise = model.config.feat_extract_norm == "layer"
    except UserError:
        raise
    except Exception as error:  # safetensors, torch, json and transformers each have their own
        raise UserError(
            f"units.encoder: {folder} cannot be loaded as a HuBERT ({type(error).__name__}: {error}); "
            "fetch or save the checkpoint again"
        ) from None
    # used in training only, so its absence does no harm; any other would be random numbers without a word
    missing = sorted(key for key in info["missing_keys"] if key != "masked_spec_embed")
    if missing:
        raise UserError(f"units.encoder: {folder} lacks {len(missing)} of the model's tensors, first {missing[0]}")
    return model.eval(), normalise


@dataclass(frozen=True)
class Encoder:
    """The first layers of a HuBERT.

    What depends on the whole utterance runs on each alone: normalisation of the waveform, and the convolutions,
    whose group norm takes its mean over time and would see another utterance's padding. Only the transformer runs on
    batches, padded to the longest and masked.
    """

    model: Any
    normalise: bool
    layer: int
    name: str
    hash: str
    device: torch.device
    batch_seconds: float

    @classmethod
    def load(cls, name: str, layer: int, batch_seconds: float = 60.0, device: str | None = None) -> "Encoder":
        """Load `name` (hubert-micro, a directory, a hub id) up to transformer layer `layer` (1 is the first).

        `device`: cuda where there is one, else cpu. Raises UserError naming the field when the encoder is missing,
        broken or no HuBERT, or has fewer layers.
        """
        import transformers

        folder = resolve(name)
        try:
            config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
        except Exception as error:
            raise UserError(f"units.encoder: {folder}/config.json is missing or unreadable ({error})") from None
        _check_config(config, folder, layer)
        weights = fingerprint(folder)
        model, normalise = _read_model(folder)
        model.encoder.layers = model.encoder.layers[:layer]
        if config.do_stable_layer_norm:
            # this kind normalises after its last layer; the output of an inner layer comes without
            model.encoder.layer_norm = torch.nn.Identity()
        conv = model.encoder.pos_conv_embed.conv
        if torch.nn.utils.parametrize.is_parametrized(conv, "weight"):
            torch.nn.utils.parametrize.remove_parametrizations(conv, "weight")  # else computed anew at every call
        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        return cls(model.requires_grad_(False).to(place), normalise, layer, name, weights, place, batch_seconds)

    @property
    def dim(self) -> int:
        """Size of a feature vector."""
        return int(self.model.config.hidden_size)

    @property
    def provenance(self) -> dict[str, Any]:
        """What a codebook must have been made from to fit these features."""
        return {
            "encoder": self.name,
            "sha256": self.hash,
            "layer": self.layer,
            "dim": self.dim,
            "normalise": self.normalise,
        }

    def encode(self, utterances: list[np.ndarray]) -> list[np.ndarray]:
        """Each (samples,) float32 at 16 kHz -> (frames, dim) float32, frames == io.audio.frame_count(samples).

        Raises ValueError for fewer than 400 samples: callers reject those with the reason.
        """
        if any(len(samples) < MIN_SAMPLES for samples in utterances):
            raise ValueError(f"an utterance shorter than {MIN_SAMPLES} samples has no frame")
        out: list[np.ndarray] = [np.empty(0)] * len(utterances)
        # TF32 and autotuning would make a GPU's units differ from a CPU's and from one run to the next
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        with torch.inference_mode(), exact:
            for batch in self._batches([len(samples) for samples in utterances]):
                for index, features in zip(batch, self._layers([utterances[i] for i in batch]), strict=True):
                    out[index] = features
        return out

    def _batches(self, lengths: list[int]) -> Iterator[list[int]]:
        """Indices of utterances of similar length, at most `batch_seconds` together with padding."""
        # batches gain nothing on a CPU; batch norm before the positional convolution (of few models) shifts padding
        alone = self.device.type == "cpu" or self.model.encoder.pos_conv_embed.batch_norm is not None
        batch: list[int] = []
        for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
            if batch and (alone or (len(batch) + 1) * lengths[index] > self.batch_seconds * SAMPLE_RATE):
                yield batch
                batch = []
            batch.append(index)
        if batch:
            yield batch

    def _front(self, samples: np.ndarray) -> torch.Tensor:
        """(samples,) -> (frames, dim): one utterance up to the transformer."""
        if self.normalise:  # as Wav2Vec2FeatureExtractor does
            samples = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
        wave = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32)).to(self.device)
        hidden = self.model.feature_extractor(wave[None]).transpose(1, 2)
        return self.model.feature_projection(hidden)[0]

    def _layers(self, utterances: list[np.ndarray]) -> list[np.ndarray]:
        """A batch of (samples,) -> as many (frames, dim)."""
        fronts = [self._front(samples) for samples in utterances]
        frames = [frame_count(len(samples)) for samples in utterances]
        hidden = torch.nn.utils.rnn.pad_sequence(fronts, batch_first=True)
        mask = None
        if min(frames) < max(frames):
            counts = torch.tensor(frames, device=self.device)
            mask = torch.arange(max(frames), device=self.device)[None] < counts[:, None]
        states = self.model.encoder(hidden, attention_mask=mask).last_hidden_state
        return [state[:n].float().cpu().numpy() for state, n in zip(states, frames, strict=True)]
