"""Negative log-likelihood of a continuation given its prompt, under any causal LM that transformers loads.

The judge reads `<s> prompt continuation`, tokenised once as the string prompt + ' ' + continuation. The prompt's tokens
are those that the prompt alone has too, from the left; what follows is the continuation. Where pieces carry the space
before them (byte-level BPE, SentencePiece) that is a cut between two words: the seam's space is the continuation's, and
NLL(prompt + continuation) - NLL(prompt) = NLL(continuation | prompt). A tokenizer with pieces across words may merge
over the seam; the merged token counts as the continuation's. `</s>` is not scored: a continuation is cut by the clock,
not ended.
"""

import inspect
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from speechladder.continuation.judge.check import FIELD, check_config
from speechladder.io.errors import UserError
from speechladder.io.hub import is_hub_name, require
from speechladder.lm.batches import by_length, padded
from speechladder.lm.model import prepare_torch

BATCH_TOKENS = 4096  # padding included
BATCH_LOGITS = 2**28  # elements: half a GB in bf16
LOSS_LOGITS = 2**26  # elements in fp32 at a time


@dataclass(frozen=True)
class Judge:
    """A causal LM with its tokenizer; `start` is the id that a text begins with, `context` the most ids it reads."""

    model: Any
    tokenizer: Any
    start: int
    context: int
    name: str

    def encode(self, prompt: str, continuation: str) -> list[tuple[list[int], int]]:
        """Ids of both with `start`, and how many of the last are the continuation's; a long prompt loses its beginning.

        A continuation that the judge cannot read at once is read in parts of half its context, each after as much of
        what goes before as there is room for; none for an empty one.
        """
        whole = self._ids(f"{prompt} {continuation}".strip())
        alone = self._ids(prompt)
        shared = next((n for n, (a, b) in enumerate(zip(alone, whole)) if a != b), min(len(alone), len(whole)))
        step = len(whole) - shared if len(whole) - shared < self.context else max(1, self.context // 2)
        ends = [min(begin + step, len(whole)) for begin in range(shared, len(whole), max(1, step))]
        return [
            ([self.start, *whole[max(0, end - self.context + 1) : end]], end - begin)
            for begin, end in zip([shared, *ends], ends)
        ]

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False) if text else []


def load(name: str | Path, own: bool = False, threads: int = 1) -> Judge:
    """The judge in `name`, a folder or a hub's OWNER/NAME, in bf16 on a GPU, else fp32; the run's `own` always in fp32.

    Raises UserError naming continuation.judge_model when it cannot be loaded or is no causal LM.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    device = prepare_torch(threads)
    dtype = torch.bfloat16 if device.type == "cuda" and not own else torch.float32
    name = str(Path(name).expanduser()) if Path(name).expanduser().is_dir() else str(name)
    try:
        config = AutoConfig.from_pretrained(name)
        check_config(config.to_dict(), name)
        model = AutoModelForCausalLM.from_pretrained(name, dtype=dtype)
    except UserError:
        raise
    except Exception as error:  # the hub, safetensors and transformers raise a dozen kinds
        if is_hub_name(name) and not Path(name).is_dir():
            require(name, FIELD)  # says better what is amiss: gated, unknown, no network
        raise UserError(f"{FIELD}: {name} could not be loaded as a causal LM: {_first_line(error)}") from None
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
    except Exception as error:
        raise UserError(f"{FIELD}: {name} has no tokenizer that loads: {_first_line(error)}") from None
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if start is None:
        raise UserError(f"{FIELD}: the tokenizer of {name} has neither bos_token nor eos_token; one begins a text")
    largest = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > largest:
        raise UserError(
            f"{FIELD}: the tokenizer of {name} has {len(tokenizer)} ids, the model {largest}; they belong to two models"
        )
    # ours says how far it was trained; Llamas of others say how far they read
    context = getattr(config, "train_window", None) or getattr(config, "max_position_embeddings", None) or BATCH_TOKENS
    return Judge(model.to(device).eval(), tokenizer, start, context, name)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def nll(
    judge: Judge,
    pairs: Sequence[tuple[str, str]],
    batch_tokens: int = BATCH_TOKENS,
    advance: Callable[[float], object] = lambda amount: None,
) -> list[tuple[float, int]]:
    """(nats, tokens of the judge) of each (prompt, continuation); an empty continuation is (0.0, 0).

    Equal pairs are scored once. Padding and neighbours change a result by rounding alone (fp32: 1e-5 nats).
    """
    distinct = list(dict.fromkeys(pairs))
    parts = [(pair, ids, count) for pair in distinct for ids, count in judge.encode(pair[0], pair[1].strip())]
    found: dict[tuple[str, str], tuple[float, int]] = dict.fromkeys(distinct, (0.0, 0))
    unread = Counter(pair for pair, _, _ in parts)
    width = judge.model.get_input_embeddings().num_embeddings
    limit = max(1, min(batch_tokens, BATCH_LOGITS // width))
    for batch in by_length([len(ids) for _, ids, _ in parts], limit):
        nats = _batch_nll(judge.model, [parts[n][1:] for n in batch])
        for n, value in zip(batch, nats.tolist()):
            pair, _, count = parts[n]
            found[pair] = found[pair][0] + value, found[pair][1] + count
            unread[pair] -= 1
            advance(int(not unread[pair]))
    return [found[pair] for pair in pairs]


@torch.no_grad()
def _batch_nll(model: Any, rows: list[tuple[list[int], int]]) -> torch.Tensor:
    """(n,) float64 nats of the last `count` ids of each row (ids, count), given those before."""
    device = model.get_input_embeddings().weight.device
    tokens_BT = torch.from_numpy(padded([np.asarray(ids) for ids, _ in rows])).to(device)
    lengths = torch.tensor([len(ids) for ids, _ in rows], device=device)
    counts = torch.tensor([count for _, count in rows], device=device)
    inputs_BT, targets_BT = tokens_BT[:, :-1], tokens_BT[:, 1:]
    T = inputs_BT.shape[1]
    order = torch.arange(T, device=device)
    wanted_BT = (order < lengths[:, None] - 1) & (order >= (lengths - 1 - counts)[:, None])
    kept = T - int((lengths - 1 - counts).min())
    options = {"logits_to_keep": kept} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
    real_BT = (order < lengths[:, None] - 1).long()
    logits_BTV = model(input_ids=inputs_BT, attention_mask=real_BT, use_cache=False, **options).logits
    first = T - logits_BTV.shape[1]
    places = wanted_BT.nonzero()
    targets = targets_BT[wanted_BT]
    out = torch.zeros(len(rows), dtype=torch.float64, device=device)
    step = max(1, LOSS_LOGITS // logits_BTV.shape[-1])
    for begin in range(0, len(places), step):
        row, place = places[begin : begin + step].T
        logits = logits_BTV[row, place - first].float()
        losses = F.cross_entropy(logits, targets[begin : begin + step], reduction="none")
        out.index_add_(0, row, losses.double())
    return out.cpu()
