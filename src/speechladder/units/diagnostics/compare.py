"""Compare the layers of an encoder with MFCC on the same frames: PNMI with phones, under the same k-means.

The phones of natural speech come from PocketSphinx. Those of synthetic speech are exact. For every kind of feature,
k-means is trained on the frames that are scored.
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
    names, phones = np.unique(labels, return_inverse=True)
    found = []
    for seed in range(seeds):
        centroids = kmeans(features.astype(np.float32), clusters, 20, 1_000_000, seed).centroids
        joint = joint_counts(phones, assign(features, centroids), (len(names), clusters))
        found.append(purities(joint)["pnmi"])
    return float(np.mean(found))


def compare_layers(encoder: str, speech: Labelled, clusters: int = 100, seeds: int = 3) -> dict[str, Any]:
    """PNMI of MFCC + deltas (mean and variance by utterance) and of each layer of `encoder`, over the same frames."""
    from transformers import AutoConfig

    from speechladder.units.encoders.models import resolve

    layers = AutoConfig.from_pretrained(resolve(encoder), local_files_only=True).num_hidden_layers
    labels = [label for _, row in speech for label in row]
    baseline = pnmi(np.concatenate([mfcc(samples) for samples, _ in speech]), labels, clusters, seeds)
    out: dict[str, Any] = {"frames": len(labels), "clusters": clusters, "mfcc": round(baseline, 4)}
    for layer in range(1, layers + 1):
        opened = open_encoder(Units(encoder=encoder, layer=layer))
        features = np.concatenate(opened.encode([samples for samples, _ in speech]))
        out[f"layer {layer}"] = round(pnmi(features, labels, clusters, seeds), 4)
    return out


def evaluate_encoder(
    out: Path,
    encoder: str = "hubert-micro",
    natural: Path | None = None,
    sentences: int = 0,
    clusters: int = 100,
    kmeans_seeds: int = 3,
) -> None:
    """Compare the layers of an encoder with MFCC + deltas on the same frames, by PNMI.

    Args:
        out: JSON file to write
        encoder: hubert-micro, a folder or a hub id
        natural: folder of natural speech in LibriSpeech layout, which PocketSphinx aligns
        sentences: number of sentences of the world to speak and score too, in every voice
        clusters: k-means clusters
        kmeans_seeds: k-means runs that are averaged
    """
    figures = {}
    if natural:
        speech, rejected = natural_speech(natural)
        figures["natural"] = compare_layers(encoder, speech, clusters, kmeans_seeds) | {"rejected": rejected}
    if sentences:
        figures["world"] = compare_layers(encoder, world_speech(sentences, seed=1), clusters, kmeans_seeds)
    write_json(out, {"encoder": encoder, **figures})
