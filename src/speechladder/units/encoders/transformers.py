"""One layer of a HuBERT, WavLM or wav2vec 2.0 model that transformers loads."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from speechladder.constants import HOP, SAMPLE_RATE
from speechladder.io.audio import frame_count
from speechladder.io.devices import send, use_device
from speechladder.io.errors import UserError
from speechladder.settings import Units
from speechladder.units.batching import AHEAD, buckets
from speechladder.units.decode import FULL_SCALE, Wave, as_float32
from speechladder.units.encoders.base import Encoder, Features, check_lengths
from speechladder.units.encoders.chunks import MARGIN, Piece, pieces
from speechladder.units.encoders.fast import Front, speed_up
from speechladder.units.encoders.models import read_model
from speechladder.units.encoders.packed import Packed

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_SMALL = 20e6  # parameters: on a CPU in fp32 such a model runs transformers' own modules, one utterance at a time
_CPU_SECONDS = 16.0  # padded speech in a batch on a CPU: a fifth faster than one by one; more exceeds the caches


def precision_on(device: torch.device, wanted: str) -> str:
    """The precision that `wanted` (units.precision) means on a device: fp32, bf16 or fp16.

    auto is fp32 on a CPU, because what bf16 rounds there depends on the CPU's kernels. Raise UserError for fp16 on a
    CPU.
    """
    if wanted == "auto":
        if device.type == "cpu":
            return "fp32"
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if wanted == "fp16" and device.type == "cpu":
        raise UserError("units.precision: fp16 needs a GPU; write fp32 or bf16")
    return wanted


def open_encoder(units: Units, device: str | None = None) -> "TransformersEncoder":
    """Open the model that `units` describes; see factory.open_encoder."""
    options = {"source": units.source, "precision": units.precision, "chunk_seconds": units.chunk_seconds}
    return TransformersEncoder.load(
        units.encoder, units.layer, units.batch_seconds, device=device, compiled=units.compile, **options
    )


@dataclass(frozen=True)
class TransformersEncoder(Encoder):
    """The first layers of a model.

    Without `front` (a small model in fp32 on a CPU, where batches gain nothing) transformers' own modules encode one
    utterance at a time. With `front` (fast.Front) the statistics of waveforms and group norms come from each utterance,
    convolutions see no padding, and the transformer runs on batches that are padded to the longest and masked. On a GPU
    HuBERT and wav2vec 2.0 run without padding (`packed`). WavLM, whose attention adds a bias to every pair of frames,
    needs the padding. Utterances longer than `chunk_seconds` are encoded in pieces.
    """

    model: Any
    normalise: bool
    layer: int
    name: str
    hash: str
    device: torch.device
    batch_seconds: float
    precision: str = "fp32"
    chunk_seconds: float | None = None
    front: Front | None = None
    packed: Packed | None = None

    @classmethod
    def load(
        cls,
        name: str,
        layer: int,
        batch_seconds: float = 60.0,
        device: str | None = None,
        source: str = "auto",
        precision: str = "auto",
        chunk_seconds: float | None = None,
        compiled: bool = False,
        fast: bool | None = None,
    ) -> "TransformersEncoder":
        """Load `name` (hubert-micro, a directory, a hub id) up to transformer layer `layer` (1 is the first).

        `device`: by default what `devices.acquire_gpu()` chooses. `fast`: use a fast front end; by default where it
        pays. `compiled`: run the transformer through torch.compile. Raise UserError naming the field if the encoder is
        missing, broken or of another kind, or has fewer layers.
        """
        place = use_device(device)
        precision, found = precision_on(place, precision), read_model(name, layer, source)
        model = found.model.to(place)
        if fast is None:
            small = sum(weight.numel() for weight in model.parameters()) < _SMALL
            fast = not (small and place.type == "cpu" and precision == "fp32")
        front = None
        if fast:
            front = Front(model.feature_extractor.conv_layers, PRECISIONS[precision], place)
            speed_up(model, PRECISIONS[precision], place)
        packed = None
        if place.type != "cpu" and model.config.model_type != "wavlm":
            packed = Packed(model, PRECISIONS[precision], place, compiled)
        elif compiled:
            model.encoder.forward = torch.compile(model.encoder.forward, dynamic=True)
        about = {"precision": precision if front else "fp32", "chunk_seconds": chunk_seconds, "front": front}
        about["packed"] = packed
        return cls(model, found.normalise, layer, name, found.hash, place, batch_seconds, **about)

    @property
    def dim(self) -> int:
        """Size of a feature vector."""
        return int(self.model.config.hidden_size)

    @property
    def provenance(self) -> dict[str, Any]:
        """See Encoder."""
        return {
            "encoder": self.name,
            "sha256": self.hash,
            "layer": self.layer,
            "dim": self.dim,
            "normalise": self.normalise,
        } | ({} if self.precision == "fp32" else {"precision": self.precision})

    @property
    def batch(self) -> float:
        """Speech per batch, padding included, in seconds; 0 means one utterance at a time."""
        # batch norm before the positional convolution (few models have it) shifts the padding away from zero
        if self.front is None or getattr(self.model.encoder.pos_conv_embed, "batch_norm", None) is not None:
            return 0.0
        return min(self.batch_seconds, _CPU_SECONDS) if self.device.type == "cpu" else self.batch_seconds

    @property
    def ahead(self) -> float:
        """See Encoder."""
        return AHEAD * self.batch

    def features(self, waves: Sequence[Wave]) -> Iterator[Features]:
        """Encode all, shorter utterances first. On a GPU nothing waits for the device."""
        check_lengths(waves)
        longest = None if self.chunk_seconds is None else round(self.chunk_seconds * SAMPLE_RATE / HOP)
        margin = max(MARGIN, int(self.model.config.num_conv_pos_embeddings) // 2)
        cut = [p for i, w in enumerate(waves) for p in pieces(i, frame_count(w.length), longest, margin)]
        join = _Join(cut, self.dim)
        folds: dict[int, Any] = {}  # by utterance in pieces: its group norm, which is that of the whole
        for batch in buckets([piece.frames for piece in cut], self.batch * SAMPLE_RATE / HOP):
            chosen = [cut[at] for at in batch]
            # TF32 and autotuning would make a GPU's units differ from a CPU's, and from run to run
            exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
            with torch.inference_mode(), exact:
                states = self._encode(chosen, waves, folds)
                found = join(chosen, states)
            if found:
                yield found

    def _encode(self, batch: list[Piece], waves: Sequence[Wave], folds: dict[int, Any]) -> list[torch.Tensor]:
        """The features of a batch of pieces, each (frames, dim) float32 on the device. `folds`: see `_fold`."""
        plain = self.front is None and batch[0].whole
        hidden = self._plain(waves[batch[0].utterance]) if plain else self._fronts(batch, waves, folds)
        low = self.precision != "fp32"
        with torch.autocast(self.device.type, PRECISIONS[self.precision] if low else None, enabled=low):
            projected = self.model.feature_projection(hidden)
            projected = projected[0] if isinstance(projected, tuple) else projected  # of WavLM and wav2vec 2.0
            frames = [piece.frames for piece in batch]
            if self.packed:
                return self.packed(projected, frames)
            states = self.model.encoder(projected, attention_mask=_mask(frames, self.device)).last_hidden_state
        return [state[: piece.frames].float() for state, piece in zip(states, batch, strict=True)]

    def _normal(self, wave: Wave, part: slice = slice(None)) -> np.ndarray:
        """The samples that the model takes, (samples,) float32."""
        samples = as_float32(wave.stored[part])
        if self.normalise:  # the same operations as in Wav2Vec2FeatureExtractor
            samples = (samples - wave.mean) / wave.scale
        return np.ascontiguousarray(samples, dtype=np.float32)

    def _plain(self, wave: Wave) -> torch.Tensor:
        """Run transformers' convolutions on a whole utterance: (1, frames, channels)."""
        samples = torch.from_numpy(self._normal(wave)).to(self.device)
        return self.model.feature_extractor(samples[None]).transpose(1, 2)

    def _fronts(self, batch: list[Piece], waves: Sequence[Wave], folds: dict[int, Any]) -> torch.Tensor:
        """Run the front on pieces: (batch, frames, channels) float32, padded."""
        front = self.front or Front(self.model.feature_extractor.conv_layers, torch.float32, self.device)
        if self.device.type == "cpu":
            parts = [front(*self._one(front, piece, waves, folds))[0] for piece in batch]
            return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True).float()
        on_device, samples = _together([waves[p.utterance].stored[p.samples] for p in batch], self.device)
        if self.normalise:
            taken = send(np.array([[waves[p.utterance].mean, waves[p.utterance].scale] for p in batch]), self.device)
            on_device = (on_device - taken[:, :1]) / taken[:, 1:]
        own = front.folds(on_device, samples)
        for row, piece in enumerate(batch):
            if not piece.whole:
                own[row] = self._fold(front, piece, waves, on_device[row], folds)
        return front(on_device, own).float()

    def _one(
        self, front: Front, piece: Piece, waves: Sequence[Wave], folds: dict[int, Any]
    ) -> tuple[torch.Tensor, list[Any]]:
        """The arguments of a front for one piece on a CPU."""
        samples = torch.from_numpy(self._normal(waves[piece.utterance], piece.samples))
        return samples[None], [self._fold(front, piece, waves, samples, folds)]

    def _fold(
        self, front: Front, piece: Piece, waves: Sequence[Wave], samples: torch.Tensor, folds: dict[int, Any]
    ) -> Any:
        """The group norm of the whole utterance, None if the model has no group norm.

        `samples` are the piece's own, padded. For an utterance in pieces the norm is computed once and kept in `folds`.
        """
        if front.group is None:
            return None
        wave = waves[piece.utterance]
        if piece.whole:
            return front.fold(samples[: wave.length])
        if piece.utterance not in folds:
            folds[piece.utterance] = front.fold(torch.from_numpy(self._normal(wave)).to(self.device))
        return folds[piece.utterance]


