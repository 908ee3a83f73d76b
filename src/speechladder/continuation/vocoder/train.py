"""Training of the run's own vocoder on the run's own speech: cuts and their units -> continuation/vocoder."""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from speechladder.constants import FRAME_RATE, HOP, SAMPLE_RATE
from speechladder.continuation.sample import train_sample
from speechladder.continuation.vocoder.checks import KIND
from speechladder.continuation.vocoder.frames import read_frames
from speechladder.continuation.vocoder.model import PITCH, Envelope, EnvelopeSize
from speechladder.continuation.vocoder.source_filter import PER_UNIT, analyse
from speechladder.corpora.cuts import Cut
from speechladder.io.audio import AudioError
from speechladder.io.errors import UserError
from speechladder.io.files import atomic_folder, write_json, write_jsonl
from speechladder.io.hashing import stable_hash
from speechladder.io.progress import progress, say
from speechladder.settings import STAGES, Continuation

BATCH, LENGTH = 16, 64  # windows per step, units per window
LR, WARMUP, LOWEST_LR = 2e-3, 40, 0.02
BETAS, DECAY, CLIP = (0.9, 0.98), 0.01, 1.0
VOICING = 0.2  # weight of the loss of voicing; that of the envelope is 1
GAP = 4  # units of padding between utterances


@dataclass(frozen=True)
class TrainingSpeech:
    """Training utterances, concatenated with gaps.

    Of T units: `units` (T,) int64 and `speaker` (T,), the index in `speakers`. Of 2 T frames, all float32: `mel`
    (2 T, bands), normalised log mel bands; `voiced` (2 T,); `known` (2 T,), 1 within utterances and 0 in gaps.
    """

    units: np.ndarray
    speaker: np.ndarray
    mel: np.ndarray
    voiced: np.ndarray
    known: np.ndarray
    mean: np.ndarray
    scale: float
    run_length: np.ndarray
    speakers: list[str]


