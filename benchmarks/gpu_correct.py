"""The steps of gpu_check.py that compare results: attention, a resumed training, units, k-means, Whisper.

A step is a generator of lines; `rehearse` asks for sizes that a CPU computes in seconds.
"""

import copy
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import torch.nn.attention.flex_attention as torch_flex
import transformers
from hardware import processor

from speechladder.continuation.asr import whisper as asr
from speechladder.lm import attention, checkpoint, compute
from speechladder.lm.attention import PackedAttention, attention_blocks, flex_mask
from speechladder.lm.batches import Batches
from speechladder.lm.model import build_model
from speechladder.lm.output import commit
from speechladder.lm.prefetch import Prefetch, Step, prepare
from speechladder.lm.step import TrainState
from speechladder.settings import LM
from speechladder.units.decode import Wave
from speechladder.units.encoders.compute import HUBERT_LARGE
from speechladder.units.encoders.transformers import TransformersEncoder
from speechladder.units.kmeans.fit import fit
from speechladder.units.kmeans.plan import Plan
from speechladder.units.nearest import Nearest

SPECIAL = {"vocab_size": 2052, "pad_id": 0, "bos_id": 1, "eos_id": 2}
ROUNDING = 1e-2  # relative error of attention in bf16 against float64, by the Frobenius norm
Line = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """Sizes of the comparisons."""

    attention: tuple[tuple[int, int, int, int], ...]  # tokens, heads, key-value heads, dimensions
    lm: LM
    document: int
    hubert: dict[str, Any] = field(repr=False)
    layer: int
    speech: tuple[float, ...]  # seconds of each utterance
    clusters: int
    frames: tuple[int, int, int]  # of k-means: frames, dimensions, clusters
    whisper: dict[str, int]


