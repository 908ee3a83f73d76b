"""A browser of pairs: which a rung gets right and wrong, by how much, and how they sound."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from speechladder.analysis.accuracy import generator
from speechladder.analysis.compare import run_rungs
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import NORMS
from speechladder.io.columns import batches
from speechladder.io.tables import ITEMS, SCORES, read_table
from speechladder.report.page.numbers import listed
from speechladder.report.page.section import Section
from speechladder.report.page.sections.listen import decoded
from speechladder.report.page.sound import Budget, Sound, sound

PAIRS = 8  # of a task
SEED = 0  # of the draw
AUDIO = 3_000_000  # bytes of the page for the pairs, the same share for each task
PHONES = 80  # of an item with more, the phones are left out

Row = Mapping[str, Any]
Key = tuple[str, str]  # id of a pair, voice


class Margin(NamedTuple):
    """By how much a rung finds the correct item likelier, in nats, under each norm (constants.NORMS)."""

    sum: float
    mean: float
    span: float

    def answer(self, norm: str) -> str:
        """right, wrong or, on an exact tie, tie."""
        value = getattr(self, norm)
        return "right" if value > 0 else "wrong" if value < 0 else "tie"


@dataclass(frozen=True)
class Item:
    """One half of a pair; `words` are those of its text, and whether the other half lacks them."""

    correct: bool
    words: Sequence[tuple[str, bool]]
    phones: str
    sound: Sound | None


@dataclass(frozen=True)
class Pair:
    """A pair in one voice with the margins of all rungs that scored it."""

    task: str
    id: str
    type: str
    voice: str
    items: tuple[Item, Item]
    margins: Mapping[str, Margin]

    def rungs(self, answer: str, norm: str) -> list[str]:
        """The rungs with this answer."""
        return [rung for rung, margin in self.margins.items() if margin.answer(norm) == answer]

    def largest(self, norm: str) -> float:
        """The largest margin without its sign; 1 if all are 0."""
        return max((abs(getattr(margin, norm)) for margin in self.margins.values()), default=0.0) or 1.0


def section(results: Path) -> Section | None:
    """Some pairs of each task; None if no task has items and scores."""
    rungs = run_rungs(results)
    pairs = [pair for task in TASKS for pair in task_pairs(results, task, rungs)]
    if not pairs:
        return None
    tasks = [name for name in TASKS if any(pair.task == name for pair in pairs)]
    silent = [TASKS[n].title for n in tasks if not any(p.items[0].sound for p in pairs if p.task == n)]
    context = {
        "pairs": pairs,
        "titles": {name: TASKS[name].title for name in tasks},
        "rungs": rungs,
        "most": PAIRS,
        "seed": SEED,
        "silent": listed(silent) if silent else "",
        "norms": NORMS,
    }
    return Section("Pair by pair", "items", "items.html.j2", context, ("hear.js", "items.js"))


def task_pairs(results: Path, task: str, rungs: Sequence[str]) -> list[Pair]:
    """The pairs of a task that the page shows, in the order of the items; [] without its items or scores."""
    path = results / "benchmarks" / task / "items.parquet"
    if not path.is_file():
        return []
    columns = ["item", "id", "voice", "correct"]
    halves: dict[Key, dict[bool, str]] = {}
    for row in read_table(path, ITEMS, columns).select(columns).to_pylist():
        halves.setdefault((row["id"], row["voice"]), {})[row["correct"]] = row["item"]
    of = {rung: read_margins(results / "scores" / rung / f"{task}.parquet", halves) for rung in rungs}
    margins = {key: {rung: of[rung][key] for rung in rungs if key in of[rung]} for key in halves}
    keys = choose({key: found for key, found in margins.items() if found}, task)
    rows = read_items(path, {name for key in keys for name in halves[key].values()})
    budget, found = Budget(AUDIO // len(TASKS)), {}
    for key in keys:
        good, bad = (rows[halves[key][correct]] for correct in (True, False))
        items = (make_item(good, bad), make_item(bad, good))
        if budget.take(*(item.sound for item in items)):
            found[key] = Pair(task, key[0], good["type"] or "", key[1] or "", items, margins[key])
        if len(found) == PAIRS:
            break
    return [found[key] for key in halves if key in found]


def read_margins(path: Path, halves: Mapping[Key, Mapping[bool, str]]) -> dict[Key, Margin]:
    """(id, voice) -> margin under the first model of a rung, for the pairs of which both halves have a score."""
    if not path.is_file():
        return {}
    columns = ["item", "seed", "nll", "tokens", "span_nll", "span_tokens"]
    table = read_table(path, SCORES, columns).select(columns)
    first = min(table["seed"].to_pylist(), default=0)
    scored = {row["item"]: row for row in table.to_pylist() if row["seed"] == first}
    found = {}
    for key, names in halves.items():
        good, bad = (scored.get(names.get(correct, "")) for correct in (True, False))
        if good and bad:
            mean, span = (_per_token(bad, what) - _per_token(good, what) for what in ("", "span_"))
            found[key] = Margin(bad["nll"] - good["nll"], mean, span)
    return found


def _per_token(row: Row, what: str) -> float:
    return row[f"{what}nll"] / row[f"{what}tokens"]


def choose(margins: Mapping[Key, Mapping[str, Margin]], task: str) -> list[Key]:
    """Pairs in a random order, each id in one voice; first those that show what the rungs get right and wrong.

    At most PAIRS come first: each time the pair that shows the most (rung, norm, right or wrong) which those before it
    do not show. Where few pairs are right, or few are wrong, a share among those shown is thus nearer to a half than
    the accuracy is.
    """
    keys = list(margins)
    drawn = [keys[n] for n in generator(SEED, "page", task).permutation(len(keys))]
    order = list({key[0]: key for key in reversed(drawn)}.values())[::-1]
    shows = {
        key: {(rung, norm, of.answer(norm)) for rung, of in margins[key].items() for norm in NORMS} for key in order
    }
    missing, first = set().union(*shows.values()), []
    while missing and len(first) < PAIRS:
        best = max(order, key=lambda key: len(shows[key] & missing))
        first.append(best)
        missing -= shows[best]
    return [*first, *(key for key in order if key not in first)]


def read_items(path: Path, names: set[str]) -> dict[str, Row]:
    """The rows of ITEMS of these names; the audio of the others is never in memory all at once."""
    found: dict[str, Row] = {}
    for part in batches(path, ITEMS, ITEMS.names, size=512):
        here = part.filter(pc.is_in(part["item"], value_set=pa.array(sorted(names), pa.string())))
        found |= {row["item"]: row for row in here.to_pylist()}
    return found


def make_item(row: Row, other: Row) -> Item:
    """One half of a pair beside the other."""
    phones = [span["label"] for span in row["phones"] or []]
    return Item(
        row["correct"],
        marked((row["text"] or "").split(), (other["text"] or "").split()),
        " ".join(phones) if len(phones) <= PHONES else "",
        sound(decoded(row["audio"])),
    )


def marked(words: Sequence[str], other: Sequence[str]) -> list[tuple[str, bool]]:
    """Stretches of the words, and whether `other` has something else in their place."""
    parts = SequenceMatcher(None, words, other, autojunk=False).get_opcodes()
    return [(" ".join(words[a:b]), kind != "equal") for kind, a, b, _, _ in parts if b > a]
