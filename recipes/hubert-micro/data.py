"""The data of hubert-micro's pre-training: utterances in memory, crops with their labels, augmentation.

An utterance is int16 samples with its speaker. Its targets are one cluster index per 50 Hz frame of the original
recording. A crop may be faster, slower or noisy. Its frames have the labels of the original frames under their centres,
so that the model learns what does not depend on the speaker.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechladder.constants import HOP, RECEPTIVE_FIELD, SAMPLE_RATE
from speechladder.io.audio import AudioError, frame_count, read_audio
from speechladder.io.errors import UserError
from speechladder.io.progress import progress


@dataclass(frozen=True)
class Utterance:
    """`samples`: (n,) int16 at 16 kHz. `weight`: how often it is drawn, per second. `domain`: natural or synthetic."""

    id: str
    speaker: str
    samples: np.ndarray
    weight: float
    domain: str = "natural"

    def wave(self) -> np.ndarray:
        """(n,) float32 in [-1, 1]."""
        return self.samples.astype(np.float32) / 32768


@dataclass(frozen=True)
class Augmentation:
    """How crops differ from the recording: probabilities, and ranges of uniform draws."""

    warp: float = 0.15  # largest relative change of speed, and so of pitch and formants; log-uniform in both directions
    warp_share: float = 0.7  # share of the crops that are warped
    noise_share: float = 0.5  # share of the crops with noise
    snr: tuple[float, float] = (8.0, 30.0)  # dB
    tilt: float = 0.4  # largest coefficient of a one-tap filter, a change of spectral slope


def natural_utterances(folders: list[Path], share: float = 1.0) -> list[Utterance]:
    """Every FLAC file under `folders` with a LibriSpeech name (speaker-chapter-number.flac), in the order of the names.

    A speaker's weight per second falls with the square root of the speaker's duration, so that a few long readings do
    not dominate the many speakers of one utterance. Raise UserError if there is no file, or if one is unreadable.
    """
    paths = sorted({p.resolve() for folder in folders for p in Path(folder).rglob("*.flac")}, key=lambda p: p.name)
    if not paths:
        raise UserError(f"no .flac under {', '.join(map(str, folders))}; name folders of LibriSpeech's train part")
    rows = []
    for path in paths:
        try:
            samples = read_audio(path)
        except AudioError as error:
            raise UserError(f"{path}: {error}") from None
        rows.append((path.stem, path.stem.split("-")[0], to_int16(samples)))
    return weighted_utterances(rows, share)


def synthetic_utterances(folder: Path, share: float) -> list[Utterance]:
    """The utterances that `synthesise` wrote to `folder`."""
    import json

    index = json.loads((folder / "index.json").read_text())
    audio = np.load(folder / "audio.npy", mmap_mode="r")
    rows, start = [], 0
    for row in index:
        rows.append((row["id"], row["speaker"], audio[start : start + row["samples"]]))
        start += row["samples"]
    return weighted_utterances(rows, share, "synthetic")


def weighted_utterances(
    rows: list[tuple[str, str, np.ndarray]], share: float, domain: str = "natural"
) -> list[Utterance]:
    """Utterances from (id, speaker, samples), with weights that add up to `share` when multiplied by the durations."""
    seconds: dict[str, float] = {}
    for _, speaker, samples in rows:
        seconds[speaker] = seconds.get(speaker, 0.0) + len(samples) / SAMPLE_RATE
    total = sum(math.sqrt(s) for s in seconds.values())
    return [
        Utterance(i, speaker, samples, share * math.sqrt(seconds[speaker]) / total / seconds[speaker], domain)
        for i, speaker, samples in rows
    ]


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Map (n,) float32 in [-1, 1] to (n,) int16."""
    return np.clip(np.round(samples * 32768), -32768, 32767).astype(np.int16)


def read_sentences(texts: list[Path], seed: int, words: tuple[int, int] = (6, 30)) -> list[str]:
    """Sentences of Project Gutenberg books (.txt.gz), shuffled by `seed`. `words`: range of their lengths."""
    import gzip
    import random
    import re

    out = []
    for path in sorted(texts):
        text = " ".join(gzip.decompress(path.read_bytes()).decode("utf-8", "replace").split())
        for sentence in re.split(r"(?<=[.!?;])[\"'\u201d\u2019]?\s+", text):
            if words[0] <= len(sentence.split()) <= words[1] and not re.search(r"[\d_*\[\]@/A-Z]{3,}", sentence):
                out.append(sentence)
    random.Random(f"{seed} sentences").shuffle(out)
    return out


def word_list(one: str, two: str) -> str:
    """The longer words of two sentences with a full stop after each, so that each word is spoken as if alone."""
    import re

    words = dict.fromkeys(re.findall(r"[a-z]{4,}", f"{one} {two}".lower()))
    return " ".join(f"{word}." for word in list(words)[:12])