FULL = Size(
    attention=((384, 4, 4, 32), (2048, 32, 4, 64), (1000, 8, 8, 64)),
    lm=LM(model="30m", window=2048, batch_windows=8, micro_windows=3, optimizer="adamw", lr=4e-4, compile="on"),
    document=600,
    hubert=HUBERT_LARGE,
    layer=18,
    speech=tuple(np.linspace(1.5, 20.0, 40)),
    clusters=2048,
    frames=(200_000, 256, 256),
    whisper={"d_model": 384, "encoder_layers": 4, "decoder_layers": 4, "encoder_ffn_dim": 1536, "decoder_ffn_dim": 1536}
    | {"encoder_attention_heads": 6, "decoder_attention_heads": 6},
)
TINY = Size(
    attention=((200, 2, 1, 16),),
    lm=LM(
        hidden_size=32, layers=1, heads=2, kv_heads=1, intermediate_size=48, window=128, batch_windows=4,
        micro_windows=3, optimizer="adamw", lr=1e-3,
    ),
    document=50,
    hubert=HUBERT_LARGE
    | {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48}
    | {"conv_dim": [16] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4},
    layer=2,
    speech=(0.4, 1.0, 0.7),
    clusters=8,
    frames=(2000, 8, 6),
    whisper={"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    | {"encoder_attention_heads": 2, "decoder_attention_heads": 2},
)  # fmt: skip


def device_of() -> torch.device:
    """The GPU, or the CPU of a rehearsal."""
    torch.backends.cuda.matmul.allow_tf32 = False
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def figure(name: str, value: Any, **more: Any) -> Line:
    """A line: `holds` for a check, `target` for a speed, `rate` for benchmarks/rates.json."""
    rounded = float(f"{value:.4g}") if isinstance(value, float) else value
    return {"figure": name, "value": rounded} | more


def error_of(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """The relative error of a tensor, by the Frobenius norm."""
    return float((found.double() - wanted.double()).norm() / wanted.double().norm().clamp(min=1e-30))


def machine(rehearse: bool) -> Iterator[Line]:
    """What this runs on, and the measured rates of copies and matrix products."""
    device = device_of()
    if device.type == "cpu" and not rehearse:
        raise SystemExit("there is no GPU here; --rehearse runs tiny sizes on a CPU")
    cuda = device.type == "cuda"
    about = {"device": device.type, "hardware": torch.cuda.get_device_name() if cuda else processor()}
    about |= {"date": date.today().isoformat(), "commit": commit(), "rehearsal": rehearse, "cores": os.cpu_count()}
    about |= {"torch": torch.__version__, "transformers": transformers.__version__, "python": platform.python_version()}
    yield figure("machine", about)
    yield figure("triton_lacks", attention.triton_lacks(), holds=attention.triton_lacks() is None if cuda else None)
    for precision in ("bf16", "fp32"):
        yield figure(f"matmul_{precision}_flops", compute.matmul_ceiling(device.type, precision), unit="FLOP/s")
    data = torch.empty(2 << 30 if cuda else 1 << 20, dtype=torch.uint8, device=device)
    other, best = torch.empty_like(data), 0.0
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(10):
            other.copy_(data)
        _wait(device)
        best = max(best, 20 * len(data) / (time.perf_counter() - begun))
    yield figure("copy_bytes", best, unit="bytes read and written per second")


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


# ---------------------------------------------------------------- attention


def flex(rehearse: bool) -> Iterator[Line]:
    """flex_attention and PackedAttention in bf16 against masked attention in float64; a step of a model by each."""
    device, size = device_of(), TINY if rehearse else FULL
    if device.type == "cpu":  # torch has no kernel that differentiates it there, but its definition does
        torch_flex._validate_device = lambda *given: None
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    for tokens, heads, groups, width in size.attention:
        order = np.arange(tokens)
        starts = [np.where(np.isin(order, rng.integers(1, tokens, 5)), order, 0) for _ in range(3)]
        starts = torch.from_numpy(np.maximum.accumulate(starts, axis=1)).to(device)
        shape = f"{tokens} tokens, {heads}/{groups} heads of {width}"
        for name, errors in _attention_errors(starts, heads, groups, width, device).items():
            yield figure(f"{name} error: {shape}", max(errors), parts=errors, holds=max(errors) < ROUNDING)
    losses, gradients = _model_steps(size, device)
    wanted = torch.cat([g.flatten() for g in gradients["float64"]])
    for name in ("packed", "flex"):
        off = abs(losses[name] / losses["float64"] - 1)
        yield figure(f"loss of a step by {name}", losses[name], float64=losses["float64"], holds=off < 1e-3)
        found = error_of(torch.cat([g.flatten() for g in gradients[name]]), wanted)
        yield figure(f"gradients of a step by {name}: error", found, holds=found < 5 * ROUNDING)


def _attention_errors(
    starts: torch.Tensor, heads: int, groups: int, width: int, device: torch.device
) -> dict[str, list[float]]:
    """Errors of the output and of the gradients of q, k, v, of each way in bf16 against float64."""
    (rows, tokens), order = starts.shape, torch.arange(starts.shape[1], device=device)
    options = {"device": device, "dtype": torch.bfloat16}
    q, grad = (torch.randn(rows, heads, tokens, width, **options) for _ in range(2))
    k, v = (torch.randn(rows, groups, tokens, width, **options) for _ in range(2))
    seen = ((order <= order[:, None]) & (order >= starts[:, :, None]))[:, None]
    blocks = [b.to(device) for b in attention_blocks(starts.cpu(), torch.bfloat16)]
    mask = flex_mask(starts)
    kernel = attention._flex() if device.type == "cuda" else torch_flex.flex_attention

    def wide(x: torch.Tensor) -> torch.Tensor:
        return x.repeat_interleave(heads // groups, 1)

    ways = {
        "float64": lambda q, k, v: (
            ((q @ wide(k).mT) * width**-0.5).masked_fill(~seen, -torch.inf).softmax(-1) @ wide(v)
        ),
        "flex": lambda q, k, v: kernel(q, k, v, block_mask=mask, enable_gqa=heads != groups),
        "packed": lambda q, k, v: PackedAttention.apply(q, wide(k), wide(v), blocks),
    }
    found = {}
    for name, way in ways.items():
        kind = torch.float64 if name == "float64" else torch.bfloat16
        given = [x.detach().to(kind).requires_grad_() for x in (q, k, v)]
        out = way(*given)
        out.backward(grad.to(kind))
        found[name] = [out.detach(), *(x.grad for x in given)]
    return {n: [error_of(*pair) for pair in zip(found[n], found["float64"])] for n in ("flex", "packed")}


def batches(size: Size) -> Batches:
    """Windows of documents of random tokens."""
    rng, count = np.random.default_rng(0), 400
    lengths = rng.integers(5, 2 * size.document, count)
    lengths = np.minimum(lengths, size.lm.window)
    tokens = rng.integers(4, SPECIAL["vocab_size"], lengths.sum()).astype(np.uint16)
    offsets = np.cumsum(lengths) - lengths
    tokens[offsets], tokens[offsets + lengths - 1] = SPECIAL["bos_id"], SPECIAL["eos_id"]
    about = type("Documents", (), {"tokens": tokens, "offsets": offsets, "lengths": lengths, "meta": {}})
    return Batches(about, 0, size.lm.window, size.lm.batch_windows)


def _model_steps(size: Size, device: torch.device) -> tuple[dict[str, float], dict[str, list[torch.Tensor]]]:
    """The loss and the gradients of one step by each way, from the same weights."""
    settings = size.lm.model_copy(update={"clip": 1e9})
    two = type(batches(size).at(0))(*(array[:2] for array in batches(size).at(0)))
    losses, gradients = {}, {}
    for name, kind in {"float64": torch.float64, "packed": torch.bfloat16, "flex": torch.bfloat16}.items():
        model = build_model(settings, SPECIAL, 0).to(kind if name == "float64" else torch.float32)
        compiled = name == "flex" and device.type == "cuda"
        state = TrainState(model, settings, device, "bf16" if kind == torch.bfloat16 else "fp32", compiled=compiled)
        state.optimizer.step = lambda lr: None
        part = prepare(two, name == "flex", kind, device.type == "cuda")
        losses[name] = float(state.train_step(Step([part], int((two.targets >= 0).sum())), 0.0))
        gradients[name] = [parameter.grad for parameter in model.parameters()]
    return losses, gradients


# ---------------------------------------------------------------- training


def resume(rehearse: bool) -> Iterator[Line]:
    """Six steps, and three steps with a checkpoint from which another model does the rest: the same bits."""
    device, size = device_of(), TINY if rehearse else FULL
    cuda = device.type == "cuda"

    def steps(state: TrainState, first: int, last: int) -> None:
        kind = torch.bfloat16 if cuda else torch.float32
        with Prefetch(batches(size), first, 0, 1, size.lm.micro_windows, cuda, kind, cuda) as data:
            for _, step in zip(range(first, last), data):
                state.train_step(step, size.lm.lr)

    def start() -> TrainState:
        model = build_model(size.lm, SPECIAL, 0)
        return TrainState(model, size.lm, device, "bf16" if cuda else "fp32", compiled=cuda)

    whole, first, second = start(), start(), start()
    steps(whole, 0, 6)
    steps(first, 0, 3)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint.save_checkpoint(Path(folder), 3, checkpoint.collect_tensors(first, {}, True), {}, {})
        checkpoint.restore_tensors(second, checkpoint.load_checkpoint(Path(folder), 3)[0])
    steps(second, 3, 6)
    pairs = list(zip(whole.model.state_dict().values(), second.model.state_dict().values()))
    largest = max(float((a - b).abs().max()) for a, b in pairs)
    yield figure("resumed weights: largest difference", largest, holds=all(torch.equal(a, b) for a, b in pairs))


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
    for precision, least in {"fp32": 0.9995, "bf16": 0.99}.items():
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
