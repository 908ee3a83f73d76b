"""The likelihood of the items' speech, text and phone versions under a model that others trained."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from speechladder.benchmarks.external.layout import SLAMKIT, Layout, field_of, read_layout, version_of
from speechladder.benchmarks.score import COLUMNS, Row, TaskItems, score_rows, unique_nll
from speechladder.benchmarks.tokens import encode_items
from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.io.hub import fetch_model
from speechladder.io.progress import say
from speechladder.io.tables import EXTERNAL_SCORES, ITEMS, read_table, write_table
from speechladder.lm.causal import causal_nll, load_causal
from speechladder.lm.likelihood import span_nll
from speechladder.lm.model import load_model, prepare_torch
from speechladder.rungs import registry
from speechladder.rungs.tokenizers import Codec
from speechladder.rungs.utterances import read_items
from speechladder.settings import Tokens
from speechladder.settings.external import ExternalModel
from speechladder.units.diagnostics.quality import deduplicate

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FILES = ("*.json", "*.txt", "*.model")  # of a hub's model, beside its weights
SPELLED = "phone-raw"  # the rung whose symbols are the phones that are spelled
Encode = Callable[[registry.Utterance], Sequence[int]]


def score_external(
    model: ExternalModel,
    items: Sequence[Path],
    out: Path,
    clusters: int,
    tokens: Tokens,
    item_units: Sequence[Path] = (),
    run_rate: float | None = None,
    batch_tokens: int = 2048,
) -> None:
    """Score the items of all tasks with a model that others trained, in each version that the model reads.

    Speech is the run's units by the model's ids, text the normalised text by the model's tokenizer, and phones those of
    phone-raw. A model that speechladder trained reads the items as its rung has them. The computation is in fp32, as
    that of `score_rung`. Raises UserError if the model's files do not tell how its vocabulary holds units, if it was
    trained on other units than the run's, or if an item is longer than its positions allow.

    Args:
        items: benchmarks/{task}/items.parquet of each task
        out: external/{name}.parquet to write
        clusters: number of units of this run
        item_units: benchmarks/{task}/units.parquet of each task, in the same order; none for a model without units
        run_rate: units per second of this run; without it they have no rate
        batch_tokens: tokens in a batch, padding included
    """
    field = field_of(model)
    device = prepare_torch(threads=1)
    folder = fetch_model(model.model, field, FILES, revision=model.revision)
    layout = read_layout(model, folder, clusters, run_rate)
    if "speech" in layout.versions and not item_units:
        raise UserError(f"{field}: it reads units, but --item-units names no file")
    rows: list[Row] = []
    lm = load_model(folder) if layout.rung else load_causal(folder, field, _is_wrapped(folder))
    lm = lm.to(device)
    for version, sets in encoded(layout, folder, items, item_units, tokens).items():
        say(f"{field}: {version}, {sum(len(own.sequences) for own in sets)} items")
        rows += _scored(lm, layout, version, sets, batch_tokens, field)
    write_table(out, pa.Table.from_pylist(rows, schema=EXTERNAL_SCORES), EXTERNAL_SCORES)


def _is_wrapped(folder: Path) -> bool:
    return read_json(folder / "config.json").get("model_type") == SLAMKIT


def encoded(
    layout: Layout, folder: Path, items: Sequence[Path], units: Sequence[Path], options: Tokens
) -> dict[str, list[TaskItems]]:
    """Version -> the items of each task as token ids of the model."""
    paths = list(zip(items, units or [None] * len(items), strict=True))
    if layout.rung:
        rung, codec = registry.get(layout.rung), Codec(folder)
        found = {
            path: {r["item"]: r["tokens"] for r in encode_items(rung, codec, path, own, options)} for path, own in paths
        }
        return {version_of(layout.rung): [_task(path, found[path]) for path, _ in paths]}
    encoders = dict(_encoders(layout, folder))
    out: dict[str, list[TaskItems]] = {version: [] for version in encoders}
    for path, own in paths:
        needs = ("text", "alignment", *(["units"] if layout.units is not None else []))
        utterances = list(read_items(path, own, needs, options))
        for version, encode in encoders.items():
            begin = [] if layout.bos is None else [layout.bos]
            out[version].append(_task(path, {u.id: [*begin, *encode(u)] for u in utterances}))
    return out


def _encoders(layout: Layout, folder: Path) -> Iterator[tuple[str, Encode]]:
    """The versions with the function that makes token ids of an item."""
    if layout.units is not None:
        yield "speech", lambda item: layout.units[deduplicate(item.units) if layout.dedup else item.units].tolist()
    if layout.text or layout.phones:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)

        def spelled(text: str) -> list[int]:
            return tokenizer(text, add_special_tokens=False)["input_ids"]

        if layout.text:
            yield "text", lambda item: spelled(item.text)
        if layout.phones:
            yield "phones", lambda item: spelled(" ".join(registry.get(SPELLED).function(item)))


def _task(items: Path, tokens: dict[str, Sequence[int]]) -> TaskItems:
    rows = read_table(items, ITEMS, COLUMNS).to_pylist()
    return TaskItems(items.parent.name, rows, [np.asarray(tokens[row["item"]], np.uint32) for row in rows])


def _scored(
    lm: "PreTrainedModel", layout: Layout, version: str, sets: Sequence[TaskItems], batch_tokens: int, field: str
) -> Iterator[Row]:
    """Rows of EXTERNAL_SCORES of one version."""
    for task in sets:
        for row, sequence in zip(task.rows, task.sequences):
            where = f"{field}: {version} of {task.name}, item {row['item']!r}"
            if len(sequence) < 2:
                raise UserError(f"{where}: {len(sequence)} tokens, so nothing is predicted; write bos: ID")
            if layout.longest and len(sequence) > layout.longest:
                raise UserError(f"{where}: {len(sequence)} tokens, but the model has {layout.longest} positions")
            if sequence.max() >= layout.size:
                raise UserError(f"{where}: token id {sequence.max()}, but the model has {layout.size} ids")
    sequences = [s for task in sets for s in task.sequences]
    common = [count for task in sets for count in task.common]
    score = span_nll if layout.rung else causal_nll
    nll, span = unique_nll(lm, sequences, common, batch_tokens, False, f"{field} {version}", score)
    begin = 0
    for task in sets:
        own = slice(begin, begin + len(task.rows))
        for row in score_rows(task, nll[own], span[own], 0, False):
            yield {name: row.get(name) for name in EXTERNAL_SCORES.names} | {"version": version, "task": task.name}
        begin += len(task.rows)
