"""Parameters and operations of a Llama by formula, and the rate at which a machine multiplies matrices.

No torch is loaded for the formulas: plans count with them too.
"""

import time

from speechladder.io.errors import UserError
from speechladder.settings import LM

CEILING_SIZE = {"cpu": 512, "cuda": 8192}  # of the square matrices that the ceiling is measured with
CEILING_SECONDS = {"cpu": 0.1, "cuda": 0.5}


def parameters(lm: LM, vocabulary: int) -> int:
    """Parameters of transformers' LlamaForCausalLM of these dimensions, embeddings and head not tied.

    Raises UserError where the dimensions are those of `lm.init` and that has not been read.
    """
    if lm.hidden_size is None:
        raise UserError(f"lm.init: the dimensions of {lm.init} are not known here; fetch it and name its folder")
    width, shared = lm.hidden_size, lm.hidden_size // lm.heads * lm.kv_heads
    block = 2 * width * width + 2 * width * shared + 3 * width * lm.intermediate_size + 2 * width
    return 2 * vocabulary * width + lm.layers * block + width


def active_parameters(lm: LM, vocabulary: int) -> int:
    """Those that a token is multiplied with: all but the embeddings, which are looked up."""
    return parameters(lm, vocabulary) - vocabulary * lm.hidden_size


def train_flops(lm: LM, vocabulary: int, document: float) -> float:
    """FLOP of training on one token, forward and backward: 6 P + 12 L d c.

    P active parameters, L layers of width d, c tokens that a token attends to on average, half of a document
    (`document` tokens) or half of the window where that is shorter: attention never crosses documents. What is
    computed twice (activation checkpointing) or for masked pairs is not counted.
    """
    context = min(document, lm.window) / 2
    return 6 * active_parameters(lm, vocabulary) + 12 * lm.layers * lm.hidden_size * context


def score_flops(lm: LM, vocabulary: int, document: float, layers: bool) -> float:
    """FLOP of scoring one token, a third of training; with `layers` the head once more for each layer."""
    return train_flops(lm, vocabulary, document) / 3 + layers * lm.layers * 2 * vocabulary * lm.hidden_size


def matmul_ceiling(device: str, precision: str) -> float:
    """FLOP/s of a bare product of square matrices on `device` ('cpu', 'cuda') in 'bf16' or 'fp32': the best of some.

    Draws no random number. Takes a tenth of a second on a CPU, half a second on a GPU.
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
