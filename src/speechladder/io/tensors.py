"""Tensors with their provenance in safetensors files: read whole or mapped, written whole or row by row."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from speechladder.io.errors import UserError
from speechladder.io.files import atomic


def write_tensors(path: str | Path, tensors: dict[str, np.ndarray], provenance: dict[str, Any]) -> None:
    """Write safetensors atomically with `provenance` in the header; equal content gives equal bytes."""
    with atomic(path) as temporary:
        # one key, since the order of several keys in the header is not fixed
        save_file(tensors, temporary, metadata={"provenance": json.dumps(provenance, sort_keys=True)})


def write_rows(
    path: str | Path,
    name: str,
    rows: Iterable[np.ndarray],
    shape: tuple[int, int],
    provenance: dict[str, Any],
    labels: np.ndarray | None = None,
) -> None:
    """Write one float32 tensor of `shape` row by row, so that it need not fit in memory.

    `labels`: (rows,) uint8, written as the tensor `labels` behind it. The bytes are those of `write_tensors`. Raises
    ValueError if the rows do not add up to `shape`.
    """
    size = 4 * shape[0] * shape[1]
    header: dict[str, Any] = {
        "__metadata__": {"provenance": json.dumps(provenance, sort_keys=True)},
        name: {"dtype": "F32", "shape": list(shape), "data_offsets": [0, size]},
    }
    if labels is not None:
        header["labels"] = {"dtype": "U8", "shape": [len(labels)], "data_offsets": [size, size + len(labels)]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with atomic(path) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for block in rows:
            if block.ndim != 2 or block.shape[1] != shape[1]:
                raise ValueError(f"{path}: rows of shape {block.shape}, expected (n, {shape[1]})")
            file.write(np.ascontiguousarray(block, dtype="<f4").data)
        if file.tell() != 8 + len(text) + size:
            raise ValueError(f"{path}: {file.tell() - 8 - len(text)} bytes of rows, {size} were announced")
        if labels is not None:
            file.write(np.ascontiguousarray(labels, np.uint8).data)


@contextmanager
def _opened(path: str | Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    """(the open file, its provenance); raises UserError naming the file if it is missing or broken."""
    from safetensors import safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            yield file, json.loads((file.metadata() or {})["provenance"])
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run the stage that makes it") from None
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise UserError(f"{path}: not a file that the units stage wrote ({error}); delete it and run again") from None


def read_tensors(path: str | Path, names: Sequence[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(the tensors by name, their provenance); raises UserError naming the file if it is missing or broken."""
    with _opened(path) as (file, said):
        return {name: file.get_tensor(name) for name in names}, said


def read_tensor(path: str | Path, name: str) -> tuple[np.ndarray, dict[str, Any]]:
    """(the tensor, its provenance); raises UserError naming the file if it is missing or broken."""
    tensors, said = read_tensors(path, (name,))
    return tensors[name], said


def map_tensor(path: str | Path, name: str) -> tuple[np.ndarray, dict[str, Any]]:
    """`read_tensor` for a float32 tensor, memory-mapped: its pages are read on access and need not stay in memory."""
    with _opened(path) as (file, said), Path(path).open("rb") as raw:
        file.get_slice(name)  # raises if the tensor is missing or the file is cut off
        length = int.from_bytes(raw.read(8), "little")
        entry = json.loads(raw.read(length))[name]
        if entry["dtype"] != "F32":
            raise KeyError(f"{name} is {entry['dtype']}, not F32")
        start = 8 + length + entry["data_offsets"][0]
        return np.memmap(path, "<f4", "r", start, tuple(entry["shape"])), said
