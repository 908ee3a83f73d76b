"""Compare the layers of an encoder with MFCC on the same frames: PNMI with phones, under the same k-means.

The phones of natural speech come from PocketSphinx. Those of synthetic speech are exact. For every kind of feature,
k-means is trained on the frames that are scored. The intervals are of 95 %, by a bootstrap over utterances that leaves
the k-means runs as they are.
"""

from pathlib import Path
from typing import Any

import numpy as np

from speechladder.alignment.base import AlignmentError
from speechladder.alignment.frames import frame_labels
from speechladder.alignment.pocketsphinx import UtteranceAligner
from speechladder.corpora.folders import is_transcript
from speechladder.corpora.phones import strip_stress
from speechladder.corpora.text import TextError, normalise
from speechladder.io.audio import AudioError, frame_count, read_audio
from speechladder.io.errors import UserError
from speechladder.io.files import files_below, write_json
from speechladder.io.progress import progress
from speechladder.io.text import text_lines
from speechladder.settings import Units
from speechladder.units.assign import assign
from speechladder.units.diagnostics.quality import joint_counts, purities
from speechladder.units.encoders.factory import open_encoder
from speechladder.units.kmeans.fit import kmeans
from speechladder.units.mfcc import mfcc

Labelled = list[
    tuple[np.ndarray, list[str]]
]  # (n,) samples at 16 kHz, and the phone without stress at each 50 Hz frame


def natural_speech(folder: Path) -> tuple[Labelled, list[str]]:
    """(utterances of a folder in LibriSpeech layout with their phones, ids that are left out with the reason).

    Raise UserError if the folder has no transcripts, or if nothing can be aligned.
    """
    aligner, out, rejected = UtteranceAligner(), [], []
    transcripts = [path for path in files_below(folder) if is_transcript(path)]
    if not transcripts:
        raise UserError(f"{folder}: no *.trans.txt below it; name a folder in LibriSpeech layout")
    rows = [(path, line) for path in transcripts for line in text_lines(path) if line.text.strip()]
    with progress("align", len(rows), "utterances/s") as meter:
        for path, line in rows:
            meter.advance(1)
            name, _, text = line.text.partition(" ")
            try:
                if line.problem:
                    raise TextError(line.problem)
                samples = read_audio(path.parent / f"{name}.flac")
                phones = aligner.align(samples, normalise(text))[1]
            except (AudioError, AlignmentError, TextError) as error:
                rejected.append(f"{name}: {error}")
                continue
            out.append((samples, frame_labels(phones, frame_count(len(samples)))))
    if not out:
        raise UserError(f"{folder}: nothing could be aligned ({'; '.join(rejected[:3])})")
    return out, rejected


def world_speech(sentences: int, seed: int) -> Labelled:
    """Sentences of the world's stories with their exact phones, each spoken by the next voice of the widest pool."""
    from speechladder.corpora.speak import speak, voices
    from speechladder.corpora.world import documents

    pool, out = voices(3), []
    stories = documents(seed, 40 * sentences)
    for number, sentence in enumerate([s for story in stories for s in story.sentences][:sentences]):
        spoken = speak(sentence, pool[number % len(pool)], seed * 1_000_003 + number)
        frames = frame_count(len(spoken.samples))
        out.append((spoken.samples, [strip_stress(label) for label in frame_labels(spoken.phones, frames)]))
    return out


def pnmi(features: np.ndarray, labels: list[str], clusters: int, seeds: int) -> float:
    """PNMI of `clusters` k-means clusters of features (frames, dim) with the labels, averaged over `seeds` seeds."""
    return mean_pnmi(unit_counts([features], [labels], clusters, seeds).sum(1))


def unit_counts(features: list[np.ndarray], labels: list[list[str]], clusters: int, seeds: int) -> np.ndarray:
    """(seeds, utterances, phones, clusters): how often each phone is in each k-means cluster, by utterance."""
    names, phones = np.unique([label for row in labels for label in row], return_inverse=True)
    frames, ends = np.concatenate(features).astype(np.float32), np.cumsum([len(row) for row in features])[:-1]
    out = []
    for seed in range(seeds):
        units = assign(frames, kmeans(frames, clusters, 20, 1_000_000, seed).centroids)
        pairs = zip(np.split(phones, ends), np.split(units, ends), strict=True)
        out.append([joint_counts(p, u, (len(names), clusters)) for p, u in pairs])
    return np.array(out)