def synthesise(texts: list[str], hours: float, seed: int, folder: Path, word_lists: float = 0.0) -> None:
    """Speak `texts` until there are `hours` of speech, each in the next voice of the widest pool.

    Two consecutive sentences form an utterance in one voice, because crops need some seconds. `word_lists`: the share
    of the utterances that are a `word_list` of the two. Write audio.npy and index.json to `folder`.
    """
    from speechladder.corpora.speak import speak, voices
    from speechladder.io.files import atomic, write_json

    pool = voices(3)
    index, parts, seconds = [], [], 0.0
    with progress("synthesise", hours * 3600, "x real time") as meter:
        for number, (one, two) in enumerate(zip(texts[::2], texts[1::2])):
            voice = pool[number % len(pool)]
            listed = int((number + 1) * word_lists) > int(number * word_lists) and word_list(one, two)
            samples = to_int16(speak(listed or f"{one} {two}", voice, seed * 1_000_003 + number).samples)
            index.append({"id": f"tts-{number:06d}", "speaker": voice.name, "samples": len(samples)})
            parts.append(samples)
            seconds += len(samples) / SAMPLE_RATE
            meter.advance(len(samples) / SAMPLE_RATE)
            if seconds >= hours * 3600:
                break
    folder.mkdir(parents=True, exist_ok=True)
    with atomic(folder / "audio.npy") as temporary:
        np.save(temporary, np.concatenate(parts))
    write_json(folder / "index.json", index)


def crop_samples(seconds: float) -> int:
    """The samples of a crop of about `seconds`: no more than its frames see."""
    return frame_count(round(seconds * SAMPLE_RATE)) * HOP + RECEPTIVE_FIELD - HOP


class Sampler:
    """Draw batches of crops. `batch(step)` depends only on the seed and the step, so that training resumes exactly.

    `targets`: {id: (codebooks, frames) uint16}, or None. `seconds`: duration of a crop. `shortest`: if it is above 0,
    the crops of a batch have one duration from `shortest` to `seconds`, which is drawn log-uniformly by step. A batch
    of shorter crops has more of them, so that a step takes about as long.
    """

    def __init__(
        self,
        utterances: list[Utterance],
        targets: dict[str, np.ndarray] | None,
        seconds: float,
        augmentation: Augmentation,
        seed: int,
        shortest: float = 0.0,
    ) -> None:
        if shortest and not RECEPTIVE_FIELD / SAMPLE_RATE <= shortest <= seconds:
            raise UserError(
                f"crop_shortest: {shortest} s; write a duration from 0.025 s to crop_seconds ({seconds:g} s), or 0"
            )
        self.seconds, self.shortest = seconds, shortest or seconds
        self.samples = crop_samples(seconds)
        self.frames = frame_count(self.samples)
        self.augmentation, self.seed, self.targets = augmentation, seed, targets
        longest = math.ceil(self.samples * (1 + augmentation.warp)) + 1
        self.pool = [u for u in utterances if len(u.samples) >= longest]
        if not self.pool:
            raise UserError(f"no utterance of {longest / SAMPLE_RATE:.1f} s or more: shorten the crops")
        mass = np.array([u.weight * len(u.samples) for u in self.pool])
        self.chance = np.cumsum(mass / mass.sum())

    def batch(self, step: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """(crops, samples) float32 of mean 0 and variance 1, and (crops, codebooks, frames) int64 targets.

        There are `size` crops if all have the same duration.
        """
        rng = np.random.default_rng((self.seed, step))
        samples = self.samples
        if self.shortest < self.seconds:
            seconds = self.shortest * (self.seconds / self.shortest) ** rng.random()
            samples, size = crop_samples(seconds), max(1, round(size * self.seconds / seconds))
        picked = [self.crop(rng, samples) for _ in range(size)]
        return np.stack([x for x, _ in picked]), np.stack([t for _, t in picked])

    def crop(self, rng: np.random.Generator, samples: int) -> tuple[np.ndarray, np.ndarray]:
        """One augmented crop of `samples`, and the targets under its frames."""
        a, frames = self.augmentation, frame_count(samples)
        utterance = self.pool[min(int(np.searchsorted(self.chance, rng.random())), len(self.pool) - 1)]
        rate = math.exp(rng.uniform(-1, 1) * math.log1p(a.warp)) if rng.random() < a.warp_share else 1.0
        taken = math.ceil((samples - 1) * rate) + 1
        start = int(rng.integers(0, len(utterance.samples) - taken + 1))
        x = utterance.samples[start : start + taken].astype(np.float32)
        if rate != 1.0:
            x = np.interp(np.arange(samples) * rate, np.arange(taken), x).astype(np.float32)
        tilt = rng.uniform(-a.tilt, a.tilt)
        x[1:] += np.float32(tilt) * x[:-1]
        x = (x - x.mean()) / max(x.std(), 1e-3)
        if rng.random() < a.noise_share:
            noise = rng.standard_normal(len(x), dtype=np.float32)
            if rng.random() < 0.5:  # sloped towards low frequencies, as the noise of rooms and breath is
                noise = np.convolve(noise, np.float32(0.9) ** np.arange(20), mode="same").astype(np.float32)
            x += noise / noise.std() * np.float32(10 ** (-rng.uniform(*a.snr) / 20))
            x /= x.std()
        if self.targets is None:
            return x, np.zeros((0, frames), np.int64)
        centres = start + rate * (np.arange(frames) * HOP + RECEPTIVE_FIELD // 2)
        labels = self.targets[utterance.id]
        at = np.clip(np.round((centres - RECEPTIVE_FIELD // 2) / HOP).astype(int), 0, labels.shape[1] - 1)
        return x, labels[:, at].astype(np.int64)
