"""An acoustic model trained on the run's own speech (`mfa train`), for a run that names no pretrained model."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from speechladder.alignment.base import AlignmentError, audible_samples, request_of
from speechladder.alignment.mfa.command import common_options, run_mfa
from speechladder.alignment.mfa.corpus import MFACorpus
from speechladder.alignment.mfa.dictionary import Dictionary, read_dictionary
from speechladder.corpora.cuts import Cut, read_cuts
from speechladder.corpora.draw import SpeakerDraw
from speechladder.io.audio import AudioError
from speechladder.io.errors import UserError
from speechladder.io.files import atomic_folder, read_json, work_folder, write_json
from speechladder.io.progress import progress, say


def _usable(cuts: list[Path], dictionary: Dictionary) -> Iterator[Cut]:
    """The utterances of the train split whose words all have a pronunciation."""
    for path in cuts:
        for cut in read_cuts(path):
            if cut.split == "train" and cut.text and all(word in dictionary for word in cut.text.split()):
                yield cut


def draw_training(cuts: list[Path], dictionary: Dictionary, hours: float) -> np.ndarray:
    """Which of the usable utterances, in their order, to train on: (n,) bool, at most `hours` together.

    They are drawn by a hash of the id, with the same time for every speaker as far as possible.
    """
    drawn = SpeakerDraw("mfa train")
    with progress("utterances to train on", None, "utterances/s") as meter:
        for cut in _usable(cuts, dictionary):
            drawn.add(cut.id, cut.speaker, cut.duration)
            meter.advance(1)
    return drawn.kept(3600 * hours)


def train_mfa(cuts: list[Path], models: Path, hours: float, out: Path, jobs: int = 1) -> None:
    """Train the Montreal Forced Aligner's acoustic model on the run's own train split.

    The folder gets acoustic.zip and the files that prepare_mfa made. Raises UserError if there is nothing to train on
    or MFA fails.

    Args:
        cuts: corpus/cuts.{shard}.jsonl.gz of all shards
        models: alignment/mfa_dictionary, the folder that prepare_mfa made
        hours: hours of speech to train on at most
        out: alignment/mfa, a folder to write
        jobs: processes of MFA
    """
    dictionary = read_dictionary(models / "dictionary.dict", "alignment.mfa_dictionary")
    kept = draw_training(cuts, dictionary, hours)
    with work_folder(out) as work, atomic_folder(out) as folder:
        corpus, unread = _corpus(cuts, kept, dictionary, work / "corpus")
        if not corpus.utterances:
            raise UserError(
                "alignment.mfa_model: null asks for a model of the run's own speech, but no utterance of the train "
                f"split can be used (all words of {len(kept):,} are in the dictionary; see {models / 'oov.tsv'}); name "
                "a pretrained model, or complete the dictionary with alignment.lexicon"
            )
        for name in ("dictionary.dict", "oov.tsv", "g2p.zip"):
            if (models / name).is_file():
                shutil.copyfile(models / name, folder / name)
        root = work / "root"
        say(f"mfa train: {corpus}, {jobs} jobs")
        places = [work / "corpus", (folder / "dictionary.dict").resolve(), work / "acoustic.zip"]
        run_mfa(["train", *places, *common_options(root / "temporary", jobs)], root)
        if not (work / "acoustic.zip").is_file():
            raise UserError("mfa train ended without an error and without a model; its output is above")
        shutil.move(work / "acoustic.zip", folder / "acoustic.zip")
        trained = {"hours": round(corpus.seconds / 3600, 4), "utterances": corpus.utterances, "unread": unread}
        write_json(folder / "about.json", read_json(models / "about.json") | {"trained": trained})


def _corpus(cuts: list[Path], kept: np.ndarray, dictionary: Dictionary, folder: Path) -> tuple[MFACorpus, int]:
    """The utterances that were drawn, on disk, and the number of them that could not be read."""
    corpus, unread = MFACorpus(folder, dictionary), 0
    with progress("mfa corpus", None, "h of speech per h") as meter:
        for cut, wanted in zip(_usable(cuts, dictionary), kept, strict=True):
            if wanted:
                request = request_of(cut)
                try:
                    samples = audible_samples(request)
                except (AudioError, AlignmentError):
                    unread += 1
                    continue
                corpus.add(cut.speaker, samples, cut.text.split(), request.source)
                meter.advance(cut.duration)
    return corpus, unread
