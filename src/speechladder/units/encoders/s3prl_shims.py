"""Stand-ins for parts of torchaudio that s3prl 0.4.18 uses and newer releases of torchaudio lack.

None of them computes a feature:
- `torchaudio._extension` loads a library that is linked against CUDA and against one release of torch. Without a GPU,
  `import torchaudio` would raise OSError. The library has a faster lfilter, forced alignment and a CTC decoder; no
  upstream calls them.
- `torchaudio.set_audio_backend` (removed in 2.9) chose how files are read. s3prl calls it when it is imported. No
  upstream reads files here.
- `torchaudio.sox_effects` (removed in 2.9) resamples in three upstreams that judge speech quality. s3prl imports it.
"""

import logging
import sys
import types
from typing import Any

from speechladder.io.errors import UserError


def _without(what: str) -> Any:
    """A function that raises, in place of the one that is missing."""

    def gone(*_: Any, **__: Any) -> Any:
        raise RuntimeError(f"{what} is not in this torchaudio")

    return gone


def _module(name: str, **attributes: Any) -> None:
    """Register a module of these attributes, unless there is one of that name."""
    found = types.ModuleType(name)
    vars(found).update(attributes)
    sys.modules.setdefault(name, found)


def open_hub() -> Any:
    """Import s3prl.hub. Raise UserError if this Python does not have it."""
    _module(
        "torchaudio._extension",
        _IS_TORCHAUDIO_EXT_AVAILABLE=False,
        fail_if_no_align=lambda call: _without(call.__name__),
    )
    # otherwise every log has two lines about ESPnet, which one upstream in thirty needs
    logging.getLogger("s3prl.upstream.espnet_hubert.expert").setLevel(logging.ERROR)
    try:
        import torchaudio

        if not hasattr(torchaudio, "set_audio_backend"):
            torchaudio.set_audio_backend = lambda *_, **__: None
        if not hasattr(torchaudio, "sox_effects"):
            _module("torchaudio.sox_effects", apply_effects_tensor=_without("torchaudio.sox_effects"))
            torchaudio.sox_effects = sys.modules["torchaudio.sox_effects"]
        import s3prl.hub
    except ImportError as error:
        raise UserError(
            f"units.source: s3prl: {sys.executable} cannot import s3prl ({error}); run this with the python that "
            "`make s3prl` installs (.venv-s3prl/bin/python)"
        ) from None
    return s3prl.hub
