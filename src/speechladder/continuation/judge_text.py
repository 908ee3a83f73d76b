"""Text for the judge that is trained in the run: from the world's grammar, from plain text files, or transcripts.

What the judge measures is kept from it: it never reads the stories or the words that the prompts were cut from.
"""

import gzip
import json
import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from speechladder.continuation.prompts import STORIES
from speechladder.corpora.cuts import read_cuts
from speechladder.corpora.text import normalise
from speechladder.corpora.world.grammar import scene
from speechladder.corpora.world.stories import HELD_OUT, document, story, written
from speechladder.io.errors import UserError
from speechladder.io.files import atomic_folder
from speechladder.io.hashing import share
from speechladder.io.progress import say
from speechladder.io.tables import PROMPTS, read_table
from speechladder.settings import Continuation

VALID = 0.04  # share of the documents
SUFFIXES = (".txt", ".txt.gz")
LONGEST = 100  # words of a document; a longer paragraph is divided between its sentences
USUAL = 40  # words; shorter paragraphs are joined with the next, so that a dialogue is one document
RUN = 8  # words in a row that natural text shares with a prompt only when it is the same text
FEWEST_WORDS = 3  # of a continuation that is looked for as a whole: two words in a row occur anywhere

_SENTENCE = re.compile(r"(?<=[.!?])[\"')\]\u201d\u2019_]*\s+")


def judge_documents(
    settings: Continuation, seed: int, files: list[Path], cuts: list[Path], prompts: Path
) -> tuple[list[str], list[str]]:
    """(train, valid): normalised texts of about `settings.judge_words` words in all, one per document.

    From `files` (.txt, .txt.gz: documents of paragraphs, the files in turn), else from the train split of `cuts`,
    else from the world's grammar, drawn from a stream of its own. Left out: documents with a sentence of a prompt's
    story (world); documents that share RUN words in a row with a prompt of `prompts` (tables.PROMPTS) or contain its
    whole continuation (natural text). Equal texts fall on the same side. Raises UserError naming a file that cannot be
    read, and when there is too little text for both sides.
    """
    table = read_table(prompts, PROMPTS, columns=["id", "part", "text"])
    if files:
        source = _without(_in_turn([_file_documents(path) for path in files]), table.to_pylist())
    elif cuts:
        say("judge: it is trained on the transcripts of the train split, which the rungs saw too; see judge_text")
        source = _without(_transcripts(cuts, seed), table.to_pylist())
    else:
        metadata = table.schema.metadata or {}
        stories = json.loads(metadata.get(STORIES.encode(), b"{}"))
        source = _world(seed, {sentence for sentences in stories.values() for sentence in sentences})
    documents, words = [], 0
    for text in source:
        if words >= settings.judge_words:
            break
        documents.append(text)
        words += len(text.split())
    order = sorted(set(documents), key=lambda text: (share(seed, "judge", text), text))
    if len(order) < 2:
        where = ", ".join(map(str, files or cuts)) or "the world"
        raise UserError(
            f"continuation.judge_text: {len(order)} documents in {where} are too few to train and validate a judge; "
            "name longer text files, or raise continuation.judge_words"
        )
    valid = set(order[: max(1, round(VALID * len(order)))])
    return [t for t in documents if t not in valid], [t for t in documents if t in valid]


def write_judge_text(
    settings: Continuation, seed: int, files: list[Path], cuts: list[Path], prompts: Path, out: Path
) -> None:
    """Write the folder `out` with train.txt and valid.txt, a document per line (see `judge_documents`)."""
    parts = judge_documents(settings, seed, files, cuts, prompts)
    with atomic_folder(out) as folder:
        for name, texts in zip(("train", "valid"), parts):
            (folder / f"{name}.txt").write_text("".join(f"{text}\n" for text in texts))
    train, valid = (sum(len(t.split()) for t in texts) for texts in parts)
    say(f"judge: {train:,} words of text to train on, {valid:,} to validate")


def _world(seed: int, forbidden: set[str]) -> Iterator[str]:
    """Documents as the rungs hear them, without end; held-out ones among them, as often as the grammar says them,
    since the prompts' true continuations are held out and a judge that never met such sentences would be surprised."""
    number = 0
    while True:
        rng = random.Random(f"judge/{seed}/{number}")
        number += 1
        if rng.randrange(HELD_OUT):
            sentences = list(document(rng).sentences)
        else:
            sentences = story(scene(rng), rng.choice((4, 5, 5, 6)), rng, reserved=True)
        if forbidden.isdisjoint(sentences):
            yield normalise(written(sentences))


def _transcripts(cuts: list[Path], seed: int) -> Iterator[str]:
    texts = [
        (share(seed, "judge", cut.id), cut.text) for path in cuts for cut in read_cuts(path) if cut.split == "train"
    ]
    return (text for _, text in sorted(texts))


def _in_turn(sources: list[Iterator[str]]) -> Iterator[str]:
    """One document of each file, then the next of each, ...: all files have their share of judge_words."""
    while sources:
        left = []
        for source in sources:
            text = next(source, None)
            if text is not None:
                yield text
                left.append(source)
        sources = left


def _paragraphs(path: Path) -> Iterator[str]:
    """Blocks between blank lines, streamed; raises UserError naming the file."""
    if not path.name.lower().endswith(SUFFIXES):
        raise UserError(f"continuation.judge_text: {path} is not plain text; name files {' or '.join(SUFFIXES)}")
    lines: list[str] = []
    try:
        opener = gzip.open if path.name.lower().endswith(".gz") else open
        with opener(path, "rt", encoding="utf-8-sig", errors="replace") as handle:
            for line in handle:
                if line.strip():
                    lines.append(line.strip())
                elif lines:
                    yield " ".join(lines)
                    lines = []
    except FileNotFoundError:
        raise UserError(f"continuation.judge_text: {path}: no such file") from None
    except (EOFError, OSError) as error:
        raise UserError(f"continuation.judge_text: {path} is not readable as text ({error})") from None
    if lines:
        yield " ".join(lines)


def _file_documents(path: Path) -> Iterator[str]:
    """Normalised documents of USUAL to LONGEST words, where the paragraphs allow it."""
    held: list[str] = []
    for paragraph in _paragraphs(path):
        for sentence in _SENTENCE.split(paragraph):
            words = normalise(sentence).split()
            if held and len(held) + len(words) > LONGEST:
                yield " ".join(held)
                held = []
            held += words
            while len(held) > LONGEST:  # no full stop in sight: a list, a table
                yield " ".join(held[:LONGEST])
                held = held[LONGEST:]
        if len(held) >= USUAL:
            yield " ".join(held)
            held = []
    if held:
        yield " ".join(held)


def _runs(text: str) -> Iterator[str]:
    words = text.split()
    return (" ".join(words[k : k + RUN]) for k in range(len(words) - RUN + 1))


def _without(documents: Iterable[str], rows: list[dict[str, str]]) -> Iterator[str]:
    """The documents that do not hold a prompt's text."""
    texts = {(row["id"], row["part"]): row["text"] for row in rows}
    wholes = {id: text for (id, part), text in texts.items() if part == "whole"}
    runs = {run for text in wholes.values() for run in _runs(text)}
    ends = [text[len(texts[id, "prompt"]) + 1 :] for id, text in wholes.items()]
    ends = [f" {end} " for end in ends if len(end.split()) >= FEWEST_WORDS]
    for text in documents:
        if runs.isdisjoint(_runs(text)) and not any(end in f" {text} " for end in ends):
            yield text
