"""What a language model costs: parameters, operations and memory by formula, and the speed of matrix products.

The formulas load no torch, because the plan of a run uses them too. Memory is estimated from the total memory of a
device, so that the same machine always decides the same.
"""

import time
from dataclasses import dataclass

from speechladder.io.errors import UserError
from speechladder.lm.architectures.base import get_architecture
from speechladder.settings import LM

CEILING_SIZE = {"cpu": 512, "cuda": 8192}  # rows of the square matrices whose product gives the ceiling
CEILING_SECONDS = {"cpu": 0.1, "cuda": 0.5}

STATE = 16  # bytes per parameter that a step keeps in fp32 with AdamW: weights, gradients, two moments
MOMENT = 4  # of these, bytes of the second moment, which Muon does not have
# Bytes per entry of the matrix that Muon makes orthogonal: the update and its result in fp32 (with the momentum of
# the gathered one) and three bf16 copies in the iteration.
ORTHOGONAL = 18
CAST = 2  # bytes per parameter: bf16 copies of the weights during a step
# Activations of a layer that its backward pass reads, in bytes per token and width under bf16 autocast: the residual
# stream twice in fp32 (8) and its normed copies (4), and gate, up, silu(gate) and their product, 2.75 wide each (22),
# rounded up; per width of the attention q, k, v before and after rotation (9) and its output (3). Flash-like kernels
# keep no scores, and the mask of flex_attention is one of blocks. In fp32 it is twice that. The sum is that of Llama;
# it serves as an estimate for other decoders.
ACTIVATIONS, ATTENTION_ACTIVATIONS = 36, 12
LOGITS = 10  # bytes per token and word: logits, their fp32 copy and its gradient
USABLE = 0.85  # share of a GPU's memory; the rest goes to fragmentation, kernels and communication
CPU_TOKENS = 16_384  # tokens that a CPU processes at once at most; its caches gain nothing from more


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


def window_bytes(lm: LM, vocabulary: int, bf16: bool, recompute: bool) -> float:
    """Bytes of one window's activations: of every layer, or with `recompute` of one layer and every layer's input."""
    layer = (ACTIVATIONS * lm.hidden_size + ATTENTION_ACTIVATIONS * lm.attention_width) * (1 if bf16 else 2)
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


def plan_memory(lm: LM, vocabulary: int, processes: int, bf16: bool, memory: float | None) -> MemoryPlan:
    """The layout of a training in `processes` processes on devices of `memory` bytes each; None: CPUs, which have
    enough."""
    share = -(-lm.batch_windows // processes)

    def needed(parts: int, micro: int, recompute: bool) -> float:
        return state_bytes(lm, vocabulary, bf16, parts) + micro * window_bytes(lm, vocabulary, bf16, recompute)

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
        micro = max(1, min(share, int(room / window_bytes(lm, vocabulary, bf16, recompute))))
    micro = -(-share // -(-share // micro))  # as even as possible: 5 windows by at most 4 are 3 and 2
    return MemoryPlan(parallel, micro, recompute, needed(parts, micro, recompute))
