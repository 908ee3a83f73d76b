"""docs/leaderboard.md, written from the entries alone."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from speechladder.analysis.accuracy import Estimate
from speechladder.analysis.csv_tables import fixed, percent
from speechladder.analysis.table import starts_at_floor
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import NORMS
from speechladder.io.files import atomic
from speechladder.io.progress import say
from speechladder.leaderboard.board import MAIN, Cell, Standing, is_tie, rank, read_entries
from speechladder.leaderboard.contract import FOLDER, NAME, Contract, read_contract
from speechladder.leaderboard.why import why
from speechladder.report.looks import NORM_LABELS
from speechladder.report.markdown import table_lines
from speechladder.workflow.presets import HOME

PAGE = HOME / "docs" / "leaderboard.md"
TITLES = [task.short_title for task in TASKS.values()]


def write_leaderboard(
    entries: Path = FOLDER / "entries", contract: Path = FOLDER / f"{NAME}.json", out: Path = PAGE
) -> None:
    """Check all entries, compute every figure again from their answers, and write the page.

    Raises UserError as `read_entries` and `rank` do.

    Args:
        entries: folder of the entries
        contract: file of the contract
        out: the page to write
    """
    text = page(entries, read_contract(contract))
    with atomic(out) as temporary:
        temporary.write_text(text, encoding="utf-8")
    say(f"{out}: {sum(path.is_dir() for path in entries.iterdir())} entries")


def page(entries: Path, contract: Contract) -> str:
    """The text of the page."""
    standings = rank(read_entries(entries, contract), contract, entries)
    parts = (_head(contract, len(standings)), _main(standings), why(standings), _behind(standings), _others(standings))
    return "\n".join([line for part in (*parts, _made(standings)) for line in part]) + "\n"


def _head(contract: Contract, entries: int) -> Iterator[str]:
    world, name = contract.world, contract.name
    yield from (f"# Leaderboard: {name}", "")
    yield "<!-- make leaderboard writes this page from leaderboard/entries; a test finds a change by hand. -->"
    yield ""
    yield (
        f"{entries} tokenizers of the same {world.seconds / 3600:.2f} hours of speech ({world.utterances:,} utterances "
        f"of the generated world). Each has {len(contract.seeds)} language models of the same size and budget, which "
        f"answered the same {contract.index().num_rows:,} items. `presets/{name}.yaml` and `leaderboard/{name}.json` "
        "are the frozen contract: every setting, and hashes of texts, audio, alignment and items. How to add a "
        "tokenizer, yours too: [CONTRIBUTING.md](../CONTRIBUTING.md#an-entry-of-the-leaderboard)."
    )
    yield ""
    yield (
        "All accuracies are computed from the answers to single items in `leaderboard/entries/NAME/scores.parquet` "
        f"(`make leaderboard`); nothing is typed in. Intervals are of {contract.analysis.confidence:.0%}, over items "
        f"and seeds. The order is that of {next(iter(TASKS.values())).short_title}. **=**: the paired difference to "
        "the first entry holds 0, so the two are tied on this task. **~**: not told from chance, which is 50."
    )


def _main(standings: Sequence[Standing]) -> Iterator[str]:
    yield from ("", f"## Accuracies ({NORM_LABELS.get(MAIN, MAIN)})", "")
    rows = [["", "entry", "rung", *TITLES, "tokens/s", "bits/s", "PNMI"]]
    for number, standing in enumerate(standings, 1):
        about = standing.entry.about
        facts = [fixed(about["facts"]["tokens_per_second"], 1), fixed(about["facts"]["bits_per_second"], 0)]
        cells = [_cell(standing, task, MAIN) for task in TASKS]
        pnmi = fixed((about["quality"] or {}).get("pnmi"), 3)
        rows.append([str(number), standing.entry.name, about["rung"], *cells, *facts, pnmi])
    yield from table_lines(rows)
    yield ""
    yield (
        "tokens/s: tokens of a second of speech. bits/s: these times the entropy of a token, counted in the training "
        "data. PNMI: the share of the information on phones that units keep, of rungs that are made of units. These "
        "three are of the run, as `entry.json` has them; neither units nor tokens are committed to count them again."
    )


def _behind(standings: Sequence[Standing]) -> Iterator[str]:
    first, *others = standings
    if others:
        yield from _differences(first.entry.name, {each.entry.name: each.behind for each in others})
    base, *others = [each for each in standings if each.behind_units] or [first]
    if others and base is not first:
        name, found = base.entry.name, {each.entry.name: each.behind_units for each in others}
        yield from _differences(f"{name}, the first made of units", found, " **=**")
        yield ""
        yield f"**=**: the difference holds 0, so the entry is tied with {name} on this task."


def _differences(base: str, found: Mapping[str, Mapping[Cell, Estimate]], tie: str = "") -> Iterator[str]:
    """A table of differences by the main norm; `tie` marks those that hold 0."""
    rows = [
        [name, *(_points(of := behind[task, MAIN]) + (tie if is_tie(of) else "") for task in TASKS)]
        for name, behind in found.items()
    ]
    yield from ("", f"## Differences to {base}, in points", "")
    yield from table_lines([["entry", *TITLES], *rows])


def _others(standings: Sequence[Standing]) -> Iterator[str]:
    for norm in NORMS[1:]:
        yield from ("", f"## Accuracies ({NORM_LABELS.get(norm, norm)})", "")
        rows = [[each.entry.name, *(_cell(each, task, norm) for task in TASKS)] for each in standings]
        yield from table_lines([["entry", *TITLES], *rows])


def _made(standings: Sequence[Standing]) -> Iterator[str]:
    yield from ("", "## How they were made", "")
    rows = [["entry", "command", "models trained at", "packed at", "date", "CPU min"]]
    for standing in standings:
        about = standing.entry.about
        packed = about["commit"][:12] + ("" if about["clean"] else " (changed)")
        seconds = sum(cost["cpu_seconds"] for cost in about["costs"].values())
        command = about["command"].replace("|", "\\|")
        trained = about["trained_at"] or ""
        rows.append([standing.entry.name, f"`{command}`", trained, packed, about["date"], fixed(seconds / 60, 0)])
    yield from table_lines(rows)
    yield ""
    yield (
        "`entry.json` of each entry has its settings, packages and machine, the hash of its units, and the costs of "
        "each stage."
    )


def _cell(standing: Standing, task: str, norm: str) -> str:
    found = standing.accuracies[task, norm]
    marks = ("=" if standing.tied((task, norm)) else "") + ("~" if starts_at_floor(found) else "")
    return f"{percent(found.value)} [{percent(found.low)}, {percent(found.high)}]" + (f" **{marks}**" if marks else "")


def _points(found: Estimate) -> str:
    return f"{_signed(found.value)} [{_signed(found.low)}, {_signed(found.high)}]"


def _signed(share: float) -> str:
    text = percent(share)
    return text if text.startswith("-") or not float(text) else f"+{text}"
