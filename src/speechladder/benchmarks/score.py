"""Likelihood of every benchmark item under every model of a rung.

The negative log-likelihood of an item is the sum, in nats, over its tokens given `<s>` and the tokens before; `</s>` is
not scored. The computation is in fp32: under bf16 an item moved by up to 0.3 nats, and by 0.015 with its batch (fp32:
5e-6). Equal token sequences are scored once and share the number, so ties are exact.

The span of an item is what follows the beginning that both halves of its pair share in tokens. Its negative
log-likelihood is the sum over its tokens, each given all tokens before. If one half is the beginning of the other, the
last token of the shorter one counts to the span, so that both halves have one. Likelihoods that are taken over the
whole sequence were criticised for what they say of speech (arXiv 2601.06329).
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from speechladder.benchmarks.pairs import by_two
from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.io.progress import progress
from speechladder.io.tables import ITEM_TOKENS, ITEMS, LEARNING, SCORES, read_table, write_table
from speechladder.lm.likelihood import span_nll
from speechladder.lm.model import load_model, load_snapshot, prepare_torch
from speechladder.settings import Scores

COLUMNS = ["item", "id", "voice", "correct", "type", "split", "two"]
Row = dict[str, Any]
Score = Callable[..., tuple[np.ndarray, np.ndarray]]  # as `span_nll`


class TaskItems:
    """The items of a task with their tokens: `rows` as in ITEMS, `sequences` of (n,) ids in the same order."""

    def __init__(self, name: str, rows: Sequence[Row], sequences: Sequence[np.ndarray]) -> None:
        self.name, self.sequences = name, sequences
        self.rows = [row | {name: row[name] or "" for name in ("split", "two")} for row in rows]
        self._first_voice: dict[str, str] = {}  # of each pair
        for row in self.rows:
            self._first_voice.setdefault(row["id"], row["voice"])
        half = {(r["id"], r["voice"], r["correct"]): s for r, s in zip(self.rows, self.sequences)}
        others = (half.get((r["id"], r["voice"], not r["correct"])) for r in self.rows)
        self.common = [0 if o is None else common_beginning(s, o) for s, o in zip(self.sequences, others)]

    @classmethod
    def read(cls, name: str, items: Path, tokens: Path) -> "TaskItems":
        """From ITEMS and ITEM_TOKENS. Raises UserError if the two files are not of the same items."""
        rows = read_table(items, ITEMS, COLUMNS).to_pylist()
        table = read_table(tokens, ITEM_TOKENS)
        by_item = dict(zip(table.column("item").to_pylist(), table.column("tokens").to_pylist()))
        missing = [r["item"] for r in rows if r["item"] not in by_item]
        if missing or len(by_item) != len(rows):
            raise UserError(
                f"{tokens}: {len(by_item)} items, but {items} has {len(rows)} ({len(missing)} without tokens: "
                f"{missing[:1]} ...); the two files are of different runs; run tokenize_items again"
            )
        return cls(name, rows, [np.asarray(by_item[r["item"]], dtype=np.uint16) for r in rows])

    def sample(self, pairs: int, split: str) -> list[bool]:
        """Whether each item belongs to the learning curve's sample.

        The sample has at most `pairs` pairs (0: all), evenly spread, each in its first voice. A two is taken or left as
        a whole, and the sample has at least one. If the task has splits, the sample is of `split` alone.
        """
        known = {row["id"]: row["two"] for row in self.rows if row["split"] in ("", split)}
        units = by_two([*known], known.values())
        take = max(1, pairs * len(units) // len(known)) if 0 < pairs < len(known) else len(units)
        kept = {name for i in range(take) for name in units[i * len(units) // take]}
        return [r["id"] in kept and r["voice"] == self._first_voice[r["id"]] for r in self.rows]


def common_beginning(one: np.ndarray, other: np.ndarray) -> int:
    """How many predicted tokens two sequences share at their beginning, but never all of either.

    The first token of a sequence is given, not predicted.
    """
    length = min(len(one), len(other))
    differ = np.flatnonzero(one[: length - 1] != other[: length - 1])
    return max(0, int(differ[0] if len(differ) else length - 1) - 1)


def score_rung(
    models: Sequence[Path],
    items: Sequence[Path],
    tokens: Sequence[Path],
    out: Sequence[Path],
    curve: Path,
    scores: Scores,
    split: str = "",
) -> None:
    """Score the benchmark items of one rung with each of its models.

    Layer by layer, each hidden state (the embeddings first) passes through the final norm and the output head; the last
    entry of `layer_nll` equals `nll`, and so for the span. The learning curve is scored on a sample of pairs, since
    each snapshot costs a pass over its items. It ends with the model itself (`final`) at the number of tokens that its
    weights, those of the best validation, have seen. Raises UserError if items and tokens differ or a model has another
    vocabulary.

    Args:
        models: folders lm/{rung}/seed{n} of all seeds
        items: benchmarks/{task}/items.parquet of each task
        tokens: benchmarks/{task}/{rung}.parquet, in the same order
        out: scores/{rung}/{task}.parquet to write, in the same order; the file's name is the task's
        curve: scores/{rung}/learning.parquet to write
        split: split of an official benchmark that the learning curve is scored on
    """
    if not len(items) == len(tokens) == len(out):
        raise UserError("--items, --tokens and --out must name the same tasks in the same order")
    device = prepare_torch(threads=1)
    tasks = [TaskItems.read(Path(o).stem, Path(i), Path(t)) for i, t, o in zip(items, tokens, out)]
    scored: dict[str, list[Row]] = {task.name: [] for task in tasks}
    points: list[Row] = []
    for folder in map(Path, models):
        about, model = read_json(folder / "train.json"), load_model(folder).to(device)
        _check_vocabulary(folder, model, tasks)
        label = f"score {about['rung']} seed {about['seed']}"
        everything = [s for task in tasks for s in task.sequences]
        common = [count for task in tasks for count in task.common]
        nll, span = unique_nll(model, everything, common, scores.batch_tokens, scores.layers, label)
        begin = 0
        for task in tasks:
            own = slice(begin, begin + len(task.rows))
            scored[task.name] += score_rows(task, nll[own], span[own], about["seed"], scores.layers)
            begin += len(task.rows)
        if scores.learning:
            kept = np.stack([nll[:, -1], span[:, -1]], 1)
            points += _learning_curve(folder, about, model, tasks, kept, scores, split, label)
    for task, path in zip(tasks, out):
        write_table(path, pa.Table.from_pylist(scored[task.name], schema=SCORES), SCORES)
    write_table(curve, pa.Table.from_pylist(points, schema=LEARNING), LEARNING)


def _check_vocabulary(folder: Path, model: torch.nn.Module, tasks: Sequence[TaskItems]) -> None:
    largest = max((int(s.max()) for task in tasks for s in task.sequences), default=0)
    if largest >= model.config.vocab_size:
        raise UserError(
            f"{folder}: {model.config.vocab_size} ids, but the items hold {largest}; items and model are of "
            "different tokenizers; run tokenize_items and train_lm again"
        )


def score_rows(task: TaskItems, nll: np.ndarray, span: np.ndarray, seed: int, layers: bool) -> Iterator[Row]:
    """Rows of SCORES from (items, columns) nats of the items and of their spans."""
    for row, sequence, common, whole, end in zip(task.rows, task.sequences, task.common, nll, span):
        deep = {"layer_nll": whole.tolist() if layers else [], "layer_span_nll": end.tolist() if layers else []}
        yield row | {"seed": seed} | _counted(sequence, common, whole[-1], end[-1]) | deep


def _counted(sequence: np.ndarray, common: int, nll: float, span_nll: float) -> Row:
    """The columns of SCORES and LEARNING that hold an item's score."""
    tokens = len(sequence) - 1
    return {"nll": nll, "tokens": tokens, "span_nll": span_nll, "span_tokens": tokens - common}


