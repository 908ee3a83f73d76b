"""The judge `run`: a text LM that the run trains itself, on text that no rung's model is trained on.

It is packed and trained by the same code as the rungs' models. continuation/judge/tokens has the layout of
tokens/{rung}, with the alphabet and vocabulary of text-bpe; continuation/judge/model that of lm/{rung}/seed{n}.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from speechladder.continuation.asr import load_normaliser
from speechladder.corpora.text import normalise as spell_out
from speechladder.io.errors import UserError
from speechladder.rungs import registry
from speechladder.rungs.pack import pack_utterances
from speechladder.rungs.registry import Utterance
from speechladder.settings import LM, Continuation, Tokens

WORDS_PER_SECOND = 2.5  # of English that is read aloud: 150 words a minute
SPLITS = ("train", "valid")
FROM_SCRATCH = {"init": None, "max_tokens": None, "max_hours": None, "processes": 1}

Normalise = Callable[[str], str]


def judge_spelling(text: str, normalise: Normalise) -> str:
    """Return text as the run's judge reads it, in training and in judging.

    The text goes through the ASR's normaliser and is then spelt in a-z and apostrophes, because Whisper's normaliser
    writes numbers as digits, which the judge's alphabet lacks. Raise TextError if it cannot be spelt.
    """
    return spell_out(normalise(text))


def train_judge(
    text: Path, out: Path, continuation: Continuation, lm: LM, tokens: Tokens, seed: int = 0
) -> dict[str, Any]:
    """Train the run's own judge on text that no rung's model is trained on: the folder continuation/judge.

    The model has the size and schedule of `lm`, except that it takes judge_steps steps from random weights, in one
    process and without a learning curve. Until it is finished, everything is in {out}.checkpoints, from which the same
    command continues after an interruption. Return the contents of train.json. Raise UserError if a file is missing or
    empty, SystemExit(75) after SIGTERM.

    Args:
        text: folder continuation/judge_text with train.txt and valid.txt, a document per line
        out: folder continuation/judge to write, with tokens and model
        seed: seed of the weights and of the order of the documents
    """
    os.environ["OMP_NUM_THREADS"] = str(lm.threads)  # before torch is imported
    if continuation.asr != "whisper":  # whose normaliser may be on the hub
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from speechladder.lm.train import train_lm
    from speechladder.lm.warm_start import with_init_dimensions

    running = out.with_name(out.name + ".checkpoints")
    pack_judge_text(text, running / "tokens", tokens, load_normaliser(continuation))
    lm = with_init_dimensions(lm).model_copy(
        update={"max_steps": continuation.judge_steps, "learning_points": 0, **FROM_SCRATCH}
    )
    summary = train_lm(running / "tokens", running / "model", seed, lm.model_copy(update={"tracking": "none"}))
    if out.exists():
        shutil.rmtree(out)
    running.replace(out)
    return summary


def pack_judge_text(text: Path, out: Path, options: Tokens, normalise: Normalise = str) -> None:
    """Write continuation/judge/tokens from text/train.txt and text/valid.txt.

    Text has no duration, so a document lasts as long as it takes to read it aloud. With that, lm.valid_seconds and bits
    per second mean nearly the same for the judge as for a rung. Raise UserError if a file is missing or empty.
    """
    rung = replace(registry.get("text-bpe"), name="judge")
    lines = {split: _read_lines(text / f"{split}.txt", normalise) for split in SPLITS}
    options = options.model_copy(update={"text_pauses": False})  # written text has no pauses
    documents = [
        (split, _document(f"{split}-{number:06d}", line, options))
        for split in SPLITS
        for number, line in enumerate(lines[split])
    ]

    def train_symbols() -> Iterator[list[str]]:
        return (rung.function(utterance) for split, utterance in documents if split == "train")

    seconds = sum(utterance.seconds for _, utterance in documents)
    pack_utterances(rung, lambda: documents, train_symbols, seconds, out, options)


def _document(id: str, text: str, options: Tokens) -> Utterance:
    seconds = len(text.split()) / WORDS_PER_SECOND
    return Utterance(id, text, [], [], None, 0, seconds, options)


def _read_lines(path: Path, normalise: Normalise) -> list[str]:
    """The documents of a file, without empty ones, as the judge reads them."""
    try:
        lines = [judge_spelling(line, normalise) for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run rule make_judge_text, which writes it") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error}); delete it and run again") from None
    found = [line for line in lines if line]
    if not found:
        raise UserError(f"{path}: no documents; give the judge more text (continuation.judge_text, judge_words)")
    return found
