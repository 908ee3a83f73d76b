"""Adaptation of PocketSphinx's bundled acoustic model to the voices of a corpus, by its aligned phones.

The bundled model was trained on natural speech. The world's voices are synthetic, and without adaptation 61 % of their
words are recognised wrongly (docs/log.md). Means and variances are adapted in one pass by maximum a posteriori
estimation (Gauvain and Lee 1994): each frame is distributed over the 128 densities of its phone's codebook, and a
density with few frames stays near its old value. Mixture weights, which belong to context-dependent states, and
transition probabilities are not changed.
"""

import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

from speechladder.corpora.phones import ARPABET, SIL, strip_stress
from speechladder.io.errors import UserError
from speechladder.io.spans import Span

CODEBOOKS = ("+NSN+", "+SPN+", *sorted([*ARPABET, SIL]))  # in the order of the model's file mdef
PRIOR = 10.0  # weight of a density's old mean and variance, in frames
FLOOR = 1e-4  # smallest variance; the value of PocketSphinx's option varfloor
SHRINK = 0.01  # smallest ratio of new to old variance: the silence of a single voice has nearly none
FRAME, CENTRE = 0.01, 0.0128  # hop and half a window in seconds
_MAGIC = 0x11223344


def model_folder() -> Path:
    """The folder of the acoustic model that comes with PocketSphinx."""
    from pocketsphinx import get_model_path

    return Path(get_model_path("en-us/en-us"))


class Parameters:
    """Means or variances in Sphinx's binary format: `values` is (codebooks, 3 streams, 128 densities, 13) float32."""

    def __init__(self, file: str | Path) -> None:
        """Read `file`. Raise UserError if it does not hold parameters of the bundled model."""
        data = Path(file).read_bytes()
        begin = data.find(b"endhdr\n") + len(b"endhdr\n")
        sizes = np.frombuffer(data, "<u4", 4, begin)
        if sizes[0] != _MAGIC or sizes[1] != len(CODEBOOKS):
            raise UserError(
                f"{file}: not the parameters of PocketSphinx's bundled en-us model; install pocketsphinx again"
            )
        streams = int(sizes[2])
        lengths = np.frombuffer(data, "<u4", streams, begin + 16)
        after = begin + 20 + 4 * streams
        shape = (int(sizes[1]), streams, int(sizes[3]), int(lengths[0]))
        self._head = data[:after]
        self._words = begin + 4  # the checksum covers everything from here
        self.values = np.frombuffer(data, "<f4", int(np.prod(shape)), after).reshape(shape).astype(np.float64)

    def write(self, file: str | Path, values: np.ndarray) -> None:
        """Write `values` with the header of the file that was read."""
        data = self._head + values.astype("<f4").tobytes()
        Path(file).write_bytes(data + np.array(_checksum(data[self._words :]), "<u4").tobytes())


def _checksum(data: bytes) -> int:
    total = 0
    for word in np.frombuffer(data, "<u4").tolist():
        total = ((total << 20 | total >> 12) + word) & 0xFFFFFFFF
    return total


def features(pcm: bytes) -> np.ndarray:
    """Compute (frames, 3, 13) features of 16-bit samples at 16 kHz: cepstra minus their mean, slopes and curvatures.

    The decoder itself computes the cepstra, with its noise removal, and writes them to a file. Each utterance has a new
    decoder, because a decoder also removes the noise of earlier utterances.
    """
    from pocketsphinx import Decoder

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "dict").write_text("a AH\n")
        narrow = dict.fromkeys(("beam", "pbeam", "wbeam"), 1e-5)  # makes the search for the one word cheap
        decoder = Decoder(lm=None, dict=str(place / "dict"), cmn="batch", loglevel="FATAL", mfclogdir=folder, **narrow)
        decoder.set_align_text("a")
        decoder.start_utt()
        decoder.process_raw(pcm, full_utt=True)
        with suppress(RuntimeError):  # it did not recognise the word
            decoder.end_utt()
        (file,) = place.glob("*.mfc")
        cepstra = np.frombuffer(file.read_bytes()[4:], ">f4").reshape(-1, 13).astype(np.float64)
    return _dynamic(cepstra - cepstra.mean(axis=0))


def _dynamic(cepstra: np.ndarray) -> np.ndarray:
    padded, count = np.pad(cepstra, ((3, 3), (0, 0)), "edge"), len(cepstra)

    def slope(at: int) -> np.ndarray:
        return padded[5 + at : 5 + at + count] - padded[1 + at : 1 + at + count]

    return np.stack([cepstra, slope(0), slope(1) - slope(-1)], axis=1)


def adapt(utterances: Iterable[tuple[bytes, list[Span]]], means: Path, variances: Path) -> int:
    """Write the adapted `means` and `variances`, and return the number of frames that were used.

    `utterances` are pairs of 16-bit samples at 16 kHz and contiguous phones in seconds (ARPAbet with or without stress,
    SIL).
    """
    old, spread = Parameters(model_folder() / "means"), Parameters(model_folder() / "variances")
    mean, variance = old.values, np.maximum(spread.values, FLOOR)
    counts, first, second = np.zeros(mean.shape[:3]), np.zeros_like(mean), np.zeros_like(mean)
    frames = 0
    for pcm, phones in utterances:
        x = features(pcm)
        middles = np.arange(len(x)) * FRAME + CENTRE
        at = np.minimum(np.searchsorted([p.end for p in phones], middles), len(phones) - 1)
        books = np.array([CODEBOOKS.index(strip_stress(p.label)) for p in phones])[at]
        for book in np.unique(books):
            for stream in range(x.shape[1]):
                y = x[books == book, stream]
                share = _posteriors(y, mean[book, stream], variance[book, stream])
                counts[book, stream] += share.sum(axis=0)
                first[book, stream] += share.T @ y
                second[book, stream] += share.T @ y**2
        frames += len(x)
    total = PRIOR + counts[..., None]
    new = (PRIOR * mean + first) / total
    square = (PRIOR * (variance + mean**2) + second) / total
    old.write(means, new)
    spread.write(variances, np.maximum(square - new**2, np.maximum(SHRINK * variance, FLOOR)))
    return frames


def _posteriors(x: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Posterior probabilities (frames, densities) of the densities, which have equal priors."""
    w = 1 / variance
    log = x @ (mean * w).T - 0.5 * (x**2 @ w.T + (mean**2 * w).sum(axis=1) + np.log(variance).sum(axis=1))
    share = np.exp(log - log.max(axis=1, keepdims=True))
    return share / share.sum(axis=1, keepdims=True)
