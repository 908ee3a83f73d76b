"""The steps of gpu_check.py that compare attention and a resumed training; the first, which says what it runs on.

A step is a generator of lines; `rehearse` asks for sizes that a CPU computes in seconds.
"""

import os
import platform
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import torch
import torch.nn.attention.flex_attention as torch_flex
import transformers
from gpu_check import COMMIT
from gpu_sizes import FULL, ROUNDING, SPECIAL, TINY, Line, Size, device_of, error_of, figure
from hardware import processor

from speechladder.lm import attention, checkpoint, compute
from speechladder.lm.attention import PackedAttention, attention_blocks, flex_mask
from speechladder.lm.batches import Batches
from speechladder.lm.model import build_model
from speechladder.lm.output import commit
from speechladder.lm.prefetch import Prefetch, Step, prepare
from speechladder.lm.step import TrainState


def machine(rehearse: bool) -> Iterator[Line]:
    """What this runs on, and the measured rates of copies and matrix products."""
    device = device_of()
    if device.type == "cpu" and not rehearse:
        raise SystemExit("there is no GPU here; --rehearse runs tiny sizes on a CPU")
    cuda = device.type == "cuda"
    about = {"device": device.type, "hardware": torch.cuda.get_device_name() if cuda else processor()}
    about |= {
        "date": date.today().isoformat(),
        "commit": os.environ.get(COMMIT) or commit(),
        "rehearsal": rehearse,
        "cores": os.cpu_count(),
    }
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
        torch._dynamo.reset()  # a training has one shape; for a second one torch would make kernels of any length
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
