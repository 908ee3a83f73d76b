"""The steps of gpu_check.py that compare units, k-means and Whisper: precisions, batches, backends.

A step is a generator of lines; `rehearse` asks for sizes that a CPU computes in seconds.
"""

import copy
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from gpu_sizes import FULL, ROUNDING, TINY, Line, device_of, error_of, figure

from speechladder.continuation.asr import whisper as asr
from speechladder.units.decode import Wave
from speechladder.units.encoders.transformers import TransformersEncoder
from speechladder.units.kmeans.fit import fit
from speechladder.units.kmeans.plan import Plan
from speechladder.units.nearest import Nearest

# ---------------------------------------------------------------- units


def save_hubert(folder: Path, hubert: dict[str, Any]) -> Path:
    """A HuBERT of random weights in `folder`, normalised input."""
    torch.manual_seed(0)
    transformers.HubertModel(transformers.HubertConfig(**hubert)).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder


def units(rehearse: bool) -> Iterator[Line]:
    """The share of equal units one utterance at a time and in batches, and features in bf16 against fp32."""
    device, size = device_of(), TINY if rehearse else FULL
    rng = np.random.default_rng(0)
    waves = [Wave.of(rng.normal(0, 0.05, round(16_000 * s)).astype(np.float32)) for s in size.speech]
    rows: dict[tuple[str, str], torch.Tensor] = {}
    with tempfile.TemporaryDirectory() as folder:
        name = str(save_hubert(Path(folder), size.hubert))
        for precision in ("fp32", "bf16"):
            for way, seconds in {"one": 0.1, "batch": 400.0}.items():
                encoder = TransformersEncoder.load(name, size.layer, seconds, device.type, precision=precision)
                features: dict[int, torch.Tensor] = {}
                for batch in encoder.features(waves):
                    features |= dict(batch)
                rows[precision, way] = torch.cat([features[i] for i in range(len(waves))])
    exact = rows["fp32", "one"]
    drawn = torch.randperm(len(exact), generator=torch.Generator().manual_seed(0))[: size.clusters]
    near = Nearest(exact[drawn.to(device)].cpu().numpy(), device)
    found = {key: near(value) for key, value in rows.items()}
    # In bf16 an input that differs by a millionth moves 0.7 % of the units of random weights (docs/log.md).
    for precision, least in {"fp32": 0.9995, "bf16": 0.98}.items():
        same = float((found[precision, "one"] == found[precision, "batch"]).float().mean())
        yield figure(f"units of a batch as of one at a time, {precision}", same, least=least, holds=same >= least)
    off = error_of(rows["bf16", "batch"], rows["fp32", "batch"])
    yield figure("features in bf16: error", off, holds=off < 5 * ROUNDING)
    same = float((found["fp32", "batch"] == found["bf16", "batch"]).float().mean())
    yield figure("units in bf16 as in fp32", same, weights="random")


def kmeans_agree(rehearse: bool) -> Iterator[Line]:
    """The objective of each backend and precision from the same first centroids; the same bytes twice."""
    device, size = device_of(), TINY if rehearse else FULL
    frames, dim, clusters = size.frames
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 4, (clusters, dim))
    features = (centres[rng.integers(0, clusters, frames)] + rng.normal(size=(frames, dim))).astype(np.float32)
    plan = {"clusters": clusters, "iterations": 10, "init": "k-means++"}
    ways = {"torch on the CPU": ("torch", "fp32", "cpu")}
    ways |= {f"torch on {device.type}, {p}": ("torch", p, device.type) for p in ("fp32", "bf16")}
    try:
        import faiss  # noqa: F401

        ways["faiss"] = ("faiss", "fp32", None)
    except ImportError:
        pass
    wanted = None
    for name, (backend, precision, place) in ways.items():
        got = fit(features, Plan(backend=backend, precision=precision, device=place, **plan))
        wanted = wanted or got.objective[-1]
        off = abs(got.objective[-1] / wanted - 1)
        yield figure(f"k-means by {name}: objective, relative difference", off, holds=off < 1e-3)
        if place == device.type and precision == "fp32":
            again = fit(features, Plan(backend=backend, precision=precision, device=place, **plan))
            same = np.array_equal(got.centroids, again.centroids)
            yield figure(f"k-means by {name}: the same bytes twice", bool(same), holds=bool(same))


# ---------------------------------------------------------------- Whisper


def save_whisper(folder: Path, sizes: dict[str, int]) -> Path:
    """A Whisper of random weights whose tokens are letters, as transformers saves it."""
    symbols = ["<|endoftext|>", "<|startoftranscript|>", *"abcdefghijklmnopqrstuvwxyz", "\u0120", "<|notimestamps|>"]
    vocabulary = {symbol: n for n, symbol in enumerate(symbols)}
    special = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, "decoder_start_token_id": 1}
    config = transformers.WhisperConfig(
        vocab_size=len(vocabulary), max_target_positions=48, suppress_tokens=None, begin_suppress_tokens=None,
        **special, **sizes,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.WhisperForConditionalGeneration(config)
    about = {"max_length": 48, "no_timestamps_token_id": len(vocabulary) - 1}
    model.generation_config = transformers.GenerationConfig(**about, **special)
    model.save_pretrained(folder)
    tokenizer = transformers.WhisperTokenizer(vocab=vocabulary, merges=[])
    transformers.WhisperProcessor(transformers.WhisperFeatureExtractor(), tokenizer).save_pretrained(folder)
    (folder / "normalizer.json").write_text(json.dumps({"colour": "color"}))
    return folder


def whisper(rehearse: bool) -> Iterator[Line]:
    """The encoder's states in float16 against float32, and the texts of a batch against one at a time."""
    size, rng = TINY if rehearse else FULL, np.random.default_rng(0)
    speech = [rng.normal(0, 0.1, round(16_000 * s)).astype(np.float32) for s in size.speech[:16]]
    with tempfile.TemporaryDirectory() as folder:
        recogniser = asr.load_whisper(str(save_whisper(Path(folder), size.whisper)))
    exact = recogniser._model
    half = copy.copy(exact)
    half._model = copy.deepcopy(exact._model).half()
    exact._model.float()
    states = [model.encode(speech) for model in (half, exact)]
    off = error_of(*states)
    yield figure("Whisper's encoder in float16: error", off, kind=str(states[0].dtype), holds=off < ROUNDING)
    together = half.decode(states[0], 0.0, [0] * len(speech))
    alone = [half.decode(states[0][n : n + 1], 0.0, [0])[0] for n in range(len(speech))]
    fine = bool(np.isfinite([d.log_probability for d in together]).all())
    yield figure("Whisper in float16: log-probabilities are finite", fine, holds=fine)
    same = float(np.mean([a.text == b.text for a, b in zip(together, alone)]))
    yield figure("Whisper in float16: texts of a batch as of one at a time", same, weights="random")
