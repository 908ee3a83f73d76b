"""Numbers and names that the whole library shares."""

from typing import Literal, get_args

SAMPLE_RATE = 16_000  # Hz; every waveform inside the library
FRAME_RATE = 50  # frames per second of every encoder that the ladder uses, and of phone-repeat
HOP = SAMPLE_RATE // FRAME_RATE  # samples from one frame to the next
RECEPTIVE_FIELD = 400  # samples that one frame of a HuBERT-like encoder sees
# Of an item's log-likelihood: summed over its tokens, or the mean per token. The items of a pair also have the span,
# the mean per token after their common beginning.
ItemNorm = Literal["sum", "mean"]
Norm = Literal[ItemNorm, "span"]
ITEM_NORMS: tuple[ItemNorm, ...] = get_args(ItemNorm)
NORMS: tuple[Norm, ...] = get_args(Norm)
CHANCE = 0.5  # the accuracy of a guess between the two halves of a pair
