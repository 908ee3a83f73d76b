"""Sampled continuations of each prompt by the models of one rung, of a fixed duration.

Every continuation has its own stream of uniform numbers, which depends on the run's seed, the prompt, the model and the
sample. A token is the inverse of the nucleus' distribution function at its number. The composition of a batch can
therefore change a token only by rounding, and the arithmetic is float64 on the CPU and on a GPU. Logits of the default
run's speech rung differed by at most 1.4e-14 between batches of 72 and 6, and batches of 1, 3 and 64 give the same
tokens in the tests. This is not a proof, because transformers rounds to fp32 inside its RMSNorm and rotary embedding.
It also holds for one machine only: other CPUs and GPUs compute differently, which may change a token now and then. The
tokens of a GPU have not been compared with those of a CPU yet.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from speechladder.constants import FRAME_RATE
from speechladder.continuation.babble import Bigrams, train_tokens
from speechladder.continuation.decoding import generate
from speechladder.continuation.perplexity import BABBLE, TRUE
from speechladder.continuation.prompt_table import PARTS, read_prompt_parts
from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.io.hashing import stable_hash
from speechladder.io.progress import progress
from speechladder.io.tables import CONTINUATIONS, PROMPTS, write_table
from speechladder.lm.model import load_model, prepare_torch
from speechladder.rungs import registry
from speechladder.rungs.data import TokenData
from speechladder.rungs.tokenizers import BOS, UNK, Codec
from speechladder.rungs.utterances import read_items
from speechladder.settings import Continuation, Tokens


@dataclass(frozen=True)
class RungPrompt:
    """A prompt on one rung: its `ids`, which begin with `<s>`, and the symbols of its true continuation."""

    id: str
    ids: list[int]
    true: list[str]


def continue_rung(
    models: list[Path],
    tokens: Path,
    prompts_file: Path,
    out: Path,
    continuation: Continuation,
    units: Path | None = None,
    seed: int = 0,
) -> None:
    """Sample continuations of each prompt by the models of one rung: continuation/{rung}/tokens.parquet.

    The table (CONTINUATIONS) has the true continuation of each prompt, `samples` continuations by each model, and one
    by a bigram model of the rung's train tokens for the first `continuation.babble` prompts. A continuation has seconds
    x the rung's tokens per second tokens (exactly 50 per second on rungs of 50 Hz frames), at least one; a model's may
    end earlier with `</s>`. `<pad>`, `<s>` and `<unk>` are never sampled. The tokens depend on the seed,
    not on the setting `batch`. Raise UserError if a prompt cannot be written on the rung, or if a model is of another
    rung.

    Args:
        models: folders lm/{rung}/seed{n} of all seeds
        tokens: folder tokens/{rung}, whose train split the bigram model counts. Its meta.json has the settings by which
            prompts become tokens, as the corpus did.
        prompts_file: continuation/prompts.parquet
        out: continuation/{rung}/tokens.parquet to write
        units: continuation/units.parquet, for rungs of units
        seed: the run's seed
    """
    device = prepare_torch(threads=1)
    meta = read_json(tokens / "meta.json")
    rung, codec = registry.get(meta["rung"]), Codec(tokens / "tokenizer")
    prompts = read_rung_prompts(prompts_file, units, rung, codec, Tokens(**meta["settings"]["tokens"]))
    steps = new_tokens(continuation.seconds, rung, meta["tokens_per_second"])
    encoded = codec.encode(prompt.true for prompt in prompts)
    common = {"seed": TRUE, "sample": TRUE, "ended": False}
    rows = [{"id": p.id, "tokens": ids, "symbols": p.true} | common for p, ids in zip(prompts, encoded)]
    for folder in models:
        model_seed = read_json(folder / "train.json")["seed"]
        model = _load_model(folder, rung.name, codec, tokens).to(device)
        for prompt, samples in zip(prompts, _sample(model, prompts, continuation, steps, seed, model_seed, rung.name)):
            for sample, (ids, ended) in enumerate(samples):
                rows.append(_row(codec, prompt, model_seed, sample, ids, ended))
    babbled = prompts[: continuation.babble]
    if babbled:
        said = Bigrams(train_tokens(TokenData(tokens, "train")))
        streams = [uniforms(seed, prompt.id, BABBLE, 0, steps).tolist() for prompt in babbled]
        new = [said.babble(prompt.ids[-1], stream) for prompt, stream in zip(babbled, streams)]
        rows += [_row(codec, prompt, BABBLE, 0, ids, False) for prompt, ids in zip(babbled, new)]
    write_table(out, rows, CONTINUATIONS, rung=rung.name)


def _row(codec: Codec, prompt: RungPrompt, seed: int, sample: int, ids: list[int], ended: bool) -> dict[str, Any]:
    """A row of CONTINUATIONS: the new ids after a prompt."""
    symbols = codec.decode(prompt.ids + ids)[len(codec.decode(prompt.ids)) :]
    return {"id": prompt.id, "seed": seed, "sample": sample, "tokens": ids, "symbols": symbols, "ended": ended}


def _load_model(folder: Path, rung: str, codec: Codec, tokens: Path) -> Any:
    """The model in `folder`. Raise UserError if it is not of this rung."""
    trained_on = read_json(folder / "train.json")["rung"]
    model = load_model(folder)
    if trained_on != rung or model.config.vocab_size != codec.vocab_size:
        raise UserError(
            f"{folder}: a model of rung {trained_on} with {model.config.vocab_size} ids, but {tokens} is of {rung} "
            f"with {codec.vocab_size}; give the models of this rung, or run train_lm again"
        )
    return model


def _sample(
    model: Any, prompts: list[RungPrompt], settings: Continuation, steps: int, seed: int, model_seed: int, rung: str
) -> list[list[tuple[list[int], bool]]]:
    """For each prompt and sample the new ids, and whether `</s>` ended them."""
    streams = [
        [uniforms(seed, prompt.id, model_seed, sample, steps) for sample in range(settings.samples)]
        for prompt in prompts
    ]
    label = f"continue {rung} seed {model_seed}"
    with progress(label, len(prompts) * settings.samples * steps, "tokens/s") as meter:
        return generate(
            model,
            [prompt.ids for prompt in prompts],
            np.array(streams),
            settings.temperature,
            settings.top_p,
            settings.batch,
            meter.advance,
        )


def new_tokens(seconds: float, rung: registry.Rung, tokens_per_second: float) -> int:
    """Return the number of tokens of a continuation of that duration, at least 1."""
    rate = FRAME_RATE if rung.transcribed_as in ("phone-frames", "units") else tokens_per_second
    return max(1, round(seconds * rate))


def uniforms(seed: int, prompt: str, model: int, sample: int, count: int) -> np.ndarray:
    """Return the stream of one continuation, (count,) float64 in [0, 1). A shorter stream begins a longer one."""
    return np.random.default_rng(stable_hash(seed, "continuation", prompt, model, sample)).random(count)


def read_rung_prompts(
    prompts: str | Path, units: str | Path | None, rung: registry.Rung, codec: Codec, options: Tokens
) -> list[RungPrompt]:
    """Return the prompts of a table (PROMPTS) on a rung, in its order, tokenised as the corpus was.

    The true continuation is the symbols of the part `whole` after those of the part `prompt` (see `_split`). Raise
    UserError naming a prompt if parts are missing or do not match, or if a symbol is unknown.
    """
    read = {u.id: u for u in read_items(prompts, units, rung.needs, options, PROMPTS)}
    found = []
    for id, parts in read_prompt_parts(prompts, ["item"]).items():
        symbols, true = _split(rung, *(read[parts[part]["item"]] for part in PARTS))
        if true is None:
            raise UserError(f"{prompts}: {id!r} on rung {rung.name}: the prompt is not the beginning of the whole")
        ids, more = codec.encode([symbols, true])
        if UNK in ids or UNK in more:
            unknown = sorted({*symbols, *true} - {*codec.symbols})
            raise UserError(f"{prompts}: {id!r} cannot be written on rung {rung.name}, which lacks {unknown[:5]}")
        found.append(RungPrompt(id, [BOS, *ids], true))
    return found


def _split(
    rung: registry.Rung, prompt: registry.Utterance, whole: registry.Utterance
) -> tuple[list[str], list[str] | None]:
    """Symbols of the prompt, and of the whole after it; None if the whole does not begin with the prompt.

    Frames after the cut are taken from the whole by their number, because the encoder's output near the cut depends on
    the audio behind it. The first run of units after the cut is left out if the prompt ends with the same unit. A pause
    at the cut belongs to the prompt. The exception is a whole that would then not begin with the prompt, because
    tokens.word_boundary puts a boundary before the pause: there the prompt ends before the pause.
    """
    symbols = rung.function(prompt)
    if rung.transcribed_as == "unit-runs":
        rest = replace(whole, units=whole.units[len(prompt.units) :], frames=whole.frames - prompt.frames)
        true = rung.function(rest)
        return symbols, true[1:] if true[:1] == symbols[-1:] else true
    everything = rung.function(whole)
    if rung.transcribed_as in ("phone-frames", "units"):  # a symbol per frame; external units may have one more or less
        return symbols, everything[len(symbols) :]
    if symbols[-1:] == ["SIL"] and everything[: len(symbols)] != symbols:
        symbols = symbols[:-1]
    return symbols, everything[len(symbols) :] if everything[: len(symbols)] == symbols else None
