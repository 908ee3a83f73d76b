"""Alignment with the Montreal Forced Aligner: all utterances in one run of `mfa align`."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from speechladder.alignment.base import Aligned, AlignmentError, Answer, Request, audible_samples
from speechladder.alignment.mfa.command import common_options, log_lines, run_mfa
from speechladder.alignment.mfa.corpus import MFACorpus
from speechladder.alignment.mfa.dictionary import pronounce_all, read_dictionary
from speechladder.alignment.textgrid import read_alignment
from speechladder.constants import SAMPLE_RATE
from speechladder.io.audio import AudioError
from speechladder.io.errors import UserError
from speechladder.io.files import work_folder
from speechladder.io.progress import no_progress, say

NOT_FOUND = "not aligned: MFA wrote no TextGrid; the text does not fit the audio"


@dataclass(slots=True)
class _Entry:
    """A request without its samples: where it is in MFA's corpus, or why it is not there."""

    id: str
    spoken: list[str]  # the words of the transcript
    written: list[str]  # the same words as the .lab file has them
    stem: str = ""
    seconds: float = 0.0
    error: AlignmentError | AudioError | None = None


class MFA:
    """Aligner: MFA with the models of a folder: acoustic.zip, dictionary.dict and, optionally, g2p.zip.

    Corpus, output and MFA's own temporary files lie in a folder below `work`, which is removed after the last answer.
    `jobs`: MFA's processes. Words that the dictionary lacks (those of items, for example) are pronounced by g2p.zip.
    """

    name = "mfa"

    def __init__(self, models: Path, work: Path, jobs: int = 1) -> None:
        for file, what in (("acoustic.zip", "an acoustic model"), ("dictionary.dict", "a dictionary")):
            if not (models / file).is_file():
                raise UserError(f"{models}: holds no {file} ({what}); rule prepare_mfa or train_mfa makes the folder")
        self.models, self.work, self.jobs = models, work, jobs

    def align_all(
        self, requests: Iterable[Request], advance: Callable[[float], None] = no_progress
    ) -> Iterator[Answer]:
        """As `base.Aligner` describes. All requests are read before the first answer; only texts are held in memory."""
        with work_folder(self.work / "mfa") as folder:
            dictionary = read_dictionary(self.models / "dictionary.dict", "alignment.mfa_dictionary")
            corpus = MFACorpus(folder / "corpus", dictionary)
            entries = self._prepare(requests, corpus)
            self._pronounce(entries, corpus, folder)
            if any(entry.error is None for entry in entries):
                self._run(corpus, folder)
            complaints = self._complaints(entries, folder)
            for entry in entries:
                advance(entry.seconds)
                yield entry.id, _answer(entry, folder / "output", complaints)

    def _prepare(self, requests: Iterable[Request], corpus: MFACorpus) -> list[_Entry]:
        entries = []
        for request in requests:
            words = corpus.written(request.text, request.pronunciations)
            entries.append(entry := _Entry(request.id, request.text.split(), words))
            try:
                samples = audible_samples(request)
            except (AudioError, AlignmentError) as error:
                entry.error = error
                continue
            entry.seconds = len(samples) / SAMPLE_RATE
            entry.stem = corpus.add(request.speaker, samples, words, request.source)
        return entries

    def _pronounce(self, entries: list[_Entry], corpus: MFACorpus, folder: Path) -> None:
        """Ask the G2P model for words that the dictionary lacks; remove utterances with words that it still lacks."""
        dictionary = corpus.dictionary
        unknown = {word for word in corpus.words if word not in dictionary}
        model = self.models / "g2p.zip"
        asked = unknown - unpronounceable(self.models)
        if asked and model.is_file():
            for word, phones in pronounce_all(asked, model, folder, self.jobs, dictionary).items():
                dictionary.add(word, dictionary.adapted(phones))
        for entry in entries:
            lacking = [word for word in dict.fromkeys(entry.written) if word not in dictionary]
            if entry.error is None and lacking:
                corpus.remove(entry.stem, entry.seconds)
                entry.error = AlignmentError(f"unknown word: {', '.join(lacking)}")

    def _run(self, corpus: MFACorpus, folder: Path) -> None:
        words = [word for word in corpus.words if word in corpus.dictionary]
        corpus.dictionary.write(folder / "words.dict", words)
        say(f"mfa align: {corpus}, {len(words):,} words, {self.jobs} jobs")
        # the texts are normalised already, and for a tokenizer MFA may ask for another model
        options = ["--output_format", "long_textgrid", "--no_tokenization"]
        root = folder / "root"
        places = [folder / "corpus", folder / "words.dict", (self.models / "acoustic.zip").resolve(), folder / "output"]
        run_mfa(["align", *places, *options, *common_options(root / "temporary", self.jobs)], root)
        if not any((folder / "output").rglob("*.TextGrid")):
            lines = [line for _, line in log_lines(root)]
            for line in lines:
                say(f"mfa log: {line}")
            raise UserError(
                f"mfa align ended without an error and without a single TextGrid for {corpus}; check that the acoustic "
                "model fits the dictionary (mfa's output and its own logs are above)"
            )

    def _complaints(self, entries: list[_Entry], folder: Path) -> dict[str, str]:
        """The last line of MFA's logs about each utterance without a TextGrid, by the name of its file."""
        lost = {
            entry.stem.rpartition("/")[2]
            for entry in entries
            if entry.error is None and not (folder / "output" / f"{entry.stem}.TextGrid").is_file()
        }
        found: dict[str, str] = {}
        for _, line in log_lines(folder / "root") if lost else ():
            for name in lost.intersection(re.findall(r"u\d{8}", line)):
                found[name] = line.strip()[:200]
        return found


def _answer(entry: _Entry, output: Path, complaints: dict[str, str]) -> Aligned | AlignmentError | AudioError:
    if entry.error is not None:
        return entry.error
    path = output / f"{entry.stem}.TextGrid"
    if not path.is_file():
        more = complaints.get(entry.stem.rpartition("/")[2])
        return AlignmentError(f"{NOT_FOUND} ({more})" if more else NOT_FOUND)
    content = path.read_bytes()
    path.unlink()  # each as soon as it is read: a shard may have tens of thousands
    try:
        found = read_alignment(content, path.name, entry.written, entry.seconds)
    except AlignmentError as error:
        message = str(error)
        for written, word in zip(entry.written, entry.spoken):
            message = message.replace(written, word) if written != word else message
        return AlignmentError(message)
    return replace(found, words=[span._replace(label=word) for span, word in zip(found.words, entry.spoken)])


def unpronounceable(models: Path) -> set[str]:
    """The words of oov.tsv, which the G2P model could not pronounce when the folder was made."""
    path = models / "oov.tsv"
    lines = path.read_text(encoding="utf-8").splitlines()[1:] if path.is_file() else []
    return {line.split("\t")[0] for line in lines}
