"""What a language model costs: parameters, operations and memory by formula, and the speed of matrix products.

The formulas load no torch, because the plan of a run uses them too. Memory is estimated from the total memory of a
device, so that the same machine always decides the same.
"""

import time
from dataclasses import dataclass

from speechladder.io.errors import UserError
from speechladder.lm.architectures.base import get_architecture
from speechladder.settings import LM
from speechladder.settings.lm import QUERY_BLOCK, fits_flex

CEILING_SIZE = {"cpu": 512, "cuda": 8192}  # rows of the square matrices whose product gives the ceiling
CEILING_SECONDS = {"cpu": 0.1, "cuda": 0.5}

STATE = 16  # bytes per parameter that a step keeps in fp32 with AdamW: weights, gradients, two moments
MOMENT = 4  # of these, bytes of the second moment, which Muon does not have
# Bytes per entry of the matrix that Muon makes orthogonal: the update and its result in fp32 (with the momentum of
# the gathered one) and three bf16 copies in the iteration.
ORTHOGONAL = 18
CAST = 2  # bytes per parameter: bf16 copies of the weights during a step
# Activations of a layer that its backward pass reads under bf16 autocast, in bytes per token: of each width of the
# model, with a feed-forward part 2.75 times as wide, and of each width of the heads together. They were counted on a
# CPU by torch's hooks on saved tensors (tests/unit/test_lm_gpu.py counts again). torch.compile keeps fewer of them. The
# mask of flex_attention is one of blocks. PackedAttention keeps its weights too (SCORES). In fp32 it is at most twice
# that. The sums are those of Llama; they serve as an estimate for other decoders.
ACTIVATIONS: dict[str, tuple[float, float]] = {"flex": (48, 10), "packed": (48, 10), "compiled": (28, 8)}
SCORES = 2  # bytes per head and pair of tokens that attend, in windows of one document: PackedAttention in bf16
# Bytes per token and word: bf16 logits (2), log-probabilities (4), their gradient (4) and that of the fp32 logits (4).
LOGITS = 14
USABLE = 0.85  # share of a GPU's memory; the rest goes to fragmentation, kernels and communication
CPU_TOKENS = 16_384  # tokens that a CPU processes at once at most; its caches gain nothing from more

# When compiling pays on a GPU: assumed, until benchmarks/gpu_check.py has measured compile_seconds.
COMPILING = 60.0  # seconds in which torch builds the kernels of flex_attention, its mask and a layer
COMPILING_SHARE = 0.2  # largest share of an uncompiled training that these may be
EAGER_FLOPS = 1.5e14  # FLOP/s of a training without compiled layers
LAUNCH = 5e-6  # seconds in which a CPU starts a kernel
LAYER_LAUNCHES, BLOCK_LAUNCHES = 150, 12  # kernels of a layer and of a block of PackedAttention, forward and backward


def parameters(lm: LM, vocabulary: int) -> int:
    """The number of parameters of a model of these dimensions, embeddings and head not tied.

    Raise UserError if the dimensions are those of `lm.init` and that model has not been read.
    """
    if lm.hidden_size is None:
        raise UserError(f"lm.init: the dimensions of {lm.init} are not known here; fetch it and name its folder")
    return get_architecture(lm.architecture).parameters(lm, vocabulary)


def active_parameters(lm: LM, vocabulary: int) -> int:
    """The number of parameters that a token is multiplied with: all but the embeddings, which are looked up."""
    return parameters(lm, vocabulary) - get_architecture(lm.architecture).embedding_parameters(lm, vocabulary)


def train_flops(lm: LM, vocabulary: int, document: float) -> float:
    """FLOP of training on one token, forward and backward: 6 P + 12 L d c.

    P is the number of active parameters, L the number of layers, d the width of all heads of a layer together (most
    often that of the model), and c the number of tokens that a token attends to on average: half of a document
    (`document` tokens), or half of the window if that is shorter, because attention never crosses documents. Work that
    is done twice (activation checkpointing) or for masked pairs is not counted.
    """
    context = min(document, lm.window) / 2
    return 6 * active_parameters(lm, vocabulary) + 12 * lm.layers * lm.attention_width * context


def score_flops(lm: LM, vocabulary: int, document: float, layers: bool) -> float:
    """FLOP of scoring one token, a third of training; with `layers` the head runs once more for each layer."""
    return train_flops(lm, vocabulary, document) / 3 + layers * lm.layers * 2 * vocabulary * lm.hidden_size


def matmul_ceiling(device: str, precision: str) -> float:
    """FLOP/s of a product of square matrices on `device` ('cpu', 'cuda') in 'bf16' or 'fp32': the best of several.

    Draws no random number. Takes a tenth of a second on a CPU and half a second on a GPU.
    """
    import torch

    size = CEILING_SIZE[device]
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    # not zeros: a GPU multiplies those at a higher clock
    a = (torch.arange(size * size, device=device, dtype=torch.float32).reshape(size, size) % 7 - 3).to(dtype)
    b, wait = a.T.contiguous(), torch.cuda.synchronize if device == "cuda" else lambda: None
    repeats = 20 if device == "cuda" else 1
    best, end = 0.0, time.perf_counter() + CEILING_SECONDS[device]
    torch.mm(a, b)
    wait()
    while True:
        begun = time.perf_counter()
        for _ in range(repeats):
            torch.mm(a, b)
        wait()
        now = time.perf_counter()
        best = max(best, repeats * 2 * size**3 / (now - begun))
        if now > end:
            return best


