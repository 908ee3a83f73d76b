"""s3prl 0.4.18 beside a torchaudio that is newer than it: what it calls and torchaudio no longer has.

Nothing of this computes a feature:
- `torchaudio._extension` loads a library that is linked against CUDA's and against one release of torch: without a GPU
  an OSError at `import torchaudio`. It has a faster lfilter, forced alignment and a CTC decoder, none of which an
  upstream calls.
- `torchaudio.set_audio_backend` (removed in 2.9) chose how files are read; s3prl calls it while it is imported. Here no
  upstream reads files.
- `torchaudio.sox_effects` (removed in 2.9) resamples in three upstreams that judge speech quality; s3prl imports it.
"""

import logging
import sys
import types
from typing import Any

from speechladder.io.errors import UserError


def _without(what: str) -> Any:
    def gone(*_: Any, **__: Any) -> Any:
        raise RuntimeError(f"{what} is not in this torchaudio")

    return gone


def _module(name: str, **attributes: Any) -> None:
    found = types.ModuleType(name)
    vars(found).update(attributes)
    sys.modules.setdefault(name, found)


def open_hub() -> Any:
    """The module s3prl.hub. Raises UserError where this Python has none."""
    _module(
        "torchaudio._extension",
        _IS_TORCHAUDIO_EXT_AVAILABLE=False,
        fail_if_no_align=lambda call: _without(call.__name__),
    )
    # else two lines about ESPnet, which one upstream in thirty wants, in every log
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
