"""One hidden state of an s3prl upstream (Yang et al. 2021, arXiv 2105.01051). Runs in s3prl's own environment."""

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from speechladder.constants import SAMPLE_RATE
from speechladder.io.audio import frame_count
from speechladder.io.devices import use_device
from speechladder.io.errors import UserError
from speechladder.settings import Units
from speechladder.units.decode import MIN_SAMPLES, Wave
from speechladder.units.encoders.base import Encoder, Features, check_lengths
from speechladder.units.encoders.s3prl_environment import split_encoder, upstream, upstreams
from speechladder.units.encoders.s3prl_shims import open_hub

SLACK = 2  # frames by which an upstream may differ from a HuBERT: the padding of S3PRLUpstream itself gives up to two
PADDED = (
    800  # samples to which short utterances are padded with zeros if an upstream has no frame for 400; as s3prl does
)
_PROBE = 4 * SAMPLE_RATE  # samples of noise on which an upstream is measured


def open_encoder(units: Units, device: str | None = None) -> "S3prlEncoder":
    """Open the upstream that `units` describes; see factory.open_encoder."""
    return S3prlEncoder.load(units.encoder, units.layer, device)


@dataclass(frozen=True)
class S3prlEncoder(Encoder):
    """An upstream in fp32, which encodes one whole utterance at a time, so that no batch changes a unit.

    An upstream is a closed box. Its upper layers are computed too, utterances are not cut into chunks, and it processes
    the waveform as it likes. `normalise`: whether it is known to bring the waveform to zero mean and unit variance;
    None if unknown. `least`: the number of samples that it needs.
    """

    model: Any
    normalise: bool | None
    layer: int
    name: str
    hash: str
    device: torch.device
    dim: int
    least: int
    ahead: ClassVar[float] = 0.0

    @classmethod
    def load(cls, encoder: str, layer: int, device: str | None = None) -> "S3prlEncoder":
        """Open `encoder` (NAME or NAME:CHECKPOINT); `layer` is an index into its hidden states.

        For a transformer, hidden state 0 is the input of the first layer, and n is the output of the nth. `device`: the
        default is what `devices.acquire_gpu()` chooses. Raise UserError naming the field if there is no such upstream,
        checkpoint or hidden state, if it does not have 50 frames per second, or if it gives other features for the same
        speech a second time.
        """
        place = use_device(device)
        model = _open(encoder).to(place)
        dim = _measure(model, layer, encoder, place)
        return cls(
            model, _normalises(model), layer, encoder, digest(encoder, model), place, dim, _least(model, layer, place)
        )

    @property
    def provenance(self) -> dict[str, Any]:
        """See Encoder."""
        about = {"encoder": self.name, "sha256": self.hash, "layer": self.layer, "dim": self.dim}
        return about | {"normalise": self.normalise, "source": "s3prl"}

    def features(self, waves: Sequence[Wave]) -> Iterator[Features]:
        """Encode one utterance after the other, in their order."""
        check_lengths(waves)
        for index, wave in enumerate(waves):
            samples = np.pad(wave.samples, (0, max(0, self.least - wave.length)))
            state = _states(self.model, samples, self.device)[self.layer][0].float()
            yield [(index, fitted(state, len(samples), self.name)[: frame_count(wave.length)])]


def fitted(state: torch.Tensor, samples: int, name: str) -> torch.Tensor:
    """Bring the frames of an upstream, (frames, dim), to the number that `samples` have: io.audio.frame_count.

    Extra frames at the end are left out. If one or two are missing, the last one is repeated, as in S3PRLUpstream.
    Raise UserError if the numbers differ by more than `SLACK`.
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
    """sha256 (hex) of an upstream's name and weights, which does not depend on where the checkpoint is."""
    out = hashlib.sha256(split_encoder(encoder)[0].encode())
    for key, value in sorted(model.state_dict().items()):
        # masked_spec_embed is used in training only, and is random if a checkpoint lacks it
        if isinstance(value, torch.Tensor) and not key.endswith("masked_spec_embed"):
            value = value.detach().cpu().contiguous()
            out.update(f"\n{key} {value.dtype} {tuple(value.shape)}\n".encode())
            out.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return out.hexdigest()


