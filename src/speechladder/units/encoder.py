"""One layer's features of a HuBERT, WavLM or wav2vec 2.0, which no batch can change."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from speechladder.constants import SAMPLE_RATE
from speechladder.io.audio import frame_count
from speechladder.io.devices import acquire_gpu
from speechladder.io.errors import UserError
from speechladder.settings import Units
from speechladder.units.batching import AHEAD, buckets
from speechladder.units.chunks import MARGIN, Piece, pieces
from speechladder.units.decode import MIN_SAMPLES, Wave
from speechladder.units.fast import Front, speed_up
from speechladder.units.models import ASSETS, HOP, MICRO, fingerprint, read, resolve

__all__ = ["ASSETS", "MICRO", "MIN_SAMPLES", "Encoder", "fingerprint", "open_encoder", "resolve"]

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_SMALL = 20e6  # parameters: on a CPU in fp32 such a model runs as transformers has it, one utterance at a time
_CPU_SECONDS = 16.0  # of padded speech in a batch on a CPU: short ones gain a fifth, beyond the caches it costs

Features = list[tuple[int, torch.Tensor]]  # an utterance's place, its (frames, dim) float32 on the device


def precision_on(device: torch.device, wanted: str) -> str:
    """fp32, bf16 or fp16 for `units.precision`; auto is fp32 on a CPU. Raises UserError for fp16 on one."""
    if wanted == "auto":
        if device.type == "cpu":
            return "fp32"
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if wanted == "fp16" and device.type == "cpu":
        raise UserError("units.precision: fp16 needs a GPU; write fp32 or bf16")
    return wanted


def open_encoder(units: Units, device: str | None = None) -> Any:
    """The encoder that `units` describes, an Encoder or a s3prl_encoder.S3prlEncoder. Raises UserError."""
    if units.source == "given":
        raise UserError("units.source: given has no encoder; its units come from units.path")
    if units.source == "s3prl":
        from speechladder.units.s3prl_encoder import S3prlEncoder

        return S3prlEncoder.load(units.encoder, units.layer, device)
    how = {"source": units.source, "precision": units.precision, "chunk_seconds": units.chunk_seconds}
    return Encoder.load(units.encoder, units.layer, units.batch_seconds, device=device, compiled=units.compile, **how)


@dataclass(frozen=True)
class Encoder:
    """The first layers of a model.

    A frame's features depend on its own utterance alone. Without `front` (a small model in fp32 on a CPU, where
    batches gain nothing) transformers' own modules run on one utterance at a time. With it (fast.Front) waveforms'
    and group norms' statistics come from each utterance, convolutions see no padding, and the transformer runs on
    batches that are padded to the longest and masked. Utterances longer than `chunk_seconds` are encoded in pieces.
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
    ) -> "Encoder":
        """Load `name` (hubert-micro, a directory, a hub id) up to transformer layer `layer` (1 is the first).

        `device`: by default `devices.acquire_gpu()`. `fast`: with a front, by default where it pays. `compiled`: the
        transformer goes through torch.compile. Raises UserError naming the field when the encoder is missing, broken or
        of another kind, or has fewer layers.
        """
        place = torch.device(device or acquire_gpu())
        if place.type == "cuda":
            torch.cuda.set_device(place)
        found = read(name, layer, source)
        precision, model = precision_on(place, precision), found.model.to(place)
        if fast is None:
            small = sum(weight.numel() for weight in model.parameters()) < _SMALL
            fast = not (small and place.type == "cpu" and precision == "fp32")
        front = None
        if fast:
            front = Front(model.feature_extractor.conv_layers, PRECISIONS[precision], place)
            speed_up(model, PRECISIONS[precision], place)
        if compiled:
            model.encoder.forward = torch.compile(model.encoder.forward, dynamic=True)
        about = {"precision": precision if front else "fp32", "chunk_seconds": chunk_seconds, "front": front}
        return cls(model, found.normalise, layer, name, found.hash, place, batch_seconds, **about)

    @property
    def dim(self) -> int:
        """Size of a feature vector."""
        return int(self.model.config.hidden_size)

    @property
    def provenance(self) -> dict[str, Any]:
        """What a codebook must have been made from to fit these features, and the precision where it is not fp32."""
        return {
            "encoder": self.name,
            "sha256": self.hash,
            "layer": self.layer,
            "dim": self.dim,
            "normalise": self.normalise,
        } | ({} if self.precision == "fp32" else {"precision": self.precision})

    @property
    def batch(self) -> float:
        """Speech per batch with padding, in seconds; 0 is one utterance at a time."""
        # batch norm before the positional convolution (of few models) shifts the padding
        if self.front is None or getattr(self.model.encoder.pos_conv_embed, "batch_norm", None) is not None:
            return 0.0
        return min(self.batch_seconds, _CPU_SECONDS) if self.device.type == "cpu" else self.batch_seconds

    @property
    def ahead(self) -> float:
        """Seconds of speech that are worth reading before they are encoded together."""
        return AHEAD * self.batch

    def encode(self, utterances: list[np.ndarray]) -> list[np.ndarray]:
        """Each (samples,) float32 at 16 kHz -> (frames, dim) float32, frames == io.audio.frame_count(samples).

        Raises ValueError for fewer than 400 samples: callers reject those with the reason.
        """
        out: list[np.ndarray] = [np.empty(0)] * len(utterances)
        for batch in self.features([Wave.of(samples) for samples in utterances]):
            for index, features in batch:
                out[index] = features.cpu().numpy()
        return out

    def features(self, waves: Sequence[Wave]) -> Iterator[Features]:
        """The features of all, batch by batch, shorter utterances first; on a GPU nothing waits for them."""
        if any(len(wave.samples) < MIN_SAMPLES for wave in waves):
            raise ValueError(f"an utterance shorter than {MIN_SAMPLES} samples has no frame")
        longest = None if self.chunk_seconds is None else round(self.chunk_seconds * SAMPLE_RATE / HOP)
        margin = max(MARGIN, int(self.model.config.num_conv_pos_embeddings) // 2)
        cut = [p for i, w in enumerate(waves) for p in pieces(i, frame_count(len(w.samples)), longest, margin)]
        join = _Join(cut, self.dim)
        folds: dict[int, Any] = {}  # of utterances in pieces, whose statistics are those of the whole
        for batch in buckets([piece.frames for piece in cut], self.batch * SAMPLE_RATE / HOP):
            chosen = [cut[at] for at in batch]
            # TF32 and autotuning would make a GPU's units differ from a CPU's and from one run to the next
            exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
            with torch.inference_mode(), exact:
                states = self._encode(chosen, waves, folds)
                found = join(chosen, states)
            if found:
                yield found

    def _encode(self, batch: list[Piece], waves: Sequence[Wave], folds: dict[int, Any]) -> list[torch.Tensor]:
        """Pieces that go together -> each its (frames, dim) float32 on the device. `folds`: see `_fold`."""
        plain = self.front is None and batch[0].whole
        hidden = self._plain(waves[batch[0].utterance]) if plain else self._fronts(batch, waves, folds)
        low = self.precision != "fp32"
        with torch.autocast(self.device.type, PRECISIONS[self.precision] if low else None, enabled=low):
            projected = self.model.feature_projection(hidden)
            projected = projected[0] if isinstance(projected, tuple) else projected  # WavLM's and wav2vec 2.0's
            mask = _mask([piece.frames for piece in batch], self.device)
            states = self.model.encoder(projected, attention_mask=mask).last_hidden_state
        return [state[: piece.frames].float() for state, piece in zip(states, batch, strict=True)]

    def _normal(self, wave: Wave, part: slice = slice(None)) -> np.ndarray:
        """Samples as the model takes them, (samples,) float32."""
        samples = wave.samples[part]
        if self.normalise:  # as Wav2Vec2FeatureExtractor does
            samples = (samples - wave.mean) / wave.scale
        return np.ascontiguousarray(samples, dtype=np.float32)

    def _plain(self, wave: Wave) -> torch.Tensor:
        """A whole utterance through transformers' convolutions -> (1, frames, channels)."""
        samples = torch.from_numpy(self._normal(wave)).to(self.device)
        return self.model.feature_extractor(samples[None]).transpose(1, 2)

    def _fronts(self, batch: list[Piece], waves: Sequence[Wave], folds: dict[int, Any]) -> torch.Tensor:
        """Pieces -> (batch, frames, channels) float32, padded."""
        front = self.front or Front(self.model.feature_extractor.conv_layers, torch.float32, self.device)
        if self.device.type == "cpu":
            parts = [front(*self._one(front, piece, waves, folds))[0] for piece in batch]
            return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True).float()
        parts = [torch.from_numpy(waves[piece.utterance].samples[piece.samples]) for piece in batch]
        host = torch.zeros(len(batch), max(map(len, parts)), pin_memory=True)
        for row, part in zip(host, parts, strict=True):
            row[: len(part)].copy_(part)
        on_device = host.to(self.device, non_blocking=True)
        if self.normalise:
            taken = torch.tensor([[waves[p.utterance].mean, waves[p.utterance].scale] for p in batch]).pin_memory()
            taken = taken.to(self.device, non_blocking=True)
            on_device = (on_device - taken[:, :1]) / taken[:, 1:]
        own = [self._fold(front, piece, waves, row, folds) for piece, row in zip(batch, on_device, strict=True)]
        return front(on_device, own).float()

    def _one(
        self, front: Front, piece: Piece, waves: Sequence[Wave], folds: dict[int, Any]
    ) -> tuple[torch.Tensor, list[Any]]:
        """One piece for a front on a CPU."""
        samples = torch.from_numpy(self._normal(waves[piece.utterance], piece.samples))
        return samples[None], [self._fold(front, piece, waves, samples, folds)]

    def _fold(
        self, front: Front, piece: Piece, waves: Sequence[Wave], samples: torch.Tensor, folds: dict[int, Any]
    ) -> Any:
        """The group norm of the whole utterance, of which `samples` (padded) may be all; computed for its first piece,
        and kept in `folds`."""
        if front.group is None:
            return None
        wave = waves[piece.utterance]
        if piece.whole:
            return front.fold(samples[: len(wave.samples)])
        if piece.utterance not in folds:
            folds[piece.utterance] = front.fold(torch.from_numpy(self._normal(wave)).to(self.device))
        return folds[piece.utterance]


def _mask(frames: list[int], device: torch.device) -> torch.Tensor | None:
    """(batch, longest): which frames are an utterance's own; None where all are."""
    if min(frames) == max(frames):
        return None
    counts = torch.tensor(frames, device=device)
    return torch.arange(max(frames), device=device)[None] < counts[:, None]


class _Join:
    """Puts the pieces of an utterance together again; one that is whole passes."""

    def __init__(self, cut: list[Piece], dim: int) -> None:
        self.dim, self.left = dim, {}
        for piece in cut:
            self.left[piece.utterance] = self.left.get(piece.utterance, 0) + 1
        self.frames = {piece.utterance: piece.stop for piece in cut}  # the last piece's
        self.single = {utterance for utterance, count in self.left.items() if count == 1}
        self.held: dict[int, torch.Tensor] = {}

    def __call__(self, batch: list[Piece], states: list[torch.Tensor]) -> Features:
        """What is complete."""
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
