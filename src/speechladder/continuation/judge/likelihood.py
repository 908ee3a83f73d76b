"""Negative log-likelihood of a continuation given its prompt, under any causal LM that transformers loads.

The judge reads `<s> prompt continuation`, tokenised as one string, prompt + ' ' + continuation. The prompt's tokens are
the leading tokens that the prompt alone has too. All further tokens are the continuation's. If a tokenizer's pieces
carry the space before them (byte-level BPE, SentencePiece), this separates two words: the space belongs to the
continuation, and NLL(prompt + continuation) - NLL(prompt) = NLL(continuation | prompt). A tokenizer with pieces across
words may merge the end of the prompt with the continuation; the merged token counts as the continuation's. `</s>` is
not scored, because a continuation ends when its time is up, not by `</s>`.
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

from speechladder.continuation.judge.checks import FIELD, check_judge_config
from speechladder.io.errors import UserError, first_line
from speechladder.io.hub import check_access, is_hub_name
from speechladder.io.progress import no_progress
from speechladder.lm.batches import by_length, padded
from speechladder.lm.model import prepare_torch

BATCH_TOKENS = 4096  # per batch, with padding
BATCH_LOGITS = 2**28  # elements: half a GB in bf16
LOSS_LOGITS = 2**26  # elements that are converted to fp32 at a time


@dataclass(frozen=True)
class Judge:
    """A causal LM with its tokenizer. `start` is the id that begins a text, `context` the largest number of ids."""

    model: Any
    tokenizer: Any
    start: int
    context: int
    name: str

    def encode(self, prompt: str, continuation: str) -> list[tuple[list[int], int]]:
        """Return pairs (ids of prompt and continuation after `start`, number of trailing ids to score).

        A prompt that is too long for the context loses its beginning. A continuation that is too long is divided into
        parts of half the context; each part follows as much of the preceding text as fits. An empty continuation gives
        no pair.
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


def load_judge(name: str | Path, own: bool = False) -> Judge:
    """Load the judge `name`, a folder or a hub's OWNER/NAME: in bf16 on a GPU, in fp32 on the CPU.

    The run's `own` judge is always in fp32. Raise UserError naming continuation.judge_model if the model cannot be
    loaded or is not a causal LM.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    device = prepare_torch(threads=1)
    dtype = torch.bfloat16 if device.type == "cuda" and not own else torch.float32
    name = str(Path(name).expanduser()) if Path(name).expanduser().is_dir() else str(name)
    try:
        config = AutoConfig.from_pretrained(name)
        check_judge_config(config.to_dict(), name)
        model = AutoModelForCausalLM.from_pretrained(name, dtype=dtype)
    except UserError:
        raise
    except Exception as error:  # the hub, safetensors and transformers raise a dozen kinds of errors
        if is_hub_name(name) and not Path(name).is_dir():
            check_access(name, FIELD)  # gives a better reason: gated, unknown, no network
        raise UserError(f"{FIELD}: {name} could not be loaded as a causal LM: {first_line(error)}") from None
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
    except Exception as error:
        raise UserError(f"{FIELD}: {name} has no tokenizer that loads: {first_line(error)}") from None
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if start is None:
        raise UserError(
            f"{FIELD}: the tokenizer of {name} has neither bos_token nor eos_token; a text must begin with one of them"
        )
    largest = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > largest:
        raise UserError(
            f"{FIELD}: the tokenizer of {name} has {len(tokenizer)} ids, the model {largest}; they belong to different "
            "models, so copy the model's own tokenizer into the folder"
        )
    # the run's own judge states the window of its training, other models the longest input
    context = getattr(config, "train_window", None) or getattr(config, "max_position_embeddings", None) or BATCH_TOKENS
    return Judge(model.to(device).eval(), tokenizer, start, context, name)


def negative_log_likelihoods(
    judge: Judge,
    pairs: Sequence[tuple[str, str]],
    batch_tokens: int = BATCH_TOKENS,
    advance: Callable[[float], object] = no_progress,
) -> list[tuple[float, int]]:
    """Return (nats, tokens of the judge) of each (prompt, continuation); (0.0, 0) for an empty continuation.

    Equal pairs are scored once. The composition of a batch changes a result only by rounding (1e-5 nats in fp32).
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
    """Nats, (n,) float64, of the last `count` ids of each row (ids, count), given the ids before them."""
    device = model.get_input_embeddings().weight.device
    tokens_BT = torch.from_numpy(padded([np.asarray(ids) for ids, _ in rows])).to(device)
    lengths = torch.tensor([len(ids) for ids, _ in rows], device=device)
    counts = torch.tensor([count for _, count in rows], device=device)
    inputs_BT, targets_BT = tokens_BT[:, :-1], tokens_BT[:, 1:]
    T = inputs_BT.shape[1]
    order = torch.arange(T, device=device)
    wanted_BT = (order < lengths[:, None] - 1) & (order >= (lengths - 1 - counts)[:, None])
    kept = T - min(len(ids) - 1 - count for ids, count in rows)
    options = {"logits_to_keep": kept} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
    real_BT = (order < lengths[:, None] - 1).long()
    logits_BTV = model(input_ids=inputs_BT, attention_mask=real_BT, use_cache=False, **options).logits
    first = T - logits_BTV.shape[1]
    places = wanted_BT.nonzero()
    targets = targets_BT[places[:, 0], places[:, 1]]
    out = torch.zeros(len(rows), dtype=torch.float64, device=device)
    step = max(1, LOSS_LOGITS // logits_BTV.shape[-1])
    for begin in range(0, len(places), step):
        row, place = places[begin : begin + step].T
        logits = logits_BTV[row, place - first].float()
        losses = F.cross_entropy(logits, targets[begin : begin + step], reduction="none")
        out.index_add_(0, row, losses.double())
    return out.cpu()
