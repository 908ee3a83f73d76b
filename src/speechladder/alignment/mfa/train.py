"""An acoustic model of the run's own speech, where no pretrained one is named: `mfa train`."""

import shutil
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from speechladder.alignment.aligners import heard, request_of
from speechladder.alignment.mfa.command import common_options, run_mfa
from speechladder.alignment.mfa.corpus import Corpus
from speechladder.alignment.mfa.dictionary import Dictionary, read_dictionary
from speechladder.alignment.pocketsphinx import AlignmentError
from speechladder.corpora.cuts import Cut, read_cuts
from speechladder.corpora.subset import water_fill
from speechladder.io.audio import AudioError
from speechladder.io.errors import UserError
from speechladder.io.files import atomic_folder, read_json, work_folder, write_json
from speechladder.io.hashing import stable_hash
from speechladder.io.progress import progress, say


def _usable(cuts: list[Path], dictionary: Dictionary) -> Iterator[Cut]:
    """The train split's utterances of which every word has a pronunciation."""
    for path in cuts:
        for cut in read_cuts(path):
            if cut.split == "train" and cut.text and all(word in dictionary for word in cut.text.split()):
                yield cut


def draw(cuts: list[Path], dictionary: Dictionary, hours: float) -> np.ndarray:
    """Which of the usable utterances, in their order, to train on: (n,) bool, `hours` together at most.

    Drawn by hash of the id, the same time for every speaker as far as it goes. Holds 20 bytes for each, no text.
    """
    numbers: dict[str, int] = {}
    speakers, order, seconds = array("i"), array("Q"), array("d")
    with progress("utterances to train on", None, "utterances/s") as meter:
        for cut in _usable(cuts, dictionary):
            speakers.append(numbers.setdefault(cut.speaker, len(numbers)))
            order.append(stable_hash("mfa train", cut.id))
            seconds.append(cut.duration)
            meter.advance(1)
    columns = np.array(speakers, np.int32), np.array(order, np.uint64), np.array(seconds)
    return water_fill(*columns, 3600 * hours)[0]


def train(cuts: list[Path], models: Path, hours: float, out: Path, jobs: int) -> None:
    """Write the folder `out`: what `prepare` put into `models`, with an acoustic.zip trained on at most `hours`.

    Raises UserError when there is nothing to train on or MFA fails.
    """
    dictionary = read_dictionary(models / "dictionary.dict", "alignment.mfa_dictionary")
    kept = draw(cuts, dictionary, hours)
    with work_folder(out) as work, atomic_folder(out) as folder:
        corpus, unread = _corpus(cuts, kept, dictionary, work / "corpus")
        if not corpus.utterances:
            raise UserError(
                "alignment.mfa_model: null asks for a model of the run's own speech, but no utterance of the train "
                f"split can be used ({len(kept):,} have all words in the dictionary; see {models / 'oov.tsv'})"
            )
        for name in ("dictionary.dict", "oov.tsv", "g2p.zip"):
            if (models / name).is_file():
                shutil.copyfile(models / name, folder / name)
        root = work / "root"
        say(f"mfa train: {corpus}, {jobs} jobs")
        places = [work / "corpus", (folder / "dictionary.dict").resolve(), work / "acoustic.zip"]
        run_mfa(["train", *places, *common_options(root / "temporary", jobs)], root)
        if not (work / "acoustic.zip").is_file():
            raise UserError("mfa train ended without an error and without a model; what it printed is above")
        shutil.move(work / "acoustic.zip", folder / "acoustic.zip")
        trained = {"hours": round(corpus.seconds / 3600, 4), "utterances": corpus.utterances, "unread": unread}
        write_json(folder / "about.json", read_json(models / "about.json") | {"trained": trained})


def _corpus(cuts: list[Path], kept: np.ndarray, dictionary: Dictionary, folder: Path) -> tuple[Corpus, int]:
    """The utterances that were drawn, on disk, and how many of them could not be read."""
    corpus, unread = Corpus(folder, dictionary), 0
    with progress("mfa corpus", None, "h of speech per h") as meter:
        for cut, wanted in zip(_usable(cuts, dictionary), kept, strict=True):
            if wanted:
                request = request_of(cut)
                try:
                    samples = heard(request)
                except (AudioError, AlignmentError):
                    unread += 1
                    continue
                corpus.add(cut.speaker, samples, cut.text.split(), request.source)
                meter.advance(cut.duration)
    return corpus, unread
