"""One hidden state of an s3prl upstream, in the place of encoder.Encoder. Runs in s3prl's own environment."""

import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from speechladder.constants import SAMPLE_RATE
from speechladder.io.audio import frame_count
from speechladder.io.devices import acquire_gpu
from speechladder.io.errors import UserError
from speechladder.units.decode import MIN_SAMPLES, Wave
from speechladder.units.encoder import Features
from speechladder.units.s3prl_environment import split, upstream
from speechladder.units.s3prl_shims import open_hub

SLACK = 2  # frames that an upstream may give more or less than a HuBERT: S3PRLUpstream's own padding gives up to two
PADDED = 800  # samples that an utterance is padded to with zeros where an upstream has no frame for 400; s3prl's too
_PROBE = 4 * SAMPLE_RATE  # samples of noise by which an upstream is measured


@dataclass(frozen=True)
class S3prlEncoder:
    """An upstream in fp32, whole and one utterance at a time, so that no batch changes a unit.

    An upstream is a closed box: its upper layers are computed, utterances are not cut into chunks, and what is done to
    a waveform is its own affair. `normalise`: whether that is known to bring it to zero mean and unit variance; None is
    unknown. `least`: samples that it needs.
    """

    model: Any
    normalise: bool | None
    layer: int
    name: str
    hash: str
    device: torch.device
    dim: int
    least: int
    precision: ClassVar[str] = "fp32"
    batch: ClassVar[float] = 0.0
    ahead: ClassVar[float] = 0.0

    @classmethod
    def load(cls, encoder: str, layer: int, device: str | None = None) -> "S3prlEncoder":
        """Open `encoder` (NAME or NAME:CHECKPOINT), of which `layer` is the index among its hidden states; for
        transformers 0 is what enters the first layer, and n leaves the nth.

        `device`: by default `devices.acquire_gpu()`. Raises UserError naming the field where there is no such upstream,
        checkpoint or hidden state, where it is not of 50 Hz, and where it gives other features a second time.
        """
        place = torch.device(device or acquire_gpu())
        if place.type == "cuda":
            torch.cuda.set_device(place)
        model = _open(encoder).to(place)
        dim = _measure(model, layer, encoder, place)
        return cls(
            model, _normalises(model), layer, encoder, digest(encoder, model), place, dim, _least(model, layer, place)
        )

    @property
    def provenance(self) -> dict[str, Any]:
        """What a codebook must have been made from to fit these features."""
        about = {"encoder": self.name, "sha256": self.hash, "layer": self.layer, "dim": self.dim}
        return about | {"normalise": self.normalise, "source": "s3prl"}

    def encode(self, utterances: list[np.ndarray]) -> list[np.ndarray]:
        """Each (samples,) float32 at 16 kHz -> (frames, dim) float32, frames == io.audio.frame_count(samples).

        Raises ValueError for fewer than 400 samples, as Encoder does.
        """
        found = self.features([Wave.of(samples) for samples in utterances])
        return [features.cpu().numpy() for batch in found for _, features in batch]

    def features(self, waves: Sequence[Wave]) -> Iterator[Features]:
        """The features of all, one by one in their order."""
        if any(len(wave.samples) < MIN_SAMPLES for wave in waves):
            raise ValueError(f"an utterance shorter than {MIN_SAMPLES} samples has no frame")
        for index, wave in enumerate(waves):
            samples = np.pad(wave.samples, (0, max(0, self.least - len(wave.samples))))
            state = _states(self.model, samples, self.device)[self.layer][0].float()
            yield [(index, fitted(state, len(samples), self.name)[: frame_count(len(wave.samples))])]


def fitted(state: torch.Tensor, samples: int, name: str) -> torch.Tensor:
    """(frames that an upstream gives, dim) -> (io.audio.frame_count(samples), dim).

    Those at the end that are too many are left out; where one or two are missing, the last is repeated, as
    S3PRLUpstream does. Raises UserError for more than `SLACK` either way.
    """
    wanted = frame_count(samples)
    missing = wanted - len(state)
    if abs(missing) > SLACK or not len(state):
        raise UserError(
            f"units.encoder: {name} gives {len(state)} frames for {samples / SAMPLE_RATE:.3f} s, "
            f"{len(state) * SAMPLE_RATE / samples:.1f} a second; the ladder needs 50: {wanted}, {SLACK} more or less"
        )
    if missing > 0:
        state = torch.cat([state, state[-1:].expand(missing, -1)])
    return state[:wanted]


