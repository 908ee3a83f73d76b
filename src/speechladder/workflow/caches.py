"""Where libraries keep what they can make or fetch again: beside a run, since a home directory on a cluster is small,
slow, shared by all nodes, and sometimes not there at all."""

import os
from collections.abc import Mapping
from pathlib import Path

RUN = Path(".snakemake") / "cache"  # of a run, in its folder
_OWN = {  # a variable of each library, and its folder below RUN
    "MPLCONFIGDIR": "matplotlib",
    "TRITON_CACHE_DIR": "triton",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "CUDA_CACHE_PATH": "cuda",
    "NUMBA_CACHE_DIR": "numba",
}


def caches(run: Path, downloads: Path, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that send caches to `run` (of this run) and fetched models to `downloads` (which runs may share).

    What the user has set stays, and so do the models that are at home already: nobody fetches 16 GB twice. The login
    (`hf auth login`) stays at home in any case.
    """
    out = {name: str(run / folder) for name, folder in _OWN.items() if not environ.get(name)}
    home = Path(environ.get("HOME") or "/") / ".cache"
    if not _home_is_used(environ):
        models = downloads / "cache"
        out["XDG_CACHE_HOME"] = str(models)
        if not environ.get("HF_HOME"):
            own = {"HF_HUB_CACHE": models / "huggingface" / "hub", "HF_TOKEN_PATH": home / "huggingface" / "token"}
            out |= {name: str(path) for name, path in own.items() if not environ.get(name)}
    return out


def _home_is_used(environ: Mapping[str, str]) -> bool:
    """Whether the user has chosen a place for caches, or has models at home."""
    home = Path(environ.get("HOME") or "/") / ".cache"
    return bool(environ.get("XDG_CACHE_HOME")) or any((home / name).is_dir() for name in ("huggingface/hub", "whisper"))
