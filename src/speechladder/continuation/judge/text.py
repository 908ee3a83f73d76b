"""Training text for the run's own judge: from plain text files, from transcripts, or from the world's grammar.

The text never contains the stories or the words of the prompts, because the judge is to measure their continuations.
"""

import json
import random
import re
import zlib
from collections.abc import Iterable, Iterator
from itertools import groupby, zip_longest
from pathlib import Path

from speechladder.continuation.prompt_table import STORIES
from speechladder.corpora.cuts import read_cuts
from speechladder.corpora.draw import hash_order
from speechladder.corpora.text import TextError, letters, normalise, spell_out
from speechladder.corpora.world.grammar import scene
from speechladder.corpora.world.stories import HELD_OUT, document, story, written
from speechladder.io.errors import UserError
from speechladder.io.files import atomic_folder, write_jsonl
from speechladder.io.progress import say
from speechladder.io.rejects import Rejects
from speechladder.io.tables import PROMPTS, read_table
from speechladder.io.text import text_lines
from speechladder.settings import Continuation

VALID = 0.04  # share of the documents for validation
SUFFIXES = (".txt", ".txt.gz")
LONGEST = 100  # words of a document; a longer paragraph is divided between sentences
USUAL = 40  # words; a shorter paragraph is joined with the next one, so that a dialogue is one document
RUN = 8  # words; natural texts that share so many consecutive words are the same text
FEWEST_WORDS = 3  # of a true continuation that is searched for as a whole; two words occur together by chance

_SENTENCE = re.compile(r"(?<=[.!?])[\"')\]\u201d\u2019_]*\s+")


def judge_documents(
    settings: Continuation,
    seed: int,
    files: list[Path],
    cuts: list[Path],
    prompts: Path,
    rejects: Rejects | None = None,
) -> tuple[list[str], list[str]]:
    """Return (train, valid): normalised documents of about `settings.judge_words` words in all.

    The source is `files` (.txt, .txt.gz; documents made of paragraphs, one file after the other in turn), else the
    train split of `cuts`, else the world's grammar with a random stream of its own. Some documents are left out. On the
    world these are documents with a sentence of a prompt's story. In natural text these are documents that share RUN
    consecutive words with a prompt of `prompts` (tables.PROMPTS) or contain its whole true continuation. Equal texts
    are in the same part. `rejects` gets each sentence of a file that cannot be spelt, which is left out. Raise
    UserError naming a file that cannot be read, or if there is too little text for both parts.
    """
    rejects = rejects or Rejects()
    table = read_table(prompts, PROMPTS, columns=["id", "part", "text"])
    if files:
        source = _without(_in_turn([_file_documents(path, rejects) for path in files]), table.to_pylist())
    elif cuts:
        say("judge: its text is the transcripts of the train split, on which the rungs are trained too; see judge_text")
        source = _without(_transcripts(cuts, seed), table.to_pylist())
    else:
        metadata = table.schema.metadata or {}
        stories = json.loads(metadata.get(STORIES.encode(), b"{}"))
        source = _world_documents(seed, {sentence for sentences in stories.values() for sentence in sentences})
    documents, words = [], 0
    for text in source:
        if words >= settings.judge_words:
            break
        documents.append(text)
        words += len(text.split())
    order = hash_order(sorted(set(documents)), seed, "judge", name=str)
    if len(order) < 2:
        where = ", ".join(map(str, files or cuts)) or "the world"
        left_out = f" (left out: {len(rejects.rows)}, the first is {rejects.rows[0]})" if rejects.rows else ""
        raise UserError(
            f"continuation.judge_text: {len(order)} documents in {where}{left_out} are too few to train and validate a "
            "judge; name longer text files, or raise continuation.judge_words"
        )
    valid = set(order[: max(1, round(VALID * len(order)))])
    return [t for t in documents if t not in valid], [t for t in documents if t in valid]


def write_judge_text(
    prompts_file: Path,
    out: Path,
    continuation: Continuation,
    files: list[Path] = (),
    cuts: list[Path] = (),
    seed: int = 0,
) -> None:
    """Write the training text of the run's own judge: a folder with train.txt and valid.txt, a document per line.

    With `files`, rejected.jsonl beside them lists what cannot be read or spelt, each with its reason.

    Args:
        prompts_file: continuation/prompts.parquet, whose text is left out
        out: folder continuation/judge_text to write
        files: plain text files (.txt, .txt.gz) to take the text from
        cuts: corpus/cuts.{shard}.jsonl.gz, used without --files: transcripts of the train split. Without both, the text
            comes from the world's grammar.
        seed: the run's seed
    """
    rejects = Rejects()
    parts = judge_documents(continuation, seed, files, cuts, prompts_file, rejects)
    with atomic_folder(out) as folder:
        if files:
            write_jsonl(folder / "rejected.jsonl", rejects.rows)
        for name, texts in zip(("train", "valid"), parts):
            (folder / f"{name}.txt").write_text("".join(f"{text}\n" for text in texts))
    train, valid = (sum(len(t.split()) for t in texts) for texts in parts)
    if rejects.rows:
        say(f"judge: {len(rejects.rows):,} sentences are left out ({out}/rejected.jsonl); the first: {rejects.rows[0]}")
    say(f"judge: {train:,} words of text to train on, {valid:,} to validate")


