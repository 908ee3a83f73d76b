"""Any causal language model that transformers loads, and the likelihoods of sequences under it."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from speechladder.io.errors import UserError, first_line
from speechladder.io.files import read_json
from speechladder.io.hub import check_whole, find_weights
from speechladder.io.progress import no_progress
from speechladder.lm.batches import padded
from speechladder.lm.likelihood import over_batches, span_ends

LOGITS = 2**27  # of a batch that are in memory at once
WRAPPER = "lm."  # the name under which slamkit keeps the model that it wraps


def load_causal(folder: Path, field: str, wrapped: bool) -> PreTrainedModel:
    """A model in fp32; `wrapped`: as slamkit saves it, around another. Raises UserError if it cannot be loaded."""
    files = find_weights(folder, field)
    check_whole(files, field)
    try:
        model = _unwrapped(folder, files) if wrapped else _plain(folder)
    except Exception as error:  # transformers and the configurations of its models raise a dozen kinds
        raise UserError(f"{field}: {folder}: transformers cannot load it ({first_line(error)})") from None
    return model.eval()


def _plain(folder: Path) -> PreTrainedModel:
    options = {"dtype": torch.float32, "local_files_only": True, "output_loading_info": True}
    model, found = AutoModelForCausalLM.from_pretrained(folder, **options)
    _check_complete([*found["missing_keys"]])
    return model


def _check_complete(missing: Sequence[str]) -> None:
    """Raise ValueError if weights are missing, which would be drawn at random without a word."""
    if missing:
        raise ValueError(f"its files lack weights: {', '.join(sorted(missing)[:3])}")


def _unwrapped(folder: Path, files: Sequence[Path]) -> PreTrainedModel:
    """The model that slamkit wraps, with its weights; transformers does not know the wrapper."""
    config = read_json(folder / "config.json")
    base = {name: value for name, value in config["base_config"].items() if name not in ("torch_dtype", "dtype")}
    base |= {"vocab_size": config["vocab_size"]}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**base), dtype=torch.float32)
    read = (load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True) for path in files)
    weights = {name.removeprefix(WRAPPER): tensor for part in read for name, tensor in part.items()}
    found = model.load_state_dict(weights, strict=False)
    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    _check_complete([*set(found.missing_keys) - tied])
    model.tie_weights()
    return model.float()


@torch.no_grad()
def causal_nll(
    model: PreTrainedModel,
    sequences: Sequence[np.ndarray],
    spans: Sequence[tuple[int, int]],
    batch_tokens: int,
    layers: bool = False,
    advance: Callable[[float], object] = no_progress,
) -> tuple[np.ndarray, np.ndarray]:
    """As `likelihood.span_nll`, for a model of any architecture: (sequences, 1) and (spans, 1) float64 nats.

    Layers are not scored. Sequences are padded on the right and masked, so padding and neighbours change a result by
    rounding only.
    """
    if layers:
        raise ValueError("layers: only those of models that were trained here are scored")
    most = max(1, min(batch_tokens, LOGITS // model.config.vocab_size))
    return over_batches(partial(_batch_nll, model), sequences, spans, 1, most, advance)


def _batch_nll(model: PreTrainedModel, sequences: list[np.ndarray], spans: list[tuple[int, int]]) -> torch.Tensor:
    """(batch + spans, 1) float64 nats of one batch; a span is a row and the tokens that it leaves out."""
    tokens_BT = torch.from_numpy(padded(sequences)).to(model.device)
    if tokens_BT.shape[1] == 1:
        return torch.zeros(len(sequences) + len(spans), 1, dtype=torch.float64)
    lengths = torch.tensor([len(s) for s in sequences], device=model.device)
    real_BT = torch.arange(tokens_BT.shape[1], device=model.device) < lengths[:, None]
    logits = model(input_ids=tokens_BT, attention_mask=real_BT.long(), use_cache=False).logits[:, :-1]
    nll_BT = F.cross_entropy(logits.float().transpose(1, 2), tokens_BT[:, 1:], reduction="none").double()
    nll_BT = nll_BT.masked_fill(~real_BT[:, 1:], 0)
    return torch.cat([nll_BT.sum(1), span_ends(nll_BT, spans)])[:, None]
