"""Let the models of one rung go on from each prompt: sampled tokens, to a fixed duration.

Every continuation draws from its own stream of uniform numbers, named by the run's seed, prompt, model and sample, and
a token is the inverse of the nucleus' distribution function at its number. So the batch can change a token by rounding
alone, and the arithmetic is float64, on the CPU as on a GPU. What float64 leaves is 1e-7 at the very most on a logit
(transformers rounds inside its RMSNorm to fp32) and mostly 1e-15: batches of 1, 3 and 64 give the same tokens in the
tests. Another machine's mathematics, a GPU's too, may differ by as much; nobody has yet held a GPU's tokens against a
CPU's.

Decoding is a loop of our own around transformers' Llama, with an attention of its own (`_attend`): all samples of a
prompt share its keys and values, computed once, and new ones go where there is room for them.
benchmarks/generation.py holds it against transformers' `generate`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from transformers import AttentionInterface, LlamaForCausalLM

from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.io.hashing import stable_hash
from speechladder.io.progress import progress
from speechladder.io.tables import CONTINUATIONS, PROMPTS, read_table, write_table
from speechladder.lm.batches import padded
from speechladder.lm.model import PackedAttention, attention_blocks, load, prepare_torch
from speechladder.rungs import registry
from speechladder.rungs.tokenizers import BOS, EOS, PAD, UNK, Codec
from speechladder.rungs.utterances import read_items
from speechladder.settings import Continuation, Tokens

FRAME_RATE = 50  # Hz
NEVER = [PAD, BOS, UNK]  # ids that are not sampled


@dataclass(frozen=True)
class Prompt:
    """A prompt on one rung: `ids` from `<s>` on, and the symbols of its true continuation."""

    id: str
    ids: list[int]
    true: list[str]


def continue_rung(
    models: Sequence[str | Path],
    tokens: str | Path,
    prompts: str | Path,
    units: str | Path | None,
    out: str | Path,
    settings: Continuation,
    seed: int,
    threads: int = 1,
) -> None:
    """Write continuation/{rung}/tokens.parquet (CONTINUATIONS): the truth and `settings.samples` per prompt and model.

    `models` are folders lm/{rung}/seed{n}, `tokens` is tokens/{rung}, whose meta.json says how the corpus was written
    and so how prompts are; `units` (UNITS by prompts' `item`) is read by rungs that need it. A continuation has
    seconds x the rung's tokens per second tokens (rungs of 50 Hz frames exactly 50 per second), at least one, or ends
    before with `</s>`. `<pad>`, `<s>` and `<unk>` are never sampled. Deterministic in `seed`, whatever
    `settings.batch`. Raises UserError when prompts cannot be said on the rung or a model is of another one.
    """
    device = prepare_torch(threads)
    meta = read_json(Path(tokens) / "meta.json")
    rung, codec = registry.get(meta["rung"]), Codec(Path(tokens) / "tokenizer")
    asked = read_prompts(prompts, units, rung, codec, Tokens(**meta["settings"]["tokens"]))
    steps = new_tokens(settings.seconds, rung, meta["tokens_per_second"])
    encoded = codec.encode(prompt.true for prompt in asked)
    common = {"seed": -1, "sample": -1, "ended": False}
    rows = [{"id": p.id, "tokens": ids, "symbols": p.true} | common for p, ids in zip(asked, encoded)]
    for folder in map(Path, models):
        about = read_json(folder / "train.json")
        model = load(folder).to(device)
        if about["rung"] != rung.name or model.config.vocab_size != codec.vocab_size:
            raise UserError(
                f"{folder}: a model of rung {about['rung']} with {model.config.vocab_size} ids, but {tokens} is of "
                f"{rung.name} with {codec.vocab_size}; give the models of this rung, or run train_lm again"
            )
        streams = [
            [uniforms(seed, p.id, about["seed"], sample, steps) for sample in range(settings.samples)] for p in asked
        ]
        label = f"continue {rung.name} seed {about['seed']}"
        with progress(label, len(asked) * settings.samples * steps, "tokens/s") as meter:
            found = generate(
                model,
                [p.ids for p in asked],
                np.array(streams),
                settings.temperature,
                settings.top_p,
                settings.batch,
                meter.advance,
            )
        for prompt, samples in zip(asked, found):
            before = len(codec.decode(prompt.ids))
            for sample, (ids, ended) in enumerate(samples):
                said = {"tokens": ids, "symbols": codec.decode(prompt.ids + ids)[before:], "ended": ended}
                rows.append({"id": prompt.id, "seed": about["seed"], "sample": sample} | said)
    write_table(out, rows, CONTINUATIONS, rung=rung.name)


def new_tokens(seconds: float, rung: registry.Rung, tokens_per_second: float) -> int:
    """Tokens of a continuation of that duration, at least 1."""
    rate = FRAME_RATE if rung.heard in ("phone-frames", "units") else tokens_per_second
    return max(1, round(seconds * rate))


def uniforms(seed: int, prompt: str, model: int, sample: int, count: int) -> np.ndarray:
    """(count,) float64 in [0, 1): the stream of one continuation; a shorter one is the beginning of a longer."""
    return np.random.default_rng(stable_hash(seed, "continuation", prompt, model, sample)).random(count)


def read_prompts(
    prompts: str | Path, units: str | Path | None, rung: registry.Rung, codec: Codec, options: Tokens
) -> list[Prompt]:
    """The PROMPTS table on a rung, in its order, tokenised as the corpus was.

    The true continuation is what the whole has after the prompt. Frames after the cut are those of the whole, by
    number, since those around the cut heard other neighbours. Of runs of units the first is left out where the
    prompt ends with the same unit. A pause at the cut is the prompt's, unless the whole is then no longer the prompt
    and more (tokens.word_boundary puts a boundary before the pause): there the prompt ends before it.
    Raises UserError, naming a prompt, where parts are missing or do not fit, or a symbol is unknown.
    """
    parts: dict[str, dict[str, registry.Utterance]] = {}
    read = {u.id: u for u in read_items(prompts, units, rung.needs, options, PROMPTS)}
    for row in read_table(prompts, PROMPTS, ["item", "id", "part"]).to_pylist():
        parts.setdefault(row["id"], {})[row["part"]] = read[row["item"]]
    asked = []
    for name, both in parts.items():
        if both.keys() != {"prompt", "whole"}:
            raise UserError(f"{prompts}: prompt {name!r} has the parts {sorted(both)}; run build_prompts again")
        begun, true = _split(rung, both["prompt"], both["whole"])
        if true is None:
            raise UserError(f"{prompts}: {name!r} on rung {rung.name}: the prompt is not the beginning of the whole")
        ids, more = codec.encode([begun, true])
        if UNK in ids or UNK in more:
            strange = sorted({*begun, *true} - {*codec.symbols})
            raise UserError(f"{prompts}: {name!r} cannot be said on rung {rung.name}, which lacks {strange[:5]}")
        asked.append(Prompt(name, [BOS, *ids], true))
    return asked


def _split(
    rung: registry.Rung, prompt: registry.Utterance, whole: registry.Utterance
) -> tuple[list[str], list[str] | None]:
    """Symbols of the prompt, and of the whole after it; None where the whole does not begin with the prompt."""
    begun = rung.function(prompt)
    if rung.heard == "unit-runs":
        rest = replace(whole, units=whole.units[prompt.frames :], frames=whole.frames - prompt.frames)
        true = rung.function(rest)
        return begun, true[1:] if true[:1] == begun[-1:] else true
    everything = rung.function(whole)
    if rung.heard in ("phone-frames", "units"):
        return begun, everything[prompt.frames :]
    if begun[-1:] == ["SIL"] and everything[: len(begun)] != begun:
        begun = begun[:-1]
    return begun, everything[len(begun) :] if everything[: len(begun)] == begun else None


@torch.inference_mode()
def generate(
    model: LlamaForCausalLM,
    prompts: Sequence[Sequence[int]],
    uniforms: np.ndarray,
    temperature: float,
    top_p: float,
    batch: int,
    advance: Callable[[float], object] = lambda amount: None,
) -> list[list[tuple[list[int], bool]]]:
    """Per prompt and sample the new ids, and whether `</s>` came (it is not among them).

    `prompts` are ids from `<s>` on, `uniforms` is (prompts, samples, tokens) in [0, 1), `batch` the rows at once.
    The model becomes float64. A token looks back at most `config.train_window` tokens, as in training and scoring,
    however long the prompt. `advance` is told the number of tokens done.
    """
    model = model.double().eval()
    model.set_attn_implementation("shared-prompt")
    _, samples, _ = uniforms.shape
    across, together = min(samples, batch), max(1, batch // samples)
    out: list[list[tuple[list[int], bool]]] = [[] for _ in prompts]
    for begin in range(0, len(prompts), together):
        some = prompts[begin : begin + together]
        for first in range(0, samples, across):
            numbers = uniforms[begin : begin + together, first : first + across]
            drawn = _decode(model, some, numbers, temperature, top_p, advance).reshape(*numbers.shape[:2], -1)
            for said, rows in zip(out[begin:], drawn.tolist()):
                said += [(row[: row.index(EOS)], True) if EOS in row else (row, False) for row in rows]
    return out


def _decode(
    model: LlamaForCausalLM,
    prompts: Sequence[Sequence[int]],
    uniforms: np.ndarray,
    temperature: float,
    top_p: float,
    advance: Callable[[float], object],
) -> np.ndarray:
    """(prompts x samples, tokens) ids of one batch; what follows a row's first `</s>` means nothing."""
    device, (_, samples, steps) = model.lm_head.weight.device, uniforms.shape
    lengths = torch.tensor([len(p) for p in prompts], device=device)
    ids_PT = torch.from_numpy(padded([np.asarray(p) for p in prompts])).to(device)
    cache = _Cache(lengths, samples, steps, model.config.train_window)
    states_PTC = model.model(input_ids=ids_PT, use_cache=False, cache=cache).last_hidden_state
    # padding is on the right, where causal attention never looks, and positions count from each prompt's `<s>`
    states_RC = states_PTC[torch.arange(len(prompts)), lengths - 1].repeat_interleave(samples, 0)
    numbers_RN = torch.from_numpy(uniforms.reshape(-1, steps)).to(device)
    positions_R, drawn = lengths.repeat_interleave(samples), []
    going_R = torch.ones(len(positions_R), dtype=torch.bool, device=device)
    for step in range(steps):
        token_R = sample(model.lm_head(states_RC), numbers_RN[:, step], temperature, top_p)
        drawn.append(token_R)
        advance(int(going_R.sum()))
        going_R &= token_R != EOS
        if step + 1 == steps or not going_R.any():
            break
        cache.step = step
        position = (positions_R + step)[:, None]
        result = model.model(input_ids=token_R[:, None], position_ids=position, use_cache=False, cache=cache)
        states_RC = result.last_hidden_state[:, 0]
    return torch.stack(drawn, 1).cpu().numpy()


def sample(logits: torch.Tensor, numbers: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    """(R,) ids at `numbers` (R,) in [0, 1) of the nucleus of softmax(logits (R, V) / temperature).

    The nucleus is the fewest most likely ids that have `top_p` together; equal ones are taken in order of id.
    """
    logits = logits.double() / temperature
    logits[:, NEVER] = -torch.inf
    p, order = torch.softmax(logits, -1).sort(dim=-1, descending=True, stable=True)
    upto = p.cumsum(-1)
    last = ((upto - p < top_p) & (p > 0)).sum(-1, keepdim=True) - 1  # place of the least likely of the nucleus
    wanted = numbers[:, None] * upto.gather(-1, last)
    return order.gather(-1, torch.searchsorted(upto, wanted, right=True).minimum(last))[:, 0]


@dataclass
class _Cache:
    """Keys and values by layer: of P prompts (P, heads, T, d), and of their samples (P, heads, samples, tokens, d)."""

    lengths: torch.Tensor  # (P,) of the prompts
    samples: int
    room: int  # new tokens
    window: int  # tokens that a token sees, itself among them
    step: int | None = None  # of the new token that is fed; None while the prompts are
    prompts: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    new: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)


def _attend(module, q, k, v, mask, cache=None, **_):
    """transformers' attention interface, with a _Cache: q (rows, heads, T, d) -> (rows, T, heads, d)."""
    if cache.step is None:
        return _prefill(module, q, k, v, cache).transpose(1, 2), None
    (kp, vp), (kn, vn), now = cache.prompts[module.layer_idx], cache.new[module.layer_idx], cache.step
    P, G, T, D = kp.shape
    S = cache.samples
    for buffer, value in ((kn, k), (vn, v)):
        buffer[:, :, :, now] = value.view(P, S, G, D).transpose(1, 2)
    q = q.view(P, S, G, -1, D).transpose(1, 2) * D**-0.5  # queries of a group of heads, which share keys
    seen = slice(max(0, now + 1 - cache.window), now + 1)
    order, ends = torch.arange(T, device=q.device), cache.lengths[:, None]
    hidden = (order >= ends) | (order <= ends + now - cache.window)
    old = (q.reshape(P, G, -1, D) @ kp.transpose(-1, -2)).masked_fill_(hidden[:, None, None], -torch.inf)
    own = q @ kn[:, :, :, seen].transpose(-1, -2)
    weights = torch.softmax(torch.cat([old.view(*own.shape[:-1], T), own], -1), -1)
    out = (weights[..., :T].reshape(P, G, -1, T) @ vp).view(q.shape) + weights[..., T:] @ vn[:, :, :, seen]
    return out.transpose(1, 2).reshape(P * S, 1, -1, D), None


def _prefill(module, q, k, v, cache):
    """Causal attention over the prompts, whose keys and values are kept."""
    P, G, T, D = k.shape
    k, v = k.contiguous(), v.contiguous()  # else each step's product would copy them
    cache.prompts[module.layer_idx] = k, v
    cache.new[module.layer_idx] = tuple(k.new_empty(P, G, cache.samples, cache.room, D) for _ in "kv")
    starts = (torch.arange(T, device=q.device) - cache.window + 1).clamp(min=0)[None]
    groups = q.shape[1] // G
    k, v = (x.repeat_interleave(groups, dim=1) for x in (k, v))
    return PackedAttention.apply(q, k, v, attention_blocks(starts, q.dtype))


AttentionInterface.register("shared-prompt", _attend)
