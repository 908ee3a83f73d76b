"""Hashes that are the same in every process and on every machine (Python's own `hash` of a string is not)."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def stable_hash(*parts: object) -> int:
    """A 64-bit number from the text of `parts`."""
    return int.from_bytes(hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()[:8], "big")


def share(*parts: object) -> float:
    """A number in [0, 1) from the text of `parts`, for deciding by share which side something falls on."""
    return stable_hash(*parts) / 2**64


def files_sha256(paths: Iterable[Path]) -> str:
    """SHA-256 (hex) over the digests of files in their order: the same wherever they lie, whatever their names."""
    out = hashlib.sha256()
    for path in paths:
        with path.open("rb") as handle:
            out.update(hashlib.file_digest(handle, "sha256").digest())
    return out.hexdigest()
