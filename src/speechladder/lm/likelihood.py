"""Negative log-likelihood of whole sequences, and of the hidden states of every layer read through the output head."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from transformers import PreTrainedModel

from speechladder.io.devices import send
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
    compute: Callable[[list[np.ndarray], list[tuple[int, int]]], torch.Tensor],
    sequences: Sequence[np.ndarray],
    spans: Sequence[tuple[int, int]],
    columns: int,
    batch_tokens: int,
    advance: Callable[[float], object],
) -> tuple[np.ndarray, np.ndarray]:
    """`span_nll` by a function that scores a batch: (sequences, spans as row and start) -> (batch + spans, columns).

    What the function returns stays on its device until all batches are done, so that a GPU is waited for once.
    """
    of: dict[int, list[int]] = {}
    for place, (number, _) in enumerate(spans):
        of.setdefault(number, []).append(place)
    order, found = [], []
    for batch in by_length([len(s) for s in sequences], batch_tokens):
        chosen = [sequences[i] for i in batch]
        places = [(place, row) for row, i in enumerate(batch) for place in of.get(i, ())]
        found.append(compute(chosen, [(row, spans[place][1]) for place, row in places]))
        order += [*batch, *(len(sequences) + place for place, _ in places)]
        advance(sum(map(len, chosen)))
    out = np.zeros((len(sequences) + len(spans), columns))
    if found:
        out[order] = torch.cat(found).cpu().numpy()  # the one wait
    return out[: len(sequences)], out[len(sequences) :]


def span_ends(nll: torch.Tensor, spans: list[tuple[int, int]]) -> torch.Tensor:
    """(spans,) sums of `nll` (batch, tokens) from a token of a row, each given as (row, token), to its last."""
    places = np.array([row * nll.shape[1] + begin for row, begin in spans], np.int64)
    return nll.flip(1).cumsum(1).flip(1).flatten()[send(places, nll.device)]


def _batch_nll(
    model: PreTrainedModel, columns: int, sequences: list[np.ndarray], spans: list[tuple[int, int]]
) -> torch.Tensor:
    """(batch + spans, columns) float64 nats of one batch, on the model's device, for which nothing here waits.

    A span is a row and the tokens that it leaves out. What depends on lengths is computed on the CPU: a mask on the
    device would be waited for at each of its uses.
    """
    parts = parts_of(model)
    device = parts.head.weight.device
    tokens_BT = padded(sequences)
    predicted, T = np.array([len(s) - 1 for s in sequences]), tokens_BT.shape[1] - 1
    if T == 0:
        return torch.zeros(len(sequences) + len(spans), columns, dtype=torch.float64, device=device)
    real_BT = np.arange(T) < predicted[:, None]
    places = np.flatnonzero(real_BT)
    arrays = tokens_BT[:, :-1], tokens_BT[:, 1:][real_BT], places, places // T
    inputs_BT, targets, places, rows = (send(array, device) for array in arrays)
    blocks, window = None, model.config.train_window
    if window < T:
        starts = (torch.arange(T) - window + 1).clamp(min=0)
        kind = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else model.dtype
        blocks = [block.to(device) for block in attention_blocks(starts[None], kind)]
    result = parts.body(input_ids=inputs_BT, use_cache=False, output_hidden_states=columns > 1, blocks=blocks)
    # transformers returns the last hidden state with the final norm already applied, and the others without it
    hidden = [*(result.hidden_states or ())[:-1], result.last_hidden_state]
    out = torch.zeros(len(sequences), columns, dtype=torch.float64, device=device)
    nll_BT, ends = torch.zeros(real_BT.shape, dtype=torch.float64, device=device), []
    for column, states_BTC in enumerate(hidden):
        states_NC = states_BTC.flatten(0, 1)[places]
        normed = column == columns - 1
        for begin in range(0, len(targets), HEAD_TOKENS):
            part = slice(begin, begin + HEAD_TOKENS)
            logits = parts.head(states_NC[part] if normed else parts.norm(states_NC[part]))
            nll = F.cross_entropy(logits.float(), targets[part], reduction="none").double()
            out[:, column].index_add_(0, rows[part], nll)
            nll_BT.flatten()[places[part]] = nll  # a view: every real token is written for each column
        ends.append(span_ends(nll_BT, spans))
    return torch.cat([out, torch.stack(ends, 1)])
