"""Negative log-likelihood of whole sequences, and of the hidden states of every layer read through the output head."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from transformers import PreTrainedModel

from speechladder.io.progress import no_progress
from speechladder.lm.architectures.base import parts_of
from speechladder.lm.attention import attention_blocks
from speechladder.lm.batches import by_length, padded

HEAD_TOKENS = 4096  # tokens whose logits are in memory at once


def sequence_nll(
    model: PreTrainedModel,
    sequences: Sequence[np.ndarray],
    batch_tokens: int,
    layers: bool = False,
    advance: Callable[[float], object] = no_progress,
) -> np.ndarray:
    """(n, 1) float64 nats: the sum over the tokens of a sequence after the first, each given all tokens before it.

    With `layers` (n, layers + 1): each hidden state, the embeddings first, goes through the final norm and the output
    head; the last column is the model's own. A token looks back at most `config.train_window` tokens, as in
    training, because longer distances were never trained. Sequences are batched by length with padding; padding and
    neighbours change a result by rounding only. `advance` receives the number of tokens done.
    """
    return span_nll(model, sequences, [], batch_tokens, layers, advance)[0]


@torch.no_grad()
def span_nll(
    model: PreTrainedModel,
    sequences: Sequence[np.ndarray],
    spans: Sequence[tuple[int, int]],
    batch_tokens: int,
    layers: bool = False,
    advance: Callable[[float], object] = no_progress,
) -> tuple[np.ndarray, np.ndarray]:
    """`sequence_nll` of the sequences and of spans, each the end of a sequence, in the same pass.

    A span is the number of a sequence, and how many of its predicted tokens are left out at the beginning, which are
    fewer than all. Returns (sequences, columns) and (spans, columns) float64 nats.
    """
    model.eval()
    columns = model.config.num_hidden_layers + 1 if layers else 1
    return over_batches(partial(_batch_nll, model, columns), sequences, spans, columns, batch_tokens, advance)


def over_batches(
    compute: Callable[[list[np.ndarray], list[tuple[int, int]]], np.ndarray],
    sequences: Sequence[np.ndarray],
    spans: Sequence[tuple[int, int]],
    columns: int,
    batch_tokens: int,
    advance: Callable[[float], object],
) -> tuple[np.ndarray, np.ndarray]:
    """`span_nll` by a function that scores a batch: (sequences, spans as row and start) -> (batch + spans, columns)."""
    whole, ends = np.zeros((len(sequences), columns)), np.zeros((len(spans), columns))
    of: dict[int, list[int]] = {}
    for place, (number, _) in enumerate(spans):
        of.setdefault(number, []).append(place)
    for batch in by_length([len(s) for s in sequences], batch_tokens):
        chosen = [sequences[i] for i in batch]
        places = [(place, row) for row, i in enumerate(batch) for place in of.get(i, ())]
        found = compute(chosen, [(row, spans[place][1]) for place, row in places])
        whole[batch], ends[[place for place, _ in places]] = found[: len(batch)], found[len(batch) :]
        advance(sum(map(len, chosen)))
    return whole, ends


def span_ends(nll: torch.Tensor, spans: list[tuple[int, int]]) -> torch.Tensor:
    """(spans,) sums of `nll` (batch, tokens) from a token of a row, each given as (row, token), to its last."""
    rows, begins = torch.tensor(spans, device=nll.device, dtype=torch.int64).reshape(-1, 2).T
    return nll.flip(1).cumsum(1).flip(1)[rows, begins]


def _batch_nll(
    model: PreTrainedModel, columns: int, sequences: list[np.ndarray], spans: list[tuple[int, int]]
) -> np.ndarray:
    """(batch + spans, columns) float64 nats of one batch; a span is a row and the tokens that it leaves out."""
    parts = parts_of(model)
    device = parts.head.weight.device
    tokens_BT = torch.from_numpy(padded(sequences)).to(device)
    inputs_BT, targets_BT = tokens_BT[:, :-1], tokens_BT[:, 1:]
    if inputs_BT.shape[1] == 0:
        return np.zeros((len(sequences) + len(spans), columns))
    predicted = torch.tensor([len(s) - 1 for s in sequences], device=device)
    order = torch.arange(inputs_BT.shape[1], device=device)
    real_BT = order < predicted[:, None]
    rows, targets = real_BT.nonzero()[:, 0], targets_BT[real_BT]
    blocks, window = None, model.config.train_window
    if inputs_BT.shape[1] > window:
        starts_BT = (order - window + 1).clamp(min=0).expand_as(inputs_BT)
        kind = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else model.dtype
        blocks = attention_blocks(starts_BT[:1], kind)
    result = parts.body(input_ids=inputs_BT, use_cache=False, output_hidden_states=columns > 1, blocks=blocks)
    # transformers returns the last hidden state with the final norm already applied, and the others without it
    hidden = [*(result.hidden_states or ())[:-1], result.last_hidden_state]
    out = torch.zeros(len(sequences), columns, dtype=torch.float64, device=device)
    nll_BT = torch.zeros(real_BT.shape, dtype=torch.float64, device=device)
    ends = []
    for column, states_BTC in enumerate(hidden):
        states_NC = states_BTC[real_BT]
        normed, found = column == columns - 1, []
        for begin in range(0, len(targets), HEAD_TOKENS):
            part = slice(begin, begin + HEAD_TOKENS)
            logits = parts.head(states_NC[part] if normed else parts.norm(states_NC[part]))
            nll = F.cross_entropy(logits.float(), targets[part], reduction="none").double()
            out[:, column].index_add_(0, rows[part], nll)
            found.append(nll)
        nll_BT.masked_scatter_(real_BT, torch.cat(found))
        ends.append(span_ends(nll_BT, spans))
    return torch.cat([out, torch.stack(ends, 1)]).cpu().numpy()