def _mask(frames: list[int], device: torch.device) -> torch.Tensor | None:
    """(batch, longest) bool: which frames belong to an utterance; None if all do."""
    if min(frames) == max(frames):
        return None
    return torch.arange(max(frames), device=device)[None] < send(np.array(frames), device)[:, None]


def _together(parts: list[np.ndarray], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Waveforms (samples,), float32 or int16, as (batch, longest) float32 on a GPU, padded with 0, and their lengths.

    16-bit audio travels as such, which halves what the host copies. The values are the same.
    """
    lengths = np.array([len(part) for part in parts])
    if len({part.dtype for part in parts}) > 1:
        parts = [as_float32(part) for part in parts]
    kind = torch.int16 if parts[0].dtype == np.int16 else torch.float32
    host = torch.empty(len(parts), int(lengths.max()), dtype=kind, pin_memory=True)
    for row, part in zip(host.numpy(), parts, strict=True):
        row[: len(part)], row[len(part) :] = part, 0
    sent = host.to(device, non_blocking=True)
    return (sent if sent.dtype == torch.float32 else sent.float() / FULL_SCALE), send(lengths, device)


class _Join:
    """Join the pieces of each utterance. An utterance in one piece passes through."""

    def __init__(self, cut: list[Piece], dim: int) -> None:
        self.dim, self.left = dim, {}
        for piece in cut:
            self.left[piece.utterance] = self.left.get(piece.utterance, 0) + 1
        self.frames = {piece.utterance: piece.stop for piece in cut}  # the last piece ends where the utterance does
        self.single = {utterance for utterance, count in self.left.items() if count == 1}
        self.held: dict[int, torch.Tensor] = {}

    def __call__(self, batch: list[Piece], states: list[torch.Tensor]) -> Features:
        """Take a batch of pieces and return the utterances that are complete with it."""
        out: Features = []
        for piece, state in zip(batch, states, strict=True):
            index = piece.utterance
            if index in self.single:
                out.append((index, state))
                continue
            if index not in self.held:
                self.held[index] = state.new_empty(self.frames[index], self.dim)
            self.held[index][piece.keep : piece.stop] = state[piece.kept]
            self.left[index] -= 1
            if not self.left[index]:
                out.append((index, self.held.pop(index)))
        return out
