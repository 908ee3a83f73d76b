"""Likelihood of every benchmark item under every model of a rung.

The negative log-likelihood of an item is the sum, in nats, over its tokens given `<s>` and those before; `</s>` is
not scored. In fp32: under bf16 an item moved by up to 0.3 nats, and by 0.015 with its batch (fp32: 5e-6). Equal token
sequences are scored once and share the number, so that a tie is a tie.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.io.progress import progress
from speechladder.io.tables import ITEM_TOKENS, ITEMS, LEARNING, SCORES, read_table, write_table
from speechladder.lm.likelihood import sequence_nll
from speechladder.lm.model import load_model, load_snapshot, prepare_torch
from speechladder.settings import Scores

COLUMNS = ["item", "id", "voice", "correct", "type", "split"]


class Task:
    """Items of a task with their tokens; `rows` as in ITEMS, `sequences` in the same order."""

    def __init__(self, name: str, items: Path, tokens: Path) -> None:
        self.name = name
        self.rows = [row | {"split": row["split"] or ""} for row in read_table(items, ITEMS, COLUMNS).to_pylist()]
        table = read_table(tokens, ITEM_TOKENS)
        by_item = dict(zip(table.column("item").to_pylist(), table.column("tokens").to_pylist()))
        missing = [r["item"] for r in self.rows if r["item"] not in by_item]
        if missing or len(by_item) != len(self.rows):
            raise UserError(
                f"{tokens}: {len(by_item)} items, but {items} has {len(self.rows)} ({len(missing)} without tokens: "
                f"{missing[:1]} ...); one of the two is of another run; run tokenize_items again"
            )
        self.sequences = [np.asarray(by_item[r["item"]], dtype=np.uint16) for r in self.rows]
        first: dict[str, str] = {}
        for row in self.rows:
            first.setdefault(row["id"], row["voice"])
        self._voice = first  # the first voice of each pair

    def spread(self, pairs: int, split: str) -> list[bool]:
        """Which items are of at most `pairs` pairs (0: of any), evenly spread, in the first voice of each; of `split`
        alone, where the task has splits."""
        ids = list(dict.fromkeys(row["id"] for row in self.rows if row["split"] in ("", split)))
        kept = {ids[i * len(ids) // pairs] for i in range(pairs)} if 0 < pairs < len(ids) else {*ids}
        return [r["id"] in kept and r["voice"] == self._voice[r["id"]] for r in self.rows]


def score_rung(
    models: Sequence[Path],
    items: Sequence[Path],
    tokens: Sequence[Path],
    out: Sequence[Path],
    learning: Path,
    settings: Scores,
    threads: int = 1,
    split: str = "",
) -> None:
    """Write scores/{rung}/{task}.parquet (SCORES; a task is named by its file) and the `learning` table (LEARNING).

    `items`, `tokens`, `out` belong together in order. Layer-wise, each hidden state (the embeddings first) goes through
    the final norm and the output head; the last entry of `layer_nll` is `nll`. The learning curve is scored on
    `learning_pairs` pairs of each task (of an official benchmark, of `split`) in their first voice only, since each
    snapshot costs a pass over its items, and ends with the model itself (`final`), at the tokens that its weights, the
    best validated, have seen.
    Raises UserError when items and tokens differ or a model is of another vocabulary.
    """
    device = prepare_torch(threads)
    tasks = [Task(Path(o).stem, Path(i), Path(t)) for i, t, o in zip(items, tokens, out, strict=True)]
    scores: dict[str, list[dict[str, object]]] = {task.name: [] for task in tasks}
    curve: list[dict[str, object]] = []
    for folder in map(Path, models):
        about = read_json(folder / "train.json")
        model = load_model(folder).to(device)
        largest = max((int(s.max()) for task in tasks for s in task.sequences), default=0)
        if largest >= model.config.vocab_size:
            raise UserError(
                f"{folder}: {model.config.vocab_size} ids, but the items hold {largest}; items and model are of "
                "different tokenizers; run tokenize_items and train_lm again"
            )
        label = f"score {about['rung']} seed {about['seed']}"
        everything = [s for task in tasks for s in task.sequences]
        nll = unique_nll(model, everything, settings.batch_tokens, settings.layers, label)
        begin = 0
        for task in tasks:
            for row, sequence, values in zip(task.rows, task.sequences, nll[begin:]):
                layers = values.tolist() if settings.layers else []
                counted = {"seed": about["seed"], "nll": values[-1], "tokens": len(sequence) - 1}
                scores[task.name].append(row | counted | {"layer_nll": layers})
            begin += len(task.rows)
        if not settings.learning:
            continue
        taken = [t for task in tasks for t in task.spread(settings.learning_pairs, split)]
        chosen = [i for i, t in enumerate(taken) if t]
        points = {int(p.stem): p for p in sorted((folder / "learning").glob("[0-9]*.safetensors"))}
        wanted, kept_at = [everything[i] for i in chosen], about["best_tokens"]
        columns = {(kept_at, True): nll[chosen, -1]}
        for seen, path in points.items():
            if seen == kept_at:  # the same weights
                columns[seen, False] = columns[kept_at, True]
                continue
            load_snapshot(model, path)
            found = unique_nll(model, wanted, settings.batch_tokens, False, f"{label} at {seen:,} tokens")
            columns[seen, False] = found[:, 0]
        rows = [(task.name, row) for task in tasks for row in task.rows]
        for (seen, final), values in sorted(columns.items(), key=lambda point: (point[0][1], point[0][0])):
            point = {"seed": about["seed"], "train_tokens": seen, "final": final}
            for i, value in zip(chosen, values):
                task_name, row = rows[i]
                kept = {k: row[k] for k in ("item", "id", "voice", "correct")} | {"task": task_name}
                curve.append(kept | point | {"nll": value, "tokens": len(everything[i]) - 1})
    for task, path in zip(tasks, out):
        write_table(path, pa.Table.from_pylist(scores[task.name], schema=SCORES), SCORES)
    write_table(learning, pa.Table.from_pylist(curve, schema=LEARNING), LEARNING)


def unique_nll(
    model: torch.nn.Module, sequences: Sequence[np.ndarray], batch_tokens: int, layers: bool, label: str
) -> np.ndarray:
    """`sequence_nll` of (n,) sequences, each distinct one scored once: (n, 1) or (n, layers + 1) float64 nats."""
    place: dict[bytes, int] = {}
    where = [place.setdefault(s.tobytes(), len(place)) for s in sequences]
    distinct = [np.frombuffer(content, np.uint16) for content in place]
    with progress(label, sum(map(len, distinct)), "tokens/s") as meter:
        return sequence_nll(model, distinct, batch_tokens, layers, meter.advance)[where]