def check_upstream(encoder: str, layer: int) -> dict[str, Any]:
    """Open an upstream twice and return its provenance.

    Raise UserError as `S3prlEncoder.load` does, and if the checkpoint lacks some weights: transformers draws those at
    random each time, with a warning only.
    """
    found = S3prlEncoder.load(encoder, layer, "cpu")
    if digest(encoder, _open(encoder)) != found.hash:
        raise UserError(f"units.encoder: {encoder} has other weights each time it is opened: its checkpoint lacks some")
    return found.provenance


def describe_upstream(encoder: str = "", layer: int = 0) -> None:
    """Open an s3prl upstream and print its provenance, or print the names of all upstreams.

    Run this with the Python of s3prl's own environment (make s3prl).

    Args:
        encoder: NAME or NAME:CHECKPOINT, as in units.encoder; without it the names are listed
        layer: index of the hidden state, as in units.layer
    """
    lines = [json.dumps(check_upstream(encoder, layer))] if encoder else list(upstreams(open_hub()))
    sys.stdout.write("\n".join(lines) + "\n")


def _open(encoder: str) -> Any:
    """The upstream in fp32 and eval mode, on the CPU. Raise UserError if s3prl cannot open it."""
    name, checkpoint = split_encoder(encoder)
    function = upstream(open_hub(), name)
    if "transformers" in sys.modules:
        sys.modules["transformers"].utils.logging.disable_progress_bar()
    try:
        return function(**({"ckpt": checkpoint} if checkpoint else {})).float().eval().requires_grad_(False)
    except Exception as error:  # each upstream, and each way to fetch one, raises its own
        said = " ".join(str(error).split())[:400]
        raise UserError(
            f"units.encoder: s3prl cannot open {encoder} ({type(error).__name__}: {said}). "
            + _why(name, checkpoint, said)
        ) from None


def _states(model: Any, samples: np.ndarray, device: torch.device) -> Sequence[torch.Tensor]:
    """The hidden states of (samples,), each (1, frames, dim)."""
    wave = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32)).to(device)
    # as in TransformersEncoder: a GPU's units must not differ from one run to the next
    exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    with torch.inference_mode(), exact:
        return model([wave])["hidden_states"]


def _measure(model: Any, layer: int, name: str, device: torch.device) -> int:
    """The size of a hidden state. Raise UserError unless it has 50 Hz and is the same at every call."""
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
    """400 samples if the upstream has a frame for so few, otherwise PADDED."""
    try:
        return MIN_SAMPLES if _states(model, np.zeros(MIN_SAMPLES), device)[layer].shape[1] else PADDED
    except Exception:  # each upstream fails in its own way on a waveform shorter than its window
        return PADDED


def _normalises(model: Any) -> bool | None:
    """Whether s3prl's wrapper of transformers or fairseq says that it normalises the waveform; None if unknown."""
    for place, field in (("extracter", "do_normalize"), ("task_cfg", "normalize"), ("cfg", "normalize")):
        found = getattr(getattr(model, place, None), field, None)
        if found is not None:
            return bool(found)
    return None


def _why(name: str, checkpoint: str | None, message: str) -> str:
    """A probable cause of a failure to open an upstream, and what to do."""
    if "Weights only load failed" in message:
        return "The file holds more than tensors; if you trust it, set TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1"
    if checkpoint is None:
        return (
            "Its checkpoint is fetched from the network, whatever HF_HUB_OFFLINE says, unless ~/.cache/s3prl has it. "
            "Open it once on a machine with a network and copy that folder"
        )
    if name.startswith("hf_"):
        return (
            "The checkpoint is a folder that transformers loads, or a hub's OWNER/NAME; where preprocessor_config.json "
            "is missing, s3prl fetches another model's from the network"
        )
    return f"Is {checkpoint} a checkpoint of this kind? Names in _local, _custom and _url take fairseq-style files"
