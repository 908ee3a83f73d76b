"""Whisper's own rules against repetition, guesses and silence, the same for openai-whisper and for transformers.

A part of speech is decoded greedily. If its text repeats itself or is improbable, it is decoded again at the next
temperature, and the text of the last temperature stays whatever it is (Radford et al. 2022, arXiv 2212.04356, section
4.5; thresholds and order as in openai-whisper's transcribe.py). A part that Whisper holds for no speech has no text.
"""

import hashlib
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from speechladder.io.hashing import stable_hash

if TYPE_CHECKING:
    import torch

TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
COMPRESSION_RATIO = 2.4  # bytes of the text / bytes after zlib; above it the text repeats itself
LOG_PROBABILITY = -1.0  # mean over the tokens, in nats; below it the text is improbable
NO_SPEECH = 0.6  # probability; above it the part may hold no speech
REPETITIVE, IMPROBABLE = "repetitive", "improbable"
PARTS, NO_SPEECH_CASE, STILL = "parts", "no_speech", "still_"
CASES = (
    PARTS,  # of at most 30 s that were decoded or found silent
    REPETITIVE,  # decoded again, since the greedy text repeats itself
    IMPROBABLE,  # decoded again, since the greedy text is improbable
    NO_SPEECH_CASE,  # without text, since they hold no speech
    STILL + REPETITIVE,  # also at the last temperature, whose text is kept
    STILL + IMPROBABLE,
)


class Decoded(NamedTuple):
    """A text, its mean log probability in nats, and the probability that there is no speech."""

    text: str
    log_probability: float
    no_speech: float


class Model(Protocol):
    """A Whisper."""

    def encode(self, audio: list[np.ndarray]) -> "torch.Tensor":
        """Return the encoder's output, (utterances, frames, width), for audio of at most 30 s each."""
        ...

    def decode(self, encoded: "torch.Tensor", temperature: float, seeds: Sequence[int]) -> list[Decoded]:
        """Decode each row of `encoded` with a `Sampler` of this temperature and these seeds, one a row."""
        ...


def decode_with_fallback(
    model: Model, audio: list[np.ndarray], is_of_silence: Callable[[str], bool], cases: Counter[str]
) -> list[str]:
    """Return the text of each part of speech, (n,) float32 at 16 kHz; "" for a part without speech.

    `is_of_silence` tells whether a text is what the model makes of silence itself; `cases` counts CASES. The seeds
    follow from the samples of a part, so its text depends neither on the other parts nor on the run.
    """
    encoded = model.encode(audio)
    digests = [hashlib.sha256(samples.tobytes()).hexdigest() for samples in audio]
    texts, left = [""] * len(audio), list(range(len(audio)))
    faults: list[str] = []
    for temperature in TEMPERATURES:
        found = model.decode(encoded[left], temperature, [stable_hash(digests[n], temperature) for n in left])
        first, faults, again = temperature == TEMPERATURES[0], [], []
        for n, decoded in zip(left, found):
            texts[n], fault = decoded.text, _fault(decoded)
            if _holds_no_speech(decoded, is_of_silence):
                texts[n] = ""
                cases[NO_SPEECH_CASE] += 1
            elif fault:
                again.append(n)
                faults.append(fault)
        cases.update(faults if first else ())
        left = again
        if not left:
            break
    cases.update(STILL + fault for fault in faults)
    return texts


def _fault(decoded: Decoded) -> str:
    text = decoded.text.encode()
    if len(text) > COMPRESSION_RATIO * len(zlib.compress(text)):
        return REPETITIVE
    return IMPROBABLE if decoded.log_probability < LOG_PROBABILITY else ""


def _holds_no_speech(decoded: Decoded, is_of_silence: Callable[[str], bool]) -> bool:
    """Whisper's rule, and one more: it is sure of the word or two that it makes of silence (tiny.en: "you", -0.4)."""
    if decoded.no_speech <= NO_SPEECH:
        return False
    return decoded.log_probability < LOG_PROBABILITY or is_of_silence(decoded.text)


class Sampler:
    """Chooses the next token of each row of a batch, and keeps the tokens and their log probabilities.

    At temperature 0 it takes the likeliest token. Otherwise it draws from softmax(logits / temperature) by adding
    Gumbel noise, which comes from a generator of each row, so that no draw depends on other rows (the Gumbel-max trick,
    Maddison et al. 2014, arXiv 1411.0030). Log probabilities are those at temperature 1, as Whisper has them.
    """

    def __init__(self, temperature: float, seeds: Sequence[int], end: int) -> None:
        """`end` is the token that ends a text."""
        self._temperature, self.end = temperature, end
        self._noise = [np.random.default_rng(seed) for seed in seeds] if temperature else []
        self.rows: list[list[int]] = [[] for _ in seeds]  # without `end`
        self.sums = [0.0] * len(seeds)
        self.ended = [False] * len(seeds)

    def step(self, logits: Any) -> "torch.Tensor":
        """Return the next token of each row, (rows,); logits (rows, vocabulary) have -inf for what may not come."""
        import torch

        logits = logits.float()
        scores = logits
        if self._temperature:
            noise = np.stack([rng.gumbel(size=logits.shape[1]).astype(np.float32) for rng in self._noise])
            scores = logits / self._temperature + torch.from_numpy(noise).to(logits.device)
        chosen = scores.argmax(-1)
        gained = logits.log_softmax(-1).gather(1, chosen[:, None])[:, 0]
        both = torch.stack([chosen.double(), gained.double()]).T.tolist()  # exact; one wait for the device
        for n, (token, log_probability) in enumerate(both):
            if self.ended[n]:
                chosen[n] = self.end
                continue
            self.sums[n] += log_probability
            self.ended[n] = token == self.end
            if not self.ended[n]:
                self.rows[n].append(int(token))
        return chosen

    def log_probabilities(self) -> list[float]:
        """The mean log probability of each row, over its tokens and the end."""
        return [total / (len(row) + 1) for total, row in zip(self.sums, self.rows)]