def _world_documents(seed: int, forbidden: set[str]) -> Iterator[str]:
    """Yield documents of the world without end.

    They include held-out sentences as often as the grammar makes them. The prompts' true continuations are held out,
    and a judge that never saw such sentences would find them unlikely.
    """
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
    texts = ((cut.id, cut.text) for path in cuts for cut in read_cuts(path) if cut.split == "train")
    return (text for _, text in hash_order(texts, seed, "judge", name=lambda row: row[0]))


def _in_turn(sources: list[Iterator[str]]) -> Iterator[str]:
    """Yield a document of each file, then the next of each, so that every file has its share of judge_words."""
    for texts in zip_longest(*sources):
        yield from (text for text in texts if text is not None)


def _paragraphs(path: Path, rejects: Rejects) -> Iterator[tuple[int, str]]:
    """Yield the blocks between blank lines, and the line at which each begins; reject those that are not UTF-8.

    Raise UserError naming the file if it cannot be read.
    """
    if not path.name.lower().endswith(SUFFIXES):
        raise UserError(f"continuation.judge_text: {path} is not plain text; name files {' or '.join(SUFFIXES)}")
    try:
        for filled, group in groupby(text_lines(path), key=lambda line: bool(line.text.strip())):
            if not filled:
                continue
            lines = list(group)
            bad = next((line for line in lines if line.problem), None)
            if bad:
                rejects.add(f"{path.name}:{bad.number}", bad.problem, path)
            else:
                yield lines[0].number, " ".join(line.text.strip() for line in lines)
    except FileNotFoundError:
        raise UserError(f"continuation.judge_text: {path}: no such file") from None
    except (EOFError, OSError, zlib.error) as error:
        raise UserError(f"continuation.judge_text: {path} is not readable as text ({error})") from None


def _sentences(paragraph: str, place: str, path: Path, rejects: Rejects) -> Iterator[str]:
    """Yield the words of each sentence; a sentence that cannot be spelt is rejected.

    A paragraph is spelt out before it is divided, since "10s. 6d." is one amount.
    """
    try:
        yield from map(letters, _SENTENCE.split(spell_out(paragraph)))
    except TextError:
        for sentence in _SENTENCE.split(paragraph):
            try:
                yield normalise(sentence)
            except TextError as error:
                rejects.add(place, str(error), path)


def _file_documents(path: Path, rejects: Rejects) -> Iterator[str]:
    """Yield normalised documents of USUAL to LONGEST words, as far as the paragraphs allow it."""
    held: list[str] = []
    for number, paragraph in _paragraphs(path, rejects):
        for sentence in _sentences(paragraph, f"{path.name}:{number}", path, rejects):
            words = sentence.split()
            if held and len(held) + len(words) > LONGEST:
                yield " ".join(held)
                held = []
            held += words
            while len(held) > LONGEST:  # a list or a table without full stops
                yield " ".join(held[:LONGEST])
                held = held[LONGEST:]
        if len(held) >= USUAL:
            yield " ".join(held)
            held = []
    if held:
        yield " ".join(held)


def _word_runs(text: str) -> Iterator[str]:
    words = text.split()
    return (" ".join(words[k : k + RUN]) for k in range(len(words) - RUN + 1))


def _without(documents: Iterable[str], rows: list[dict[str, str]]) -> Iterator[str]:
    """Yield the documents without text of a prompt."""
    texts = {(row["id"], row["part"]): row["text"] for row in rows}
    wholes = {id: text for (id, part), text in texts.items() if part == "whole"}
    runs = {run for text in wholes.values() for run in _word_runs(text)}
    ends = [text[len(texts[id, "prompt"]) + 1 :] for id, text in wholes.items()]
    ends = [f" {end} " for end in ends if len(end.split()) >= FEWEST_WORDS]
    for text in documents:
        if runs.isdisjoint(_word_runs(text)) and not any(end in f" {text} " for end in ends):
            yield text