def _learning_curve(
    folder: Path,
    about: Row,
    model: torch.nn.Module,
    tasks: Sequence[TaskItems],
    nll: np.ndarray,
    scores: Scores,
    split: str,
    label: str,
) -> Iterator[Row]:
    """Rows of LEARNING for one model, which afterwards has the weights of its last snapshot.

    `nll` (items, 2) holds the nats of all items and their spans under the weights that the model has before.
    """
    rows = [(task.name, *item) for task in tasks for item in zip(task.rows, task.sequences, task.common)]
    taken = [flag for task in tasks for flag in task.sample(scores.learning_pairs, split)]
    chosen = [i for i, flag in enumerate(taken) if flag]
    sequences, common, kept_at = [rows[i][2] for i in chosen], [rows[i][3] for i in chosen], about["best_tokens"]
    columns = {(kept_at, True): nll[chosen]}
    for path in sorted((folder / "learning").glob("[0-9]*.safetensors")):
        seen = int(path.stem)
        if seen == kept_at:  # the snapshot has the same weights
            columns[seen, False] = columns[kept_at, True]
            continue
        load_snapshot(model, path)
        found = unique_nll(model, sequences, common, scores.batch_tokens, False, f"{label} at {seen:,} tokens")
        columns[seen, False] = np.concatenate(found, 1)
    for (seen, final), values in sorted(columns.items(), key=lambda point: (point[0][1], point[0][0])):
        point = {"seed": about["seed"], "train_tokens": seen, "final": final}
        for i, (whole, end) in zip(chosen, values):
            name, row, sequence, common_here = rows[i]
            kept = {key: row[key] for key in ("item", "id", "voice", "correct", "two")} | {"task": name}
            yield kept | point | _counted(sequence, common_here, whole, end)


def unique_nll(
    model: torch.nn.Module,
    sequences: Sequence[np.ndarray],
    common: Sequence[int],
    batch_tokens: int,
    layers: bool,
    label: str,
    score: Score = span_nll,
) -> tuple[np.ndarray, np.ndarray]:
    """The nats of n sequences, and of each without its first `common` predicted tokens; a distinct one is scored once.

    Both are (n, 1) or, with `layers`, (n, layers + 1) float64. `score` is `span_nll`, or such a function for another
    kind of model.
    """
    place: dict[bytes, int] = {}
    where = [place.setdefault(s.tobytes(), len(place)) for s in sequences]
    distinct = [np.frombuffer(content, sequences[0].dtype) for content in place]
    spans: dict[tuple[int, int], int] = {}
    span = [spans.setdefault(key, len(spans)) for key in zip(where, common)]
    with progress(label, sum(map(len, distinct)), "tokens/s") as meter:
        whole, ends = score(model, distinct, [*spans], batch_tokens, layers, meter.advance)
    return whole[where], ends[span]
