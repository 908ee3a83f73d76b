"""espeak-ng through ctypes: text in, 22,050 Hz samples and timed phonemes out.

The library keeps state between calls, and seeds some voices from the clock. So each call loads it afresh (7-8 ms) and
sets its random seed: the same arguments give the same bytes, in any process and in any order.
"""

import _ctypes
import ctypes
from typing import NamedTuple

import espeakng_loader
import numpy as np

from speechladder.io.errors import UserError

RATE = 22_050  # Hz
_SYNCHRONOUS, _PHONEME_EVENTS, _DO_NOT_EXIT = 2, 0x1, 0x8000
_WORD, _PHONEME = 1, 7
_SPEED, _VOLUME, _PITCH, _RANGE, _WORD_GAP = 1, 2, 3, 4, 7
_LOUDNESS = 60  # of 100, at which some voices clip
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
    """A phoneme of espeak-ng: its symbol with stress mark, where its word begins in the text (character, from 0), and
    its first sample at 22,050 Hz. A word's first phoneme begins where the word does: the closure of a stop, which
    espeak-ng puts before the phoneme's own event, belongs to the stop."""

    symbol: str
    position: int
    sample: int


def synthesise(
    text: str, voice: str, rate: int, pitch: int, pitch_range: int, seed: int, mnemonics: bool = False
) -> tuple[np.ndarray, list[Phoneme]]:
    """Speak ASCII `text` with an espeak-ng voice ('en-us+f3'); returns (n,) int16 at 22,050 Hz, and the phonemes.

    `rate` in words per minute (80-450), `pitch` and `pitch_range` 0-99. A phoneme's end is the next one's start.
    With `mnemonics`, what stands between [[ and ]] is phonemes (phones.to_espeak), not letters.
    Raises UserError when the voice does not exist.
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
        library.espeak_ng_SetRandSeed(ctypes.c_long(seed))  # after the voice: some voices draw when they are set
        encoded = text.encode("ascii")
        library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, _UTF8 | (_MNEMONICS if mnemonics else 0), None, None)
        library.espeak_Synchronize()
    finally:
        library.espeak_Terminate()
        _ctypes.dlclose(library._handle)
    return np.frombuffer(b"".join(waves), dtype=np.int16), phonemes
