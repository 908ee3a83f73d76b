"""Reading packed tokens, the training data of the language models."""

from pathlib import Path

import numpy as np

from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.io.tables import TOKEN_INDEX, read_table


class TokenData:
    """One split of tokens/{rung}.

    `tokens` is a (n,) uint16 read-only memmap of `<s> tokens </s>` utterances end to end; `offsets` (m,) int64 and
    `lengths` (m,) int32 are those of the utterances, in tokens, specials included; `seconds` is (m,) float64, `ids`
    their names, `meta` the rung's meta.json. A folder that `rungs.fraction` wrote shares the memmap of the whole and
    indexes only some of its utterances (`meta["fraction"]`). Raise UserError if files are missing or if the memmap and
    its index disagree.
    """

    def __init__(self, folder: str | Path, split: str) -> None:
        folder = Path(folder)
        path = folder / f"{split}.bin"
        self.meta: dict[str, object] = read_json(folder / "meta.json")
        index = read_table(folder / f"{split}.parquet", TOKEN_INDEX)
        self.ids: list[str] = index.column("id").to_pylist()
        self.offsets: np.ndarray = index.column("offset").to_numpy()
        self.lengths: np.ndarray = index.column("length").to_numpy()
        self.seconds: np.ndarray = index.column("seconds").to_numpy()
        if not path.is_file():
            raise UserError(f"{path}: no such file; run tokenize_rung again")
        part = self.meta.get("fraction") if split == "train" else None
        total = part["of_tokens"] if part else int(self.lengths.sum(dtype=np.int64))
        size, ends = path.stat().st_size, self.offsets + self.lengths
        if part:
            fits = not len(ends) or (
                self.offsets[0] >= 0 and ends[-1] <= total and (ends[:-1] <= self.offsets[1:]).all()
            )
        else:
            fits = np.array_equal(self.offsets, np.cumsum(self.lengths, dtype=np.int64) - self.lengths)
        if size != 2 * total or not fits:
            raise UserError(
                f"{path}: {size} bytes, but its index {split}.parquet says {2 * total}; it is truncated or belongs to "
                f"another run; delete {folder} and run {'take_fraction' if part else 'tokenize_rung'} again"
            )
        # an empty file cannot be mapped
        self.tokens: np.ndarray = np.memmap(path, np.uint16, "r") if total else np.empty(0, np.uint16)

    def __len__(self) -> int:
        return len(self.lengths)

    def utterance(self, number: int) -> np.ndarray:
        """(length,) uint16: one utterance with its `<s>` and `</s>`."""
        return self.tokens[self.offsets[number] :][: self.lengths[number]]
