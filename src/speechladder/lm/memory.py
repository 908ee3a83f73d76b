"""What a training needs of a device's memory, and what follows: parts or whole models, windows at once, recomputation.

Estimates by formula from the device's total memory, so that the same machine always decides the same. No torch here:
plans count with them too.
"""

from dataclasses import dataclass

from speechladder.lm.flops import parameters
from speechladder.settings import LM

STATE = 16  # bytes per parameter that a step keeps in fp32: weights, gradients, two moments
CAST = 2  # bytes per parameter: bf16 copies of the weights during a step
# Activations of a layer that its backward pass reads, in bytes per token and width under bf16 autocast: the residual
# stream twice in fp32 (8) and its normed copies (4), q, k, v before and after rotation (9), attention's output (3), and
# gate, up, silu(gate) and their product, 2.75 wide each (22), rounded up. Flash-like kernels keep no scores. In fp32
# twice that.
ACTIVATIONS = 48
LOGITS = 10  # bytes per token and word: logits, their fp32 copy and its gradient
USABLE = 0.85  # of a GPU's memory: the rest is fragmentation, kernels, communication
CPU_TOKENS = 16_384  # windows at once on a CPU hold at most so many tokens: its caches gain nothing from more


@dataclass(frozen=True)
class Fit:
    """How a training is laid out: `parallel` none, ddp or fsdp; `micro` windows at once; `recompute` activations."""

    parallel: str
    micro: int
    recompute: bool
    needed: float  # bytes of the device, estimated

    def __str__(self) -> str:
        again = ", activations recomputed" if self.recompute else ""
        return f"{self.micro} windows at once{again}, some {self.needed / 1e9:.2g} GB"


def window_bytes(lm: LM, vocabulary: int, bf16: bool, recompute: bool) -> float:
    """Bytes of a window's activations: of every layer, or of one and every layer's input where they are recomputed."""
    layer = ACTIVATIONS * lm.hidden_size * (1 if bf16 else 2)
    kept = lm.layers * 4 * lm.hidden_size + layer if recompute else lm.layers * layer
    return lm.window * (kept + LOGITS * vocabulary)


def state_bytes(lm: LM, vocabulary: int, bf16: bool, parts: int) -> float:
    """Bytes of weights, gradients and optimiser in one of `parts` processes that share them."""
    return parameters(lm, vocabulary) * (STATE / parts + (CAST if bf16 else 0))


def fit(lm: LM, vocabulary: int, processes: int, bf16: bool, memory: float | None) -> Fit:
    """The layout of a training in `processes` on devices of `memory` bytes each; None: a CPU, which has enough."""
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
    micro = -(-share // -(-share // micro))  # as even as they go: 5 windows by at most 4 are 3 and 2
    return Fit(parallel, micro, recompute, needed(parts, micro, recompute))
