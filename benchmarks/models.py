"""The speed of models on a CPU or a GPU: rates for benchmarks/rates.py."""

import tempfile
import time
from typing import Any

import numpy as np
import torch
import transformers

from speechladder.constants import SAMPLE_RATE
from speechladder.continuation.decoding import generate
from speechladder.lm import compute
from speechladder.lm.attention import resolve_attention
from speechladder.lm.batches import Batches
from speechladder.lm.compute import plan_memory
from speechladder.lm.likelihood import sequence_nll
from speechladder.lm.model import build_model, resolve_precision
from speechladder.lm.prefetch import Prefetch
from speechladder.lm.step import TrainState
from speechladder.settings import LM
from speechladder.units.assign import assign
from speechladder.units.encoders.compute import HUBERT_LARGE, encoder_flops
from speechladder.units.encoders.transformers import TransformersEncoder
from speechladder.units.kmeans.fit import kmeans

SPECIAL = {"vocab_size": 2052, "pad_id": 0, "bos_id": 1, "eos_id": 2}
CLUSTERS = 500
WARM = 2  # steps of training that are not counted, because kernels are compiled and chosen in them
SMALL = LM(model="30m", window=1024, batch_windows=1)
BASE = LM(model="125m", window=2048, batch_windows=16)
TINYLLAMA = LM(model="tinyllama-1.1b", window=2048, batch_windows=16)
Rates = dict[str, dict[str, Any]]


def rate(value: float, unit: str, what: str) -> dict[str, object]:
    """An entry of rates.json, with four digits."""
    return {"value": float(f"{value:.4g}"), "unit": unit, "what": what}


class Clock:
    """Seconds since its start: of this process's CPU, or of the wall clock on a GPU."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"
        self.begun = self._now()

    def _now(self) -> float:
        if self.cuda:
            torch.cuda.synchronize()
        return time.perf_counter() if self.cuda else time.process_time()

    def seconds(self) -> float:
        """Seconds since the start."""
        return self._now() - self.begun


def encoding(samples: dict[str, np.ndarray], device: torch.device) -> Rates:
    """A HuBERT-Large of random weights, all layers, and hubert-micro, as extraction runs them."""
    config = transformers.HubertConfig(**HUBERT_LARGE)
    layers = config.num_hidden_layers
    with tempfile.TemporaryDirectory() as folder:
        transformers.HubertModel(config).save_pretrained(folder)
        large = TransformersEncoder.load(folder, layers, 400.0, device.type)
    micro = TransformersEncoder.load("hubert-micro", 3, 60.0, device.type)
    chosen = list(samples.values())
    few = chosen[:3] if device.type == "cpu" else chosen
    for encoder in (large, micro):
        encoder.encode(few[:1])
    clock = Clock(device)
    large.encode(few)
    taken = clock.seconds()
    seconds = sum(map(len, few)) / SAMPLE_RATE
    flops = encoder_flops(HUBERT_LARGE, layers, seconds / len(few)) * seconds
    clock = Clock(device)
    micro.encode(chosen)
    return {
        "encoder_flops": rate(
            flops / taken, "FLOP/s", f"HuBERT-Large-shaped, {large.precision}, {seconds:.0f} s of speech"
        ),
        "encode_micro": rate(
            sum(map(len, chosen)) / SAMPLE_RATE / clock.seconds(), "x real time", "hubert-micro, layer 3, fp32"
        ),
    }


def clustering() -> Rates:
    """k-means by faiss and the assignment of frames to centroids, at 256 dimensions of normal noise."""
    frames, dim, iterations = 20_000, 256, 5
    features = np.random.default_rng(0).normal(size=(frames, dim)).astype(np.float32)
    clock = Clock(torch.device("cpu"))
    trained = kmeans(features, CLUSTERS, iterations, 1_000_000, 0)  # and one assignment, to count empty clusters
    taken = clock.seconds()
    clock = Clock(torch.device("cpu"))
    assign(features, trained.centroids)
    product = 2.0 * frames * dim * CLUSTERS
    assigning = clock.seconds()
    return {
        "kmeans_flops": rate(product * iterations / (taken - assigning), "FLOP/s", "faiss, one thread, fp32"),
        "assign_flops": rate(product / assigning, "FLOP/s", "nearest centroid, fp64"),
    }


class Random:
    """Documents of random tokens, in the form of rungs.data.TokenData."""

    def __init__(self, documents: int, length: int) -> None:
        self.tokens = np.random.default_rng(0).integers(4, SPECIAL["vocab_size"], documents * length).astype(np.uint16)
        self.tokens[::length] = SPECIAL["bos_id"]
        self.offsets = np.arange(documents, dtype=np.int64) * length
        self.lengths = np.full(documents, length, dtype=np.int32)


def training(device: torch.device, settings: LM, name: str, steps: int) -> Rates:
    """Steps of lm.train over documents of 600 tokens (12 s at 50 Hz)."""
    precision, vocabulary = resolve_precision("auto", device), SPECIAL["vocab_size"]
    bf16 = precision == "bf16"
    memory = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None
    flex = resolve_attention("auto", device, settings.head_width) == "flex"
    layout = plan_memory(settings, vocabulary, 1, bf16, memory, compute.mode_of(flex, compiled=flex))
    model = build_model(settings, SPECIAL, 0)
    state = TrainState(model, settings, device, precision, recompute=layout.recompute, compiled=flex)
    batches = Batches(Random(400, 600), 0, settings.window, settings.batch_windows)
    kind = torch.bfloat16 if bf16 else torch.float32
    with Prefetch(batches, 0, 0, 1, layout.micro, flex, kind, device.type == "cuda") as data:
        feed = iter(data)
        for _ in range(WARM):
            state.train_step(next(feed), 1e-4)
        clock = Clock(device)
        for _ in range(steps):
            state.train_step(next(feed), 1e-4)
        tokens, taken = steps * batches.tokens_per_step, clock.seconds()
    flops = tokens * compute.train_flops(settings, vocabulary, 600)
    size = compute.parameters(settings, vocabulary)
    what = f"lm.train, {size / 1e6:.1f} M parameters, {precision}, {tokens / taken:,.0f} tokens/s"
    return {name: rate(flops / taken, "FLOP/s", what)}


def scoring(device: torch.device) -> Rates:
    """Layer-wise scoring in fp32 and generation in fp64 with the default model."""
    settings = LM()
    model = build_model(settings, SPECIAL, 0).to(device).eval()
    rng = np.random.default_rng(0)
    items = [rng.integers(4, SPECIAL["vocab_size"], 150).astype(np.uint16) for _ in range(200)]
    clock = Clock(device)
    sequence_nll(model, items, 4096, layers=True)
    scored = clock.seconds()
    size = SPECIAL["vocab_size"]
    flops = sum(map(len, items)) * compute.score_flops(settings, size, 150, layers=True)
    prompts = [[1, *rng.integers(4, size, 99).tolist()] for _ in range(12)]
    clock = Clock(device)
    done = [0.0]
    generate(model, prompts, rng.random((12, 3, 60)), 1.0, 0.9, 36, lambda n: done.__setitem__(0, done[0] + n))
    taken = clock.seconds()
    new = (done[0] + 12 * 100) * 2 * compute.active_parameters(settings, size)
    return {
        "score_flops": rate(flops / scored, "FLOP/s", "scoring of every layer, fp32"),
        "generate_flops": rate(new / taken, "FLOP/s", "sampling, fp64, 36 rows"),
    }
