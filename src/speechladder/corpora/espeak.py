"""espeak-ng through ctypes: text in, 22,050 Hz samples and timed phonemes out.

The library keeps state between texts and seeds some voices from the clock. So each call loads the library again and
sets its random seed. The same arguments then give the same bytes, in any process and in any order. To load it takes
longer than to speak a word: `synthesise_all` loads it once for many texts.
"""

import _ctypes
import ctypes
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import espeakng_loader
import numpy as np

from speechladder.io.errors import UserError

RATE = 22_050  # Hz
_SYNCHRONOUS, _PHONEME_EVENTS, _DO_NOT_EXIT = 2, 0x1, 0x8000
_WORD, _PHONEME = 1, 7
_SPEED, _VOLUME, _PITCH, _RANGE, _WORD_GAP = 1, 2, 3, 4, 7
_LOUDNESS = 60  # some voices clip at 100
_UTF8, _MNEMONICS = 0x1, 0x100


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # characters, from 1
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_byte * 8),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class Phoneme(NamedTuple):
    """A phoneme of espeak-ng.

    `symbol` includes the stress mark. `position` is the character, from 0, at which the phoneme's word begins in the
    text. `sample` is the phoneme's first sample at 22,050 Hz. The first phoneme of a word begins where the word begins,
    because espeak-ng places the closure of a stop before the stop's own event.
    """

    symbol: str
    position: int
    sample: int


def synthesise(
    text: str, voice: str, rate: int, pitch: int, pitch_range: int, seed: int, mnemonics: bool = False
) -> tuple[np.ndarray, list[Phoneme]]:
    """Speak ASCII `text` with an espeak-ng voice ('en-us+f3'); returns (n,) int16 at 22,050 Hz, and the phonemes.

    `rate` is in words per minute (80-450), `pitch` and `pitch_range` are 0-99. A phoneme ends where the next one
    starts. `mnemonics`: text between [[ and ]] is read as phonemes (phones.to_espeak), not as letters. Raises UserError
    if the voice does not exist.
    """
    ((samples, phonemes),) = synthesise_all([text], voice, rate, pitch, pitch_range, seed, mnemonics)
    return samples, phonemes


def synthesise_all(
    texts: Sequence[str], voice: str, rate: int, pitch: int, pitch_range: int, seed: int, mnemonics: bool = False
) -> Iterator[tuple[np.ndarray, list[Phoneme]]]:
    """Yield each text as `synthesise` speaks it. A text may sound a little different after others than it does alone.

    The generator must be read to its end or closed before the next call.
    """
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    waves: list[bytes] = []
    phonemes: list[Phoneme] = []
    word, begin = 0, None

    def collect(samples: object, count: int, events: object) -> int:
        nonlocal word, begin
        if count > 0:
            waves.append(ctypes.string_at(samples, 2 * count))
        index = 0
        while (event := events[index]).type:
            if event.type == _WORD:
                word, begin = event.text_position - 1, event.sample
            elif event.type == _PHONEME:
                symbol = bytes(event.id).split(b"\0")[0].decode()
                phonemes.append(Phoneme(symbol, word, event.sample if begin is None else begin))
                begin = None
            index += 1
        return 0

    callback = _Callback(collect)
    try:
        data = espeakng_loader.get_data_path().encode()
        if library.espeak_Initialize(_SYNCHRONOUS, 0, data, _PHONEME_EVENTS | _DO_NOT_EXIT) != RATE:
            raise UserError("espeak-ng did not start; reinstall the package espeakng-loader")
        library.espeak_SetSynthCallback(callback)
        if library.espeak_SetVoiceByName(voice.encode()):
            raise UserError(f"espeak-ng has no voice '{voice}'")
        settings = {_SPEED: rate, _VOLUME: _LOUDNESS, _PITCH: pitch, _RANGE: pitch_range, _WORD_GAP: 0}
        for parameter, value in settings.items():
            library.espeak_SetParameter(parameter, value, 0)
        library.espeak_ng_SetRandSeed(ctypes.c_long(seed))  # after the voice: setting some voices draws random numbers
        for text in texts:
            waves, phonemes, word, begin = [], [], 0, None
            encoded, flags = text.encode("ascii"), _UTF8 | (_MNEMONICS if mnemonics else 0)
            library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, flags, None, None)
            library.espeak_Synchronize()
            yield np.frombuffer(b"".join(waves), dtype=np.int16), phonemes
    finally:
        library.espeak_Terminate()
        _ctypes.dlclose(library._handle)
