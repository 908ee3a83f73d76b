"""Hashes that are equal in every process and on every machine, unlike Python's own `hash` of a string."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def stable_hash(*parts: object) -> int:
    """A 64-bit integer: the first 8 bytes of the SHA-256 of the text of `parts`."""
    return int.from_bytes(hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()[:8], "big")


def share(*parts: object) -> float:
    """`stable_hash` as a number in [0, 1), to assign things to parts of given shares."""
    return stable_hash(*parts) / 2**64


def files_sha256(paths: Iterable[Path]) -> str:
    """SHA-256 (hex) over the digests of files in their order; paths and names do not enter."""
    out = hashlib.sha256()
    for path in paths:
        with path.open("rb") as handle:
            out.update(hashlib.file_digest(handle, "sha256").digest())
    return out.hexdigest()
