"""The model card of a trained language model."""

import subprocess
from pathlib import Path
from typing import Any

from speechladder.io.files import atomic
from speechladder.settings import HOW, LM


def commit() -> str:
    """The checkout's commit, with + when files differ from it; 'unknown' outside a checkout of speechladder."""
    try:
        # an installed package may lie within a checkout of something else
        if Path(_git("rev-parse", "--show-toplevel")).resolve() != Path(__file__).resolve().parents[3]:
            return "unknown"
        return _git("describe", "--always", "--abbrev=12", "--dirty=+") or "unknown"
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _git(*words: str) -> str:
    here = Path(__file__).resolve().parent
    done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def write_card(path: Path, summary: dict[str, Any], settings: LM, meta: dict[str, Any]) -> None:
    """Write README.md of an lm/{rung}/seed{n} folder from train.json's content, the settings and tokens' meta.json."""
    s = summary
    fields = settings.model_dump(mode="json", exclude={"seeds", *HOW})
    rows = "\n".join(f"| {k} | {v} |" for k, v in fields.items())
    source = f"from the text LM {settings.init}" if settings.init else "from random weights"
    text = f"""---
library_name: transformers
pipeline_tag: text-generation
tags: [speechladder]
---
# {s["rung"]}, seed {s["seed"]}

A Llama of {s["parameters"]:,} parameters, trained {source} by speechladder on one rung of its ladder:
`{s["rung"]}`, {s["vocab_size"]} ids, {s["tokens_per_second"]:.2f} tokens per second of speech. It is made to be
compared with the models of the other rungs, which saw the same utterances, and is of no other use.

## Data
{meta["utterances"]["train"]:,} training utterances, {meta["seconds"]["train"] / 3600:.2f} hours, \
{meta["tokens"]["train"]:,} tokens with `<s>` and `</s>`; {meta["utterances"]["valid"]:,} validation utterances, \
{meta["seconds"]["valid"] / 3600:.2f} hours. A document is an utterance; attention never crossed documents.

## Training
{s["steps"]:,} steps, {s["train_tokens"]:,} tokens, {s["passes"]:.2f} passes; stopped by: {s["stopped"]}.
The weights are those of step {s["best_step"]:,}, the best on validation:
**{s["valid_bits_per_token"]:.4f} bits per token,
{s["valid_bits_per_second"]:.3f} bits per second of speech** (`</s>` included). Computed in {s["precision"]}.
`log.jsonl` is the log, `train.json` these figures, `learning/` the weights after that many tokens.

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
{settings.window} tokens of context (`train_window` in config.json); speechladder's own scores look no further back.
"""
    with atomic(path) as temporary:
        temporary.write_text(text)