def train_vocoder(
    cuts: list[Path], units: list[Path], out: Path, continuation: Continuation, clusters: int, seed: int = 0
) -> dict[str, Any]:
    """Train the run's own vocoder on the train split: the folder continuation/vocoder.

    It holds config.json (sizes, speakers, provenance), model.safetensors and log.jsonl (loss of each step). Utterances
    are drawn in an order that depends on the seed, up to vocoder_minutes. Training takes vocoder_steps steps on one CPU
    thread; equal inputs give equal bytes on one machine. Return the config. Raise UserError if there is no speech to
    train on, or if units do not fit `clusters` or the audio.

    Args:
        cuts: corpus/cuts.{shard}.jsonl.gz of all shards
        units: units/{shard}.parquet of all shards, in the same order; units with durations are repeated over them
        out: folder continuation/vocoder to write
        clusters: units.clusters, the number of units
        seed: seed of the draw of utterances, of the weights and of the order of training
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    chosen = _choose(cuts, units, continuation.vocoder_minutes, seed)
    speech = analyse_speech(chosen, clusters)
    model, losses = train_envelope(speech, clusters, continuation.vocoder_steps, seed)
    digest = hashlib.sha256()
    for _, row in chosen:
        digest.update(row.tobytes())
    config = {
        "model_type": KIND,
        "version": STAGES["train_vocoder"].version,
        **asdict(model.shape),
        "pitch": PITCH,
        "speaker_names": speech.speakers,
        "sampling_rate": SAMPLE_RATE,
        "code_hop_size": HOP,
        "provenance": {
            "seed": seed,
            "steps": continuation.vocoder_steps,
            "minutes": round(sum(len(row) for _, row in chosen) / FRAME_RATE / 60, 2),
            "utterances": len(chosen),
            "units": _origin(units[0]),
            "units_sha256": digest.hexdigest(),
            "loss": losses[-1]["smooth"],
        },
    }
    with atomic_folder(out) as folder:
        write_json(folder / "config.json", config)
        save_file(model.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
        write_jsonl(folder / "log.jsonl", losses)
    return config


def _choose(cuts: list[Path], units: list[Path], minutes: float, seed: int) -> list[tuple[Cut, np.ndarray]]:
    """Draw cuts of the train split with their units (frames,) uint16, up to `minutes`.

    External units come without the audio having been read, so a cut whose audio cannot be used is left out here.
    Raise UserError with the first reason if none is left.
    """
    train = train_sample(cuts, seed, "vocoder")
    wanted, rows = {cut.id for cut in train}, {}
    for path in units:
        rows |= {id: row for id, row in read_frames(path, wanted).items() if len(row)}
    chosen, seconds, lost = [], 0.0, ""
    for cut in train:
        if cut.id not in rows:
            continue
        if chosen and seconds + cut.duration > 60 * minutes:
            break
        try:
            cut.samples()
        except AudioError as error:
            say(f"vocoder: {cut.id} left out, {cut.path}: {error}")
            lost = lost or f" ({cut.id}: {error})"
            continue
        chosen.append((cut, rows[cut.id]))
        seconds += cut.duration
    if not chosen:
        raise UserError(
            f"{cuts[0]}: no utterance of the train split has units and sound audio{lost}; raise corpus.hours"
        )
    return chosen


def _origin(units: Path) -> dict[str, str]:
    """encoder, layer and clusters from the metadata of a table of units."""
    import pyarrow.parquet as pq

    metadata = pq.read_schema(units).metadata or {}
    return {k: metadata[k.encode()].decode() for k in ("encoder", "layer", "clusters") if k.encode() in metadata}


def analyse_speech(chosen: Iterable[tuple[Any, np.ndarray]], clusters: int) -> TrainingSpeech:
    """Analyse pairs of a cut and its units (frames,). Raise UserError naming an utterance that cannot be used."""
    chosen = list(chosen)
    speakers = sorted({cut.speaker for cut, _ in chosen})
    parts: list[tuple[np.ndarray, ...]] = []
    runs, frames = np.zeros(clusters), np.zeros(clusters)
    with progress("vocoder: analysis", sum(len(row) for _, row in chosen) / FRAME_RATE, "x real time") as meter:
        for cut, row in chosen:
            row = row.astype(np.int64)
            if row.max() >= clusters:
                raise UserError(f"utterance {cut.id}: unit {row.max()} of {clusters}; delete the units and run again")
            try:
                samples = cut.samples()
            except AudioError as error:
                raise UserError(f"utterance {cut.id}: {error}; delete the units and run again") from None
            mel, voiced = analyse(samples, PER_UNIT * len(row))
            starts = np.flatnonzero(np.diff(row, prepend=-1))
            np.add.at(runs, row[starts], 1)
            np.add.at(frames, row, 1)
            gap, speaker = PER_UNIT * GAP, speakers.index(cut.speaker)
            parts.append(
                (
                    np.pad(row, (0, GAP), constant_values=clusters),
                    np.full(len(row) + GAP, speaker),
                    np.pad(mel, ((0, gap), (0, 0))),
                    np.pad(voiced, (0, gap)),
                    np.pad(np.ones(len(mel), np.float32), (0, gap)),
                )
            )
            meter.advance(len(row) / FRAME_RATE)
    units, speaker, mel, voiced, known = (np.concatenate(column) for column in zip(*parts, strict=True))
    speech = mel[known > 0]
    mean, scale = speech.mean(axis=0, dtype=np.float64), max(float(speech.std(dtype=np.float64)), 1e-3)
    usual = frames.sum() / max(runs.sum(), 1)
    return TrainingSpeech(
        units=units,
        speaker=speaker,
        mel=((mel - mean) / scale * known[:, None]).astype(np.float32),
        voiced=voiced,
        known=known,
        mean=mean.astype(np.float32),
        scale=scale,
        run_length=np.where(runs > 0, frames / np.maximum(runs, 1), usual).astype(np.float32),
        speakers=speakers,
    )


def train_envelope(
    speech: TrainingSpeech, clusters: int, steps: int, seed: int
) -> tuple[Envelope, list[dict[str, float]]]:
    """Train an envelope model from random weights, with AdamW and a cosine schedule.

    The loss is the mean absolute error of the envelope plus VOICING times the cross entropy of voicing. Return the
    model and the loss of every step. The same arguments give the same weights.
    """
    with torch.random.fork_rng():
        torch.manual_seed(stable_hash(seed, "vocoder") % 2**63)
        model = Envelope(EnvelopeSize(clusters, len(speech.speakers)))
        model.mean.copy_(torch.from_numpy(speech.mean))
        model.scale.fill_(speech.scale)
        model.run_length.copy_(torch.from_numpy(speech.run_length))
        rng = np.random.default_rng(stable_hash(seed, "vocoder windows"))
        optimizer = torch.optim.AdamW(model.parameters(), lr=LR, betas=BETAS, weight_decay=DECAY)
        length = min(LENGTH, len(speech.units))
        losses, smooth = [], None
        model.train()
        with progress("vocoder: training", steps, "steps/s") as meter:
            for step in range(steps):
                rate = LOWEST_LR + (1 - LOWEST_LR) * 0.5 * (1 + np.cos(np.pi * step / steps))
                for group in optimizer.param_groups:
                    group["lr"] = LR * rate * min(1.0, (step + 1) / WARMUP)
                begins = rng.integers(0, len(speech.units) - length + 1, BATCH)
                envelope, voicing = _losses(model, speech, begins, length)
                optimizer.zero_grad()
                (envelope + VOICING * voicing).backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
                optimizer.step()
                value = envelope.item()
                smooth = value if smooth is None else 0.95 * smooth + 0.05 * value
                losses.append({"step": step + 1, "loss": value, "voicing": voicing.item(), "smooth": smooth})
                meter.advance(1, f"loss {smooth:.3f}")
    if not np.isfinite(smooth):
        raise UserError(
            "continuation.vocoder_steps: the vocoder's training diverged; change the steps, or the amount of speech "
            "(continuation.vocoder_minutes)"
        )
    say(f"vocoder: {sum(p.numel() for p in model.parameters()):,} parameters, loss {smooth:.3f}")
    return model, losses


def _losses(
    model: Envelope, speech: TrainingSpeech, begins: np.ndarray, length: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Means over the speech frames of the windows: absolute error of the bands, and cross entropy of voicing."""
    at = begins[:, None] + np.arange(length)
    frames = PER_UNIT * begins[:, None] + np.arange(PER_UNIT * length)
    units, mel, voiced, known = (
        torch.from_numpy(a) for a in (speech.units[at], speech.mel[frames], speech.voiced[frames], speech.known[frames])
    )
    # a window of two utterances has the speaker of its centre: a few wrong frames cost less than a vector for each unit
    speaker = model.speakers(torch.from_numpy(speech.speaker[begins + length // 2]))
    y = model(units, speaker)
    total = known.sum().clamp(min=1)
    envelope = ((y[..., :-1] - mel).abs().mean(-1) * known).sum() / total
    voicing = (F.binary_cross_entropy_with_logits(y[..., -1], voiced, reduction="none") * known).sum() / total
    return envelope, voicing