@dataclass(frozen=True)
class MemoryPlan:
    """How a training is laid out: `parallel` is none, ddp or fsdp; `micro` is the number of windows at once;
    `recompute` says whether activations are computed again in the backward pass."""

    parallel: str
    micro: int
    recompute: bool
    needed: float  # bytes of the device, estimated

    def __str__(self) -> str:
        again = ", activations recomputed" if self.recompute else ""
        return f"{self.micro} windows at once{again}, about {self.needed / 1e9:.2g} GB"


def mode_of(flex: bool, compiled: bool) -> str:
    """The key of ACTIVATIONS for a training with flex_attention, or with compiled layers."""
    return "compiled" if compiled else "flex" if flex else "packed"


def usual_mode(lm: LM, vocabulary: int, steps: int) -> str:
    """`mode_of` a training of `steps` steps on a GPU where Triton can build kernels (lm.attention resolves the same
    settings on the device itself)."""
    worth = worth_compiling(lm, vocabulary, steps)
    flex = lm.attention == "flex" or (lm.attention == "auto" and worth and fits_flex(lm.head_width))
    return mode_of(flex, flex and lm.compile != "off" and worth)


def worth_compiling(lm: LM, vocabulary: int, steps: int) -> bool:
    """Whether a training of `steps` steps on a GPU is so long that compiling is at most COMPILING_SHARE of it, or
    lm.compile is on.

    The time without compiling is estimated: the operations of all tokens in documents as long as a window, and the
    start of every kernel, which takes most of the time of a small model.
    """
    blocks = lm.batch_windows * -(-lm.window // QUERY_BLOCK)
    launches = lm.layers * (LAYER_LAUNCHES + BLOCK_LAUNCHES * blocks / lm.processes)
    flops = lm.window * lm.batch_windows * train_flops(lm, vocabulary, lm.window) / lm.processes
    seconds = steps * (launches * LAUNCH + flops / EAGER_FLOPS)
    return lm.compile == "on" or COMPILING_SHARE * seconds >= COMPILING


def window_bytes(lm: LM, vocabulary: int, bf16: bool, recompute: bool, mode: str = "compiled") -> float:
    """Bytes of one window's activations: of every layer, or with `recompute` of one layer and every layer's input."""
    width, heads = ACTIVATIONS[mode]
    layer = width * lm.hidden_size + heads * lm.attention_width
    if mode == "packed":
        layer += SCORES * lm.heads * lm.window / 2
    layer *= 1 if bf16 else 2
    kept = lm.layers * 4 * lm.hidden_size + layer if recompute else lm.layers * layer
    return lm.window * (kept + LOGITS * vocabulary)


def state_bytes(lm: LM, vocabulary: int, bf16: bool, parts: int) -> float:
    """Bytes of weights, gradients and optimiser in one of `parts` processes that share them."""
    both = parameters(lm, vocabulary) * (STATE / parts + (CAST if bf16 else 0))
    if lm.optimizer == "adamw":
        return both
    # every matrix within the layers; norms are negligible
    hidden = active_parameters(lm, vocabulary) - vocabulary * lm.hidden_size
    largest = lm.hidden_size * max(lm.intermediate_size, lm.attention_width)
    return both - hidden * MOMENT / parts + largest * ORTHOGONAL


def plan_memory(
    lm: LM, vocabulary: int, processes: int, bf16: bool, memory: float | None, mode: str = "compiled"
) -> MemoryPlan:
    """The layout of a training in `processes` processes on devices of `memory` bytes each; None: CPUs, which have
    enough. `mode` is a key of ACTIVATIONS."""
    share = -(-lm.batch_windows // processes)

    def needed(parts: int, micro: int, recompute: bool) -> float:
        return state_bytes(lm, vocabulary, bf16, parts) + micro * window_bytes(lm, vocabulary, bf16, recompute, mode)

    parallel = lm.parallel if processes > 1 else "none"
    if parallel == "auto":
        whole = memory is None or needed(1, 1, lm.activation_checkpointing != "off") <= USABLE * memory
        parallel = "ddp" if whole else "fsdp"
    parts = processes if parallel == "fsdp" else 1
    recompute = lm.activation_checkpointing == "on"
    if lm.activation_checkpointing == "auto" and memory is not None:
        recompute = needed(parts, 1, False) > USABLE * memory
    if lm.micro_windows:
        micro = min(lm.micro_windows, share)
    elif memory is None:
        micro = max(1, min(share, CPU_TOKENS // lm.window))
    else:
        room = USABLE * memory - state_bytes(lm, vocabulary, bf16, parts)
        micro = max(1, min(share, int(room / window_bytes(lm, vocabulary, bf16, recompute, mode))))
    micro = -(-share // -(-share // micro))  # as even as possible: 5 windows by at most 4 are 3 and 2
    return MemoryPlan(parallel, micro, recompute, needed(parts, micro, recompute))
