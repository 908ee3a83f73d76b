"""Benchmark items as tokens of a rung."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.io.tables import ITEM_TOKENS, write_table
from speechladder.rungs import registry
from speechladder.rungs.pack import CONFUSIONS, common_fields
from speechladder.rungs.tokenizers import BOS, UNK, Codec
from speechladder.rungs.utterances import read_items
from speechladder.settings import Tokens


def tokenize_tasks(tokens: Path, items: Sequence[Path], out: Sequence[Path], units: Sequence[Path] = ()) -> None:
    """Write the items of several tasks as tokens of one rung.

    Args:
        tokens: folder tokens/{rung}, which holds the rung's name, settings and tokenizer
        items: benchmarks/{task}/items.parquet of each task
        out: benchmarks/{task}/{rung}.parquet to write, in the same order
        units: benchmarks/{task}/units.parquet in the same order, for rungs that read units
    """
    if len(items) != len(out) or (units and len(units) != len(items)):
        raise UserError("--items, --units and --out must name the same tasks in the same order")
    for paths in zip(items, units or [None] * len(items), out):
        tokenize_items(tokens, *paths)


def tokenize_items(folder: str | Path, items: str | Path, units: str | Path | None, out: str | Path) -> int:
    """Write benchmarks/{task}/{rung}.parquet (ITEM_TOKENS: `<s> tokens`, no `</s>`) and return the number of items.

    `folder` is tokens/{rung}. Its meta.json holds the rung and the settings, and the folder holds the confusions of a
    rung that needs them, so items are written exactly as the corpus was. Rungs that need units read them from `units`
    (UNITS, id = item). Raises UserError, with the count, if items hold symbols that the rung lacks or become empty,
    since rungs must be compared on the same set of items.
    """
    meta = read_json(Path(folder) / "meta.json")
    rung, options = registry.get(meta["rung"]), Tokens(**meta["settings"]["tokens"])
    table, made = Path(folder) / CONFUSIONS if "confusions" in rung.needs else None, meta["settings"]
    common = common_fields(rung, table, made.get("seed"), made["clusters"])
    rows = encode_items(rung, Codec(Path(folder) / "tokenizer"), items, units, options, **common)
    write_table(out, rows, ITEM_TOKENS)
    return len(rows)


def encode_items(
    rung: registry.Rung,
    codec: Codec,
    items: str | Path,
    units: str | Path | None,
    options: Tokens,
    **common: Any,
) -> list[dict[str, Any]]:
    """The items as rows of ITEM_TOKENS; `common` as in `read_items`. Raise UserError as `tokenize_items`."""
    rows, bad, missing, known = [], [], Counter(), {*codec.symbols}
    for item in read_items(items, units, rung.needs, options, **common):
        symbols = rung.function(item)
        (ids,) = codec.encode([symbols])
        if UNK in ids or not ids:
            bad.append(item.id)
            missing.update(s for s in symbols if s not in known)
        rows.append({"item": item.id, "tokens": [BOS, *ids]})
    if bad:
        most = ", ".join(f"{s!r} ({n})" for s, n in missing.most_common(5)) or "none, they are empty"
        raise UserError(
            f"{items}: {len(bad)} of {len(rows)} items cannot be said on rung {rung.name} (symbols it lacks: {most}); "
            f"first {bad[0]!r}; correct the pairs or the rung's alphabet"
        )
    return rows
