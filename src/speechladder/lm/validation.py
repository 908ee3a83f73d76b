"""Validation in bits per token, and in bits per second of speech, the same unit on every rung."""

import math
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from transformers import PreTrainedModel

from speechladder.lm.architectures.base import parts_of
from speechladder.lm.distributed import Ranks
from speechladder.lm.likelihood import sequence_nll
from speechladder.rungs.data import TokenData

BATCH_TOKENS = {"cpu": 4096, "cuda": 32_768}  # with padding


class Validation:
    """The validation documents. They are chosen by their seconds of speech, so every rung has the same ones."""

    def __init__(self, data: TokenData, seconds: float) -> None:
        order = np.random.default_rng(0).permutation(len(data))
        before = np.cumsum(data.seconds[order]) - data.seconds[order]
        chosen = order[before < seconds]
        self.documents = [np.asarray(data.utterance(i)) for i in chosen]
        self.tokens = sum(len(d) - 1 for d in self.documents)  # <s> is given, not predicted
        self.seconds = float(data.seconds[chosen].sum())

    def bits(self, model: PreTrainedModel, ranks: Ranks | None = None, share: bool = False) -> tuple[float, float]:
        """Bits per predicted token (</s> included) and bits per second of speech.

        With `share`, each of several processes reads a part of the documents, which needs a whole model in each.
        Otherwise each reads all of them: a model in parts needs all processes for each batch. All processes return
        the same figures.
        """
        mine = self.documents[ranks.rank :: ranks.size] if ranks and share else self.documents
        device = model.get_output_embeddings().weight.device
        with uncompiled(model):
            nats = sequence_nll(model, mine, BATCH_TOKENS.get(device.type, 4096)).sum()
        if ranks and share:
            nats = ranks.total(torch.tensor([nats], dtype=torch.float64, device=device))[0]
        bits = float(nats) / math.log(2)
        if ranks:
            (bits,) = ranks.broadcast(bits)
        return bits / self.tokens, bits / self.seconds


def uncompiled(model: PreTrainedModel) -> AbstractContextManager[object]:
    """A context in which compiled layers run as they are written.

    Batches of validation have a shape of their own each, and compiled layers would be compiled for many of them.
    """
    compiled = any(layer._compiled_call_impl is not None for layer in parts_of(model).layers)
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()