def mean_pnmi(counts: np.ndarray) -> float:
    """The mean PNMI of tables of counts (seeds, phones, clusters)."""
    return float(np.mean([purities(joint)["pnmi"] for joint in counts]))


def gain(counts: np.ndarray, baseline: np.ndarray, draws: int = 500) -> dict[str, float]:
    """How far the PNMI of `counts` is above that of `baseline` (both from `unit_counts`), with its interval."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(draws):
        times = rng.multinomial(counts.shape[1], np.full(counts.shape[1], 1 / counts.shape[1]))
        found.append(mean_pnmi(np.tensordot(counts, times, (1, 0))) - mean_pnmi(np.tensordot(baseline, times, (1, 0))))
    low, high = np.percentile(found, (2.5, 97.5))
    value = mean_pnmi(counts.sum(1)) - mean_pnmi(baseline.sum(1))
    return {"gain": round(value, 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def compare_layers(
    encoder: str, speech: Labelled, clusters: int = 100, seeds: int = 3, against: str | None = None
) -> dict[str, Any]:
    """PNMI of MFCC + deltas (mean and variance by utterance) and of each layer of `encoder`, over the same frames.

    `gain_over_mfcc` has the gain of each layer; `gain_over_encoder` that over the same layer of `against`.
    """
    labels = [row for _, row in speech]
    baseline = unit_counts([mfcc(samples) for samples, _ in speech], labels, clusters, seeds)
    about = {"frames": sum(map(len, labels)), "clusters": clusters, "mfcc": round(mean_pnmi(baseline.sum(1)), 4)}
    own = _layers(encoder, speech, clusters, seeds)
    out = about | {name: round(mean_pnmi(counts.sum(1)), 4) for name, counts in own.items()}
    out["gain_over_mfcc"] = {name: gain(counts, baseline) for name, counts in own.items()}
    if against is not None:
        theirs = _layers(against, speech, clusters, seeds)
        out["gain_over_encoder"] = {name: gain(counts, theirs[name]) for name, counts in own.items() if name in theirs}
    return out


def _layers(encoder: str, speech: Labelled, clusters: int, seeds: int) -> dict[str, np.ndarray]:
    """`unit_counts` of each layer of `encoder`."""
    from transformers import AutoConfig

    from speechladder.units.encoders.models import resolve

    layers = AutoConfig.from_pretrained(resolve(encoder), local_files_only=True).num_hidden_layers
    out = {}
    for layer in range(1, layers + 1):
        found = open_encoder(Units(encoder=encoder, layer=layer)).encode([samples for samples, _ in speech])
        out[f"layer {layer}"] = unit_counts(found, [row for _, row in speech], clusters, seeds)
    return out


def evaluate_encoder(
    out: Path,
    encoder: str = "hubert-micro",
    natural: Path | None = None,
    sentences: int = 0,
    clusters: int = 100,
    kmeans_seeds: int = 3,
    against: str | None = None,
) -> None:
    """Compare the layers of an encoder with MFCC + deltas on the same frames, by PNMI.

    Args:
        out: JSON file to write
        encoder: hubert-micro, a folder or a hub id
        natural: folder of natural speech in LibriSpeech layout, which PocketSphinx aligns
        sentences: number of sentences of the world to speak and score too, in every voice
        clusters: k-means clusters
        kmeans_seeds: k-means runs that are averaged
        against: another encoder, for the difference of the same layers of the two
    """
    figures = {}
    if natural:
        speech, rejected = natural_speech(natural)
        figures["natural"] = compare_layers(encoder, speech, clusters, kmeans_seeds, against) | {"rejected": rejected}
    if sentences:
        figures["world"] = compare_layers(encoder, world_speech(sentences, seed=1), clusters, kmeans_seeds, against)
    write_json(out, {"encoder": encoder, **figures})
