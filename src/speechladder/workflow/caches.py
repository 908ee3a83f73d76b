"""Caches of libraries lie beside a run: a home directory on a cluster is small, slow, shared, and sometimes missing."""

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
    """The environment variables that move caches to `run` and fetched models to `downloads`, which runs may share.

    Variables that the user has set stay. If the home directory already holds models, they are used there, so that
    nothing is fetched twice. The login (`hf auth login`) always stays at home.
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
