"""The folder lm/{rung}/seed{n}: model, tokenizer, log, figures, and the model card. Loads no torch."""

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechladder.io.files import atomic_folder, read_json, write_json
from speechladder.io.hashing import files_sha256
from speechladder.settings import EXECUTION_FIELDS, LM

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MARK = "train.json"  # the file that a finished model has, and no other
# The data sets of each corpus as the Hugging Face hub names them, and what the card says about them.
DATASETS: dict[str, tuple[list[str], str]] = {
    "world": ([], "The speech is generated: sentences of a small grammar, spoken by espeak-ng.\n"),
    "librispeech": (["openslr/librispeech_asr"], "The speech is that of LibriSpeech (CC BY 4.0).\n"),
    "libriheavy": (["pkufool/libriheavy"], "The speech is that of Libri-Light, with the transcripts of LibriHeavy.\n"),
    "local": ([], "The speech is the user's own.\n"),
}
OPTIMIZERS = {"muon": "Muon (the matrices within the layers) and AdamW (the rest)", "adamw": "AdamW"}
OPEN = ("world", "librispeech", "libriheavy")  # corpora whose terms allow weights under the license of this project


def write_output(
    model: "PreTrainedModel",
    tokens: Path,
    running: Path,
    out: Path,
    summary: dict[str, Any],
    settings: LM,
    meta: dict[str, Any],
    corpus: str = "",
) -> None:
    """Write HF model and tokenizer, card, train.json, and the log and snapshots from `running`: all or nothing.

    `meta` is tokens/{rung}/meta.json, `corpus` the name of the corpus, NAME-synthesized if its texts are spoken again,
    or "". The workflow knows a finished model by its train.json: `summary`, and a digest of all weights, so that other
    weights are never taken for these.
    """
    with atomic_folder(out) as folder:
        model.save_pretrained(folder)
        config = folder / "config.json"
        write_json(config, with_rope_fields(read_json(config)))
        shutil.copytree(tokens / "tokenizer", folder, dirs_exist_ok=True)
        tokenizer = folder / "tokenizer_config.json"
        write_json(tokenizer, read_json(tokenizer) | {"model_max_length": settings.window})
        shutil.copyfile(running / "log.jsonl", folder / "log.jsonl")
        if (running / "learning").is_dir():
            shutil.copytree(running / "learning", folder / "learning")
        (folder / "README.md").write_text(model_card(summary, settings, meta, corpus))
        weights = files_sha256(sorted(folder.rglob("*.safetensors")))
        write_json(folder / MARK, summary | {"weights_sha256": weights})


def with_rope_fields(config: dict[str, Any]) -> dict[str, Any]:
    """config.json with the rotary positions as transformers before 5 and servers read them, too.

    Those know `rope_theta` and `rope_scaling`, and would take their own base without a word. transformers 5 writes both
    in `rope_parameters` alone.
    """
    rope = config.get("rope_parameters")
    if not isinstance(rope, dict) or "rope_theta" not in rope:
        return config  # another kind of positions, or one set for each kind of layer, which those cannot express
    scaling = {name: value for name, value in rope.items() if name != "rope_theta"}
    plain = scaling.get("rope_type", "default") == "default"
    return config | {"rope_theta": rope["rope_theta"], "rope_scaling": None if plain else scaling}


def model_card(summary: dict[str, Any], settings: LM, meta: dict[str, Any], corpus: str = "") -> str:
    """README.md of an lm/{rung}/seed{n} folder, as the Hugging Face hub reads it."""
    s = summary
    fields = settings.model_dump(mode="json", exclude={"seeds", *EXECUTION_FIELDS})
    rows = "\n".join(f"| {k} | {v} |" for k, v in fields.items())
    source = f"from the text LM {s['init']}" if settings.init else "from random weights"
    header, speech = _metadata(s["init"], corpus)
    return f"""---
{header}
---
# {s["rung"]}, seed {s["seed"]}

A language model ({settings.architecture}) of {s["parameters"]:,} parameters, trained {source} by speechladder on one
rung of its ladder: `{s["rung"]}`, {s["vocab_size"]} ids, {s["tokens_per_second"]:.2f} tokens per second of speech. Its
purpose is the comparison with the models of the other rungs, which are trained on the same utterances.

## Data
{speech}{meta["utterances"]["train"]:,} training utterances, {meta["seconds"]["train"] / 3600:.2f} hours, \
{meta["tokens"]["train"]:,} tokens with `<s>` and `</s>`; {meta["utterances"]["valid"]:,} validation utterances, \
{meta["seconds"]["valid"] / 3600:.2f} hours. A document is an utterance; attention never crosses documents.

## Training
{s["steps"]:,} steps, {s["train_tokens"]:,} tokens, {s["passes"]:.2f} passes; stopped by: {s["stopped"]}.
Optimiser: {OPTIMIZERS[s["optimizer"]]}; learning rate: {settings.schedule} after {settings.warmup_steps} warm-up steps.
The weights are those of step {s["best_step"]:,}, the best on validation:
**{s["valid_bits_per_token"]:.4f} bits per token,
{s["valid_bits_per_second"]:.3f} bits per second of speech** (`</s>` included). Computed in {s["precision"]}.
`log.jsonl` is the log, `train.json` holds these figures, `learning/` the weights after that many tokens.

| setting | value |
|---|---|
{rows}

Commit {commit()}.

## Use
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
```
A sequence begins with `<s>` (id {meta["bos_id"]}). No prediction was trained on more than
{settings.window} tokens of context (`train_window` in config.json, `model_max_length` of the tokenizer); the scores of
speechladder look no further back.

## Upload
`hf upload OWNER/NAME FOLDER`. Check `license` above first.
"""


def _metadata(init: str | None, corpus: str) -> tuple[str, str]:
    """The YAML header of a card, and a sentence on the speech."""
    name, _, spoken = corpus.partition("-")
    datasets, speech = DATASETS.get(name, ([], ""))
    if spoken:
        speech = f"The texts are those of the corpus {name}. The speech is that of espeak-ng, which speaks them.\n"
    known = name in OPEN and not init
    lines = ["library_name: transformers", "pipeline_tag: text-generation", "tags: [speechladder]", "language: en"]
    # weights that follow from a user's speech or another model are under terms that are not known here
    lines += [f"license: {'apache-2.0' if known else 'unknown'}", f"datasets: [{', '.join(datasets)}]"]
    if init and init.count("/") == 1 and not Path(init).exists():
        lines.append(f"base_model: {init}")
    return "\n".join(lines), speech


def commit() -> str:
    """The commit of the checkout, with + when files differ from it; 'unknown' outside a checkout of speechladder."""
    try:
        # an installed package may lie within a checkout of another project
        if Path(_git("rev-parse", "--show-toplevel")).resolve() != Path(__file__).resolve().parents[3]:
            return "unknown"
        return _git("describe", "--always", "--abbrev=12", "--dirty=+") or "unknown"
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _git(*words: str) -> str:
    here = Path(__file__).resolve().parent
    done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
