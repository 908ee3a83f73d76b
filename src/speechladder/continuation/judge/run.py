"""The judge `run`: a text LM trained in the run, on text that no rung sees, by the rungs' own packing and training.

judge/tokens is a folder as tokens/{rung} (text-bpe's alphabet and vocabulary), judge/model one as lm/{rung}/seed{n}.
They are outputs of their own, so that the checkpoints of an interrupted training, judge/model.checkpoints, lie beside
what Snakemake deletes before a job.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from speechladder.io.errors import UserError
from speechladder.rungs import registry
from speechladder.rungs.pack import pack_utterances
from speechladder.rungs.registry import Utterance
from speechladder.settings import LM, Continuation, Tokens

WORDS_PER_SECOND = 2.5  # English read aloud, 150 words a minute
SPLITS = ("train", "valid")


def train_judge(
    text: Path, tokens: Path, model: Path, seed: int, settings: Continuation, lm: LM, options: Tokens
) -> dict[str, Any]:
    """Pack text/train.txt and text/valid.txt (a normalised document per line) and train; returns train.json's content.

    The size and schedule are those of `lm`, but for `judge_steps`; there is no learning curve. Raises UserError when
    a file is missing or empty or holds a letter outside a-z, SystemExit(75) after SIGTERM (the same call goes on).
    """
    from speechladder.lm.train import train

    pack_text(text, tokens, options)
    return train(tokens, model, seed, lm.model_copy(update={"max_steps": settings.judge_steps, "learning_points": 0}))


def pack_text(text: Path, out: Path, options: Tokens) -> None:
    """Write judge/tokens. A document lasts as long as its words take to be read aloud: text has no time of its own,
    and with seconds, lm.valid_seconds and bits per second of the judge mean about what they do for a rung."""
    rung = replace(registry.get("text-bpe"), name="judge")
    lines = {split: _lines(Path(text) / f"{split}.txt") for split in SPLITS}
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


def _lines(path: Path) -> list[str]:
    try:
        lines = [" ".join(line.split()) for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run the stage that writes the judge's text") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error}); delete it and run again") from None
    found = [line for line in lines if line]
    if not found:
        raise UserError(f"{path}: no documents; give the judge more text (continuation.judge_text, judge_words)")
    return found