def digest(encoder: str, model: torch.nn.Module) -> str:
    """sha256 (hex) over an upstream's name and its weights: the same wherever the checkpoint lies."""
    out = hashlib.sha256(split(encoder)[0].encode())
    for key, value in sorted(model.state_dict().items()):
        # in training only, and random where a checkpoint lacks it
        if isinstance(value, torch.Tensor) and not key.endswith("masked_spec_embed"):
            value = value.detach().cpu().contiguous()
            out.update(f"\n{key} {value.dtype} {tuple(value.shape)}\n".encode())
            out.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return out.hexdigest()


def check(encoder: str, layer: int) -> dict[str, Any]:
    """The provenance of an upstream. Raises UserError as `S3prlEncoder.load`, and where some of its weights are no
    checkpoint's: transformers draws those anew each time, with a warning."""
    found = S3prlEncoder.load(encoder, layer, "cpu")
    if digest(encoder, _open(encoder)) != found.hash:
        raise UserError(f"units.encoder: {encoder} has other weights each time it is opened: its checkpoint lacks some")
    return found.provenance


def _open(encoder: str) -> Any:
    """The upstream in fp32 and eval mode, on the CPU. Raises UserError."""
    name, checkpoint = split(encoder)
    function = upstream(open_hub(), name)
    if "transformers" in sys.modules:
        sys.modules["transformers"].utils.logging.disable_progress_bar()
    try:
        return function(**({"ckpt": checkpoint} if checkpoint else {})).float().eval().requires_grad_(False)
    except Exception as error:  # each upstream, and each way to fetch one, has its own
        said = " ".join(str(error).split())[:400]
        raise UserError(
            f"units.encoder: s3prl cannot open {encoder} ({type(error).__name__}: {said}). "
            + _why(name, checkpoint, said)
        ) from None


def _states(model: Any, samples: np.ndarray, device: torch.device) -> Sequence[torch.Tensor]:
    """(samples,) -> the hidden states, each (1, frames, dim)."""
    wave = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32)).to(device)
    # as in Encoder: a GPU's units must not differ from one run to the next
    exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    with torch.inference_mode(), exact:
        return model([wave])["hidden_states"]


def _measure(model: Any, layer: int, name: str, device: torch.device) -> int:
    """The size of a hidden state that is of 50 Hz and the same at every call. Raises UserError."""
    noise = np.random.default_rng(0).normal(0, 0.1, _PROBE)
    try:
        states = _states(model, noise, device)
    except Exception as error:
        raise UserError(
            f"units.encoder: {name} opens but cannot encode speech ({type(error).__name__}: {error})"
        ) from None
    if not 0 <= layer < len(states):
        raise UserError(
            f"units.layer: {layer} is not a hidden state of {name}; allowed: 0 to {len(states) - 1} "
            "(0 is before the first layer)"
        )
    first = states[layer][0].float()
    fitted(first, _PROBE, f"hidden state {layer} of {name}")
    again = _states(model, noise, device)[layer][0].float()
    if not torch.allclose(first, again, rtol=1e-3, atol=1e-4 * float(first.abs().max())):
        raise UserError(
            f"units.encoder: {name} gives other features for the same speech the second time (dither, dropout?)"
        )
    return int(first.shape[-1])


def _least(model: Any, layer: int, device: torch.device) -> int:
    """400 samples where the upstream has a frame for so few, else PADDED."""
    try:
        return MIN_SAMPLES if _states(model, np.zeros(MIN_SAMPLES), device)[layer].shape[1] else PADDED
    except Exception:  # whatever its own window makes of a waveform shorter than it
        return PADDED


def _normalises(model: Any) -> bool | None:
    """What s3prl's wrappers of transformers and of fairseq say about the waveform."""
    for place, field in (("extracter", "do_normalize"), ("task_cfg", "normalize"), ("cfg", "normalize")):
        found = getattr(getattr(model, place, None), field, None)
        if found is not None:
            return bool(found)
    return None


def _why(name: str, checkpoint: str | None, message: str) -> str:
    if "Weights only load failed" in message:
        return "It holds more than tensors; if you trust it, set TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1"
    if checkpoint is None:
        return (
            "Its checkpoint is fetched from the network, whatever HF_HUB_OFFLINE says, unless ~/.cache/s3prl has it: "
            "open it once on a machine with a network and copy that folder"
        )
    if name.startswith("hf_"):
        return (
            "The checkpoint is a folder that transformers loads, or a hub's OWNER/NAME; where preprocessor_config.json "
            "is missing, s3prl fetches another model's from the network"
        )
    return f"Is {checkpoint} a checkpoint of this kind? Names in _local, _custom and _url take fairseq-style files"
