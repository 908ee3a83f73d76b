"""A share of the training utterances of a rung, as a token folder of its own."""

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa

from speechladder.io.errors import UserError
from speechladder.io.files import atomic_folder, read_json, write_json
from speechladder.io.hashing import stable_hash
from speechladder.io.tables import TOKEN_INDEX, read_table, write_table


def write_fraction(tokens: Path, fraction: float, out: Path) -> None:
    """Write a folder like tokens/{rung} whose train split is a share of that of `tokens`, by time.

    Utterances are chosen in the order of the hashes of their ids until the share is reached. So a smaller fraction
    lies within a larger one, and is the same on each rung. Their order in the index stays that of the corpus.
    Validation, test and tokenizer are those of `tokens`. No token is copied: the binary files are hard links (copies
    across file systems), and the index leaves out utterances. Raise UserError if the fraction is outside (0, 1], or if
    `tokens` is itself a fraction.

    Args:
        tokens: folder tokens/{rung}
        fraction: share of the training speech, above 0, at most 1
        out: folder to write
    """
    if not 0 < fraction <= 1:
        raise UserError(f"--fraction: {fraction:g} is not allowed; allowed: above 0, at most 1")
    meta = read_json(tokens / "meta.json")
    if "fraction" in meta:
        raise UserError(f"{tokens}: is itself a fraction; take the fraction of the whole tokens/{{rung}}")
    index = read_table(tokens / "train.parquet", TOKEN_INDEX)
    kept = _chosen(index.column("id").to_pylist(), index.column("seconds").to_numpy(), fraction)
    train = index.take(pa.array(kept))
    count, seconds = len(train), float(np.sum(train.column("seconds").to_numpy()))
    length = int(np.sum(train.column("length").to_numpy(), dtype=np.int64))
    with atomic_folder(out) as folder:
        shutil.copytree(tokens / "tokenizer", folder / "tokenizer")
        for split in meta["tokens"]:
            _link(tokens / f"{split}.bin", folder / f"{split}.bin")
            if split != "train":
                shutil.copyfile(tokens / f"{split}.parquet", folder / f"{split}.parquet")
        write_table(folder / "train.parquet", train, TOKEN_INDEX)
        changed = {"tokens": length, "seconds": seconds, "utterances": count}
        about = {name: meta[name] | {"train": value} for name, value in changed.items()}
        about["tokens_per_second"] = (length - 2 * count) / seconds if seconds else 0.0  # without <s> and </s>
        about["fraction"] = {"fraction": fraction, "of_tokens": meta["tokens"]["train"]}
        write_json(folder / "meta.json", meta | about)


def _chosen(ids: list[str], seconds: np.ndarray, fraction: float) -> np.ndarray:
    """The rows of the utterances of a fraction, ascending."""
    hashes = np.fromiter((stable_hash("fraction", name) for name in ids), np.uint64, len(ids))
    order = np.argsort(hashes, kind="stable")
    before = np.cumsum(seconds[order]) - seconds[order]
    # with an exact comparison, rounding would lose the last utterance at fraction 1
    return np.sort(order[before < fraction * seconds.sum() * (1 - 1e-12)])


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)
