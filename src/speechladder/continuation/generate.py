"""Let the models of one rung go on from each prompt: sampled tokens, to a fixed duration.

Every continuation draws from its own stream of uniform numbers, named by the run's seed, prompt, model and sample, and
a token is the inverse of the nucleus' distribution function at its number. So the batch can change a token by rounding
alone, and the arithmetic is float64, on the CPU as on a GPU: logits of the default run's speech rung differed by
1.4e-14 at most between batches of 72 and 6, and batches of 1, 3 and 64 give the same tokens in the tests. That is not
a proof (transformers rounds to fp32 inside its RMSNorm and rotary embedding), and it holds on one machine: another
one's mathematics, a GPU's too, may turn a token now and then. No GPU's tokens were yet held against a CPU's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from speechladder.constants import FRAME_RATE
from speechladder.continuation.decoding import generate
from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.io.hashing import stable_hash
from speechladder.io.progress import progress
from speechladder.io.tables import CONTINUATIONS, PROMPTS, read_table, write_table
from speechladder.lm.model import load_model, prepare_torch
from speechladder.rungs import registry
from speechladder.rungs.tokenizers import BOS, UNK, Codec
from speechladder.rungs.utterances import read_items
from speechladder.settings import Continuation, Tokens


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
        model = load_model(folder).to(device)
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
        rest = replace(whole, units=whole.units[len(prompt.units) :], frames=whole.frames - prompt.frames)
        true = rung.function(rest)
        return begun, true[1:] if true[:1] == begun[-1:] else true
    everything = rung.function(whole)
    if rung.heard in ("phone-frames", "units"):  # a symbol a frame; the user's own units may be one more or less
        return begun, everything[len(begun) :]
    if begun[-1:] == ["SIL"] and everything[: len(begun)] != begun:
        begun = begun[:-1]
    return begun, everything[len(begun) :] if everything[: len(begun)] == begun else None
