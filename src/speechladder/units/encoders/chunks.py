"""Cut a long recording into overlapping pieces.

Attention is global: a frame sees the whole recording. So the frames of a piece differ from those of the whole, however
wide the margin is. All that comes before attention is exact: a piece takes the mean and variance of the waveform, and
those of the group norm, from the whole recording, and convolutions see no further than their window. The positional
convolution sees 64 frames to each side (HuBERT, WavLM, wav2vec 2.0), which the margin covers.

Measured share of units that agree between pieces of 60 s and the whole: 97.9 % over four minutes (hubert-micro, layer
3, 100 clusters), and 99.8 % over two minutes (a random model of HuBERT-Base's shape, layer 6, 100 clusters). A margin
wider than 2 s does not increase it.
"""

from dataclasses import dataclass

from speechladder.constants import HOP, RECEPTIVE_FIELD

MARGIN = 100  # frames to each side that are encoded and discarded


@dataclass(frozen=True)
class Piece:
    """Frames `first` to `last` (exclusive) of an utterance, of which `keep` to `stop` (exclusive) are kept."""

    utterance: int  # its index in a list
    first: int
    last: int
    keep: int
    stop: int
    of: int  # frames of the utterance

    @property
    def whole(self) -> bool:
        """Whether the piece is the whole utterance."""
        return self.frames == self.of

    @property
    def frames(self) -> int:
        """Number of frames that are encoded."""
        return self.last - self.first

    @property
    def samples(self) -> slice:
        """The samples that exactly these frames see. A whole utterance keeps the samples after its last frame too."""
        return slice(None) if self.whole else slice(self.first * HOP, (self.last - 1) * HOP + RECEPTIVE_FIELD)

    @property
    def kept(self) -> slice:
        """The kept frames among the encoded ones."""
        return slice(self.keep - self.first, self.stop - self.first)


def pieces(utterance: int, frames: int, longest: int | None, margin: int = MARGIN) -> list[Piece]:
    """Cut an utterance into pieces of exactly `longest` frames, or into a single one if it is no longer than that.

    Every frame is kept once. Where two pieces meet, each discards at least `margin` frames; the ends of the recording
    are kept. Raise ValueError if `longest` leaves no room between two margins.
    """
    if longest is None or frames <= longest:
        return [Piece(utterance, 0, frames, 0, frames, frames)]
    if longest <= 2 * margin:
        raise ValueError(f"pieces of {longest} frames are no longer than two margins of {margin}")
    out: list[Piece] = []
    keep = 0
    while keep < frames:
        first = min(max(0, keep - margin), frames - longest)
        last = first + longest
        stop = frames if last == frames else last - margin
        out.append(Piece(utterance, first, last, keep, stop, frames))
        keep = stop
    return out
