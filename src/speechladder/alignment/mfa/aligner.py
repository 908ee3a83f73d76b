"""Alignment with the Montreal Forced Aligner: all utterances in one run of `mfa align`."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from speechladder.alignment.aligners import Aligned, Answer, Request, heard, unheeded
from speechladder.alignment.mfa.command import common_options, log_lines, run_mfa
from speechladder.alignment.mfa.corpus import Corpus
from speechladder.alignment.mfa.dictionary import pronounce_all, read_dictionary
from speechladder.alignment.pocketsphinx import AlignmentError
from speechladder.alignment.textgrid import believed, read_textgrid
from speechladder.constants import SAMPLE_RATE
from speechladder.io.audio import AudioError
from speechladder.io.errors import UserError
from speechladder.io.files import work_folder
from speechladder.io.progress import say

NOT_FOUND = "not aligned: MFA wrote no TextGrid; the text does not fit the audio"


@dataclass(slots=True)
class _Entry:
    """A request without its samples: where it stands in the corpus, or why it does not."""

    id: str
    said: list[str]  # as the transcript has them
    written: list[str]  # as the .lab has them
    stem: str = ""
    seconds: float = 0.0
    error: AlignmentError | AudioError | None = None


class MFA:
    """Aligner with the models of a folder: acoustic.zip, dictionary.dict, and g2p.zip where there is one.

    Corpus, output and MFA's own temporary files lie in a folder below `work`, which is removed when all is answered;
    `jobs` are MFA's processes. Words that the dictionary lacks, of items say, are pronounced by g2p.zip first.
    """

    name = "mfa"

    def __init__(self, models: Path, work: Path, jobs: int = 1) -> None:
        for file, what in (("acoustic.zip", "an acoustic model"), ("dictionary.dict", "a dictionary")):
            if not (models / file).is_file():
                raise UserError(f"{models}: holds no {file}, {what}; rule prepare_mfa (or train_mfa) makes the folder")
        self.models, self.work, self.jobs = models, work, jobs

    def align_all(self, requests: Iterable[Request], advance: Callable[[float], None] = unheeded) -> Iterator[Answer]:
        """As Aligner says: nothing is answered before all have been read, and none but texts is held in memory."""
        with work_folder(self.work / "mfa") as folder:
            dictionary = read_dictionary(self.models / "dictionary.dict", "alignment.mfa_dictionary")
            corpus = Corpus(folder / "corpus", dictionary)
            entries = self._prepare(requests, corpus)
            self._pronounce(entries, corpus, folder)
            if any(entry.error is None for entry in entries):
                self._run(corpus, folder)
            said = self._complaints(entries, folder)
            for entry in entries:
                advance(entry.seconds)
                yield entry.id, _answer(entry, folder / "output", said)

    def _prepare(self, requests: Iterable[Request], corpus: Corpus) -> list[_Entry]:
        entries = []
        for request in requests:
            words = corpus.written(request.text, request.pronunciations)
            entries.append(entry := _Entry(request.id, request.text.split(), words))
            try:
                samples = heard(request)
            except (AudioError, AlignmentError) as error:
                entry.error = error
                continue
            entry.seconds = len(samples) / SAMPLE_RATE
            entry.stem = corpus.add(request.speaker, samples, words, request.source)
        return entries

    def _pronounce(self, entries: list[_Entry], corpus: Corpus, folder: Path) -> None:
        """Ask the G2P model for what the dictionary lacks; take out the utterances whose words it lacks still."""
        dictionary = corpus.dictionary
        unknown = {word for word in corpus.words if word not in dictionary}
        model = self.models / "g2p.zip"
        asked = unknown - unpronounceable(self.models)
        if asked and model.is_file():
            for word, phones in pronounce_all(asked, model, folder, self.jobs).items():
                dictionary.add(word, dictionary.fitted(phones))
        for entry in entries:
            lacking = [word for word in dict.fromkeys(entry.written) if word not in dictionary]
            if entry.error is None and lacking:
                corpus.remove(entry.stem, entry.seconds)
                entry.error = AlignmentError(f"unknown word: {', '.join(lacking)}")

    def _run(self, corpus: Corpus, folder: Path) -> None:
        words = [word for word in corpus.words if word in corpus.dictionary]
        corpus.dictionary.write(folder / "words.dict", words)
        say(f"mfa align: {corpus}, {len(words):,} words, {self.jobs} jobs")
        # texts are normalised already: no tokenizer, for which MFA may want a model of its own
        options = ["--output_format", "long_textgrid", "--no_tokenization"]
        root = folder / "root"
        places = [folder / "corpus", folder / "words.dict", (self.models / "acoustic.zip").resolve(), folder / "output"]
        run_mfa(["align", *places, *options, *common_options(root / "temporary", self.jobs)], root)
        if not any((folder / "output").rglob("*.TextGrid")):
            lines = [line for _, line in log_lines(root)]
            for line in lines:
                say(f"mfa log: {line}")
            raise UserError(
                f"mfa align ended without an error and without a single TextGrid for {corpus}; does the acoustic "
                "model fit the dictionary? What it printed and its own logs are above"
            )

    def _complaints(self, entries: list[_Entry], folder: Path) -> dict[str, str]:
        """What MFA's logs say of the utterances that have no TextGrid: name of the file -> the last line with it."""
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
    try:
        words, phones = read_textgrid(path)
    except UserError as error:
        return AlignmentError(f"unreadable TextGrid: {error}")
    finally:
        path.unlink()  # at once: a shard's may be tens of thousands
    try:
        words, phones = believed(words, phones, entry.written, entry.seconds)
    except AlignmentError as error:
        message = str(error)
        for written, said in zip(entry.written, entry.said):
            message = message.replace(written, said) if written != said else message
        return AlignmentError(message)
    return Aligned([w._replace(label=said) for w, said in zip(words, entry.said)], phones, entry.seconds)


def unpronounceable(models: Path) -> set[str]:
    """The words of oov.tsv: the G2P model could not spell them when it was asked."""
    path = models / "oov.tsv"
    lines = path.read_text(encoding="utf-8").splitlines()[1:] if path.is_file() else []
    return {line.split("\t")[0] for line in lines}
