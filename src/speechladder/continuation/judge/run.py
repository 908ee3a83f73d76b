"""The judge `run`: a text LM trained in the run, on text that no rung sees, by the rungs' own packing and training.

judge/tokens is a folder as tokens/{rung} (text-bpe's alphabet and vocabulary), judge/model one as lm/{rung}/seed{n}.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from speechladder.corpora.text import normalise as letters
from speechladder.io.errors import UserError
from speechladder.rungs import registry
from speechladder.rungs.pack import pack_utterances
from speechladder.rungs.registry import Utterance
from speechladder.settings import LM, Continuation, Tokens

WORDS_PER_SECOND = 2.5  # English read aloud, 150 words a minute
SPLITS = ("train", "valid")
FROM_SCRATCH = {"init": None, "max_tokens": None, "max_hours": None, "processes": 1}


Normalise = Callable[[str], str]


def as_read(text: str, normalise: Normalise) -> str:
    """Text as the run's judge reads it, in training and when it judges: through the ASR's normaliser, then spelt in a-z
    and apostrophes, since Whisper's writes numbers as digits, which the judge's alphabet lacks."""
    return letters(normalise(text))


def train_judge(
    text: Path, out: Path, seed: int, settings: Continuation, lm: LM, options: Tokens, normalise: Normalise = str
) -> dict[str, Any]:
    """Pack text/train.txt and text/valid.txt (a document per line) and train: the folder `out`.

    The size and schedule are those of `lm`, but for `judge_steps`, from scratch and in one process; there is no
    learning curve. Returns train.json's
    content. Until it is done all lies in judge.checkpoints beside it, from which the same call goes on. Raises
    UserError when a file is missing or empty, SystemExit(75) after SIGTERM.
    """
    from speechladder.lm.train import train_lm
    from speechladder.lm.warm_start import with_init_dimensions

    out = Path(out)
    running = out.with_name(out.name + ".checkpoints")
    pack_text(text, running / "tokens", options, normalise)
    lm = with_init_dimensions(lm).model_copy(
        update={"max_steps": settings.judge_steps, "learning_points": 0, **FROM_SCRATCH}
    )
    summary = train_lm(running / "tokens", running / "model", seed, lm.model_copy(update={"tracking": "none"}))
    if out.exists():
        shutil.rmtree(out)
    running.replace(out)
    return summary


def pack_text(text: Path, out: Path, options: Tokens, normalise: Normalise = str) -> None:
    """Write judge/tokens. A document lasts as long as its words take to be read aloud: text has no time of its own,
    and with seconds, lm.valid_seconds and bits per second of the judge mean about what they do for a rung."""
    rung = replace(registry.get("text-bpe"), name="judge")
    lines = {split: _lines(Path(text) / f"{split}.txt", normalise) for split in SPLITS}
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


def _lines(path: Path, normalise: Normalise) -> list[str]:
    try:
        lines = [as_read(line, normalise) for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run the stage that writes the judge's text") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error}); delete it and run again") from None
    found = [line for line in lines if line]
    if not found:
        raise UserError(f"{path}: no documents; give the judge more text (continuation.judge_text, judge_words)")
    return found
