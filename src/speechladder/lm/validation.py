"""Validation: bits per token, and per second of speech, which compares rungs."""

import math

import numpy as np
import torch
from transformers import LlamaForCausalLM

from speechladder.lm.distributed import Ranks
from speechladder.lm.likelihood import sequence_nll
from speechladder.rungs.data import TokenData

BATCH_TOKENS = {"cpu": 4096, "cuda": 32_768}  # with padding


class Validation:
    """The validation documents: the same of every rung, since they are chosen by their seconds of speech."""

    def __init__(self, data: TokenData, seconds: float) -> None:
        order = np.random.default_rng(0).permutation(len(data))
        before = np.cumsum(data.seconds[order]) - data.seconds[order]
        chosen = order[before < seconds]
        self.documents = [np.asarray(data.utterance(i)) for i in chosen]
        self.tokens = sum(len(d) - 1 for d in self.documents)  # <s> is given
        self.seconds = float(data.seconds[chosen].sum())

    def bits(self, model: LlamaForCausalLM, ranks: Ranks | None = None, dealt: bool = False) -> tuple[float, float]:
        """Bits per predicted token (</s> included) and bits per second of speech.

        Of several processes each reads its share where they are `dealt` (a whole model in each), else all of it (a
        model in parts needs all processes for each batch). All get the same figures.
        """
        mine = self.documents[ranks.rank :: ranks.size] if ranks and dealt else self.documents
        device = model.lm_head.weight.device
        nats = sequence_nll(model, mine, BATCH_TOKENS.get(device.type, 4096)).sum()
        if ranks and dealt:
            nats = ranks.total(torch.tensor([nats], dtype=torch.float64, device=device))[0]
        bits = float(nats) / math.log(2)
        if ranks:
            (bits,) = ranks.told(bits)
        return bits / self.tokens, bits / self.seconds
