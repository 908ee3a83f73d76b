"""The table in a terminal: it fits 80 columns, and is plain text if stdout is no terminal. Imports no numpy."""

from pathlib import Path
from typing import TextIO

from rich import box
from rich.console import Console
from rich.table import Table

from speechladder.analysis.csv_tables import accuracy_columns, interval_columns, read_csv
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.io.files import read_json
from speechladder.report.notes import causes_notes, floor_notes, seeds_note, twos_note, types_notes, variability_notes

PLAIN_WIDTH = 100  # columns if stdout is no terminal
CAUSES_WIDTH = 116  # columns that the longest rows of causes.csv take
CONTINUATION_TITLES = ("rung", "PPL", "ceiling", "babble", "dist-2", "words/s", "empty")
CONTINUATION = (
    *("rung", *interval_columns("ppl"), "ceiling", "text_ceiling", "floor", "babble"),
    *("distinct_2", "words_per_second", "empty"),
)
CAUSES = ("name", "base", "seeds", "task", "norm", *interval_columns("difference"), "floor", "p_holm")
NORM_TITLES = {
    "sum": "log-likelihood summed over tokens",
    "mean": "log-likelihood per token",
    "span": "log-likelihood per token after the common beginning",
}


def print_table(results: Path = Path("results")) -> None:
    """Print results/table.csv in the terminal, and the paths of the figures.

    Args:
        results: folder with table.csv
    """
    show(results)


def print_causes(results: Path = Path("results")) -> None:
    """Print results/causes.csv in the terminal, and how much of factor C one flat voice gives back.

    Args:
        results: folder with causes.csv and causes_share.csv
    """
    show_causes(results)


def show_causes(results: Path, file: TextIO | None = None, width: int | None = None) -> None:
    """Print what each rung and corpus loses against the one it is compared with (sum) to `file` (stdout), with notes.

    Raises UserError if a table is missing or lacks a column.
    """
    path = results / "causes.csv"
    rows = [row for row in read_csv(path, CAUSES) if row["norm"] == "sum"]
    console = _console(file, width)
    if width is None:
        console.width = max(console.width, CAUSES_WIDTH)  # a narrower terminal breaks lines, and no figure is cut off
    table = _table(
        "Difference to the other row in points; *: p (Holm) below 0.05; ~: that row is at the floor",
        ["rung or corpus", "against", *(task.short_title for task in TASKS.values())],
    )
    cells = {(row["name"], row["task"]): row for row in rows}
    for name, base in {row["name"]: row["base"] for row in rows}.items():
        if base:
            table.add_row(name, base, *(_difference(cells[name, task]) for task in TASKS))
    console.print(table)
    console.print()
    for note in causes_notes(results / "causes_share.csv"):
        console.print(note)
    single = list(dict.fromkeys(row["name"] for row in rows if int(row["seeds"]) == 1))
    if len(single) == len({row["name"] for row in rows}):
        console.print("One model per row: the intervals hold the items only. make causes SEEDS=3 gives three.")
    elif single:
        console.print(f"One model, so that the intervals hold the items only: {', '.join(single)}.")
    console.print(f"Table:   {path} (with accuracies, bits and the mean per token)", soft_wrap=True)
    console.print(f"Bits:    {results / 'bit_budget.csv'}", soft_wrap=True)
    console.print(f"Figure:  {results / 'figures' / 'causes.svg'}", soft_wrap=True)


def _difference(row: dict[str, str]) -> str:
    """'-5.1 [-7.9, -2.5]*', with '~' where no loss can show."""
    value, low, high = (row[column] for column in interval_columns("difference"))
    return f"{value} [{low}, {high}]" + "*" * (float(row["p_holm"]) < 0.05) + "~" * (row["floor"] == "true")


def _console(file: TextIO | None, width: int | None) -> Console:
    """A console without colours of its own; PLAIN_WIDTH columns wide if stdout is no terminal."""
    console = Console(file=file, width=width, highlight=False, emoji=False, markup=False)
    if width is None and not console.is_terminal:
        console = Console(file=file, width=PLAIN_WIDTH, highlight=False, emoji=False, markup=False)
    return console


def show(results: Path, file: TextIO | None = None, width: int | None = None) -> None:
    """Print results/table.csv to `file` (stdout), notes on official benchmarks, the continuations, and further paths.

    Raises UserError if a table is missing or lacks a column.
    """
    path = results / "table.csv"
    facts = ("rung", "vocab_size", "tokens_per_second", "seeds", "train_tokens", "passes", "valid_bits_per_second")
    rows = read_csv(path, [*facts, *accuracy_columns(), *accuracy_columns(kind="pairwise_")])
    console = _console(file, width)
    table = _table("Models", ["rung", "vocab", "tokens/s", "train tokens", "passes", "valid bits/s"])
    for row in rows:
        values = int(row["vocab_size"]), float(row["tokens_per_second"]), int(row["train_tokens"])
        shown = f"{values[0]:,}", f"{values[1]:.1f}", f"{values[2]:,}", row["passes"], row["valid_bits_per_second"]
        table.add_row(row["rung"], *shown)
    console.print(table)
    console.print()
    for norm, meaning in NORM_TITLES.items():
        table = _table(
            f"Accuracy in % with interval, {meaning} (chance is 50)",
            ["rung", *(task.short_title for task in TASKS.values())],
        )
        for row in rows:
            table.add_row(row["rung"], *(_cell(row, f"{task}_{norm}") for task in TASKS))
        console.print(table)
        console.print()
    for note in (seeds_note(rows), *twos_note(rows), *floor_notes(results), *types_notes(results)):
        console.print(note)
    console.print()
    _show_notes(console, results)
    _show_continuation(console, results, rows)
    console.print(f"Table:   {path}", soft_wrap=True)
    if (results / "report.html").is_file():
        console.print(f"Page:    {results / 'report.html'}", soft_wrap=True)
    if (results / "slm21.csv").is_file():
        console.print(f"sLM21:   {results / 'slm21.csv'} (by frequency, length and type)", soft_wrap=True)
    if (results / "variability_change.csv").is_file():
        console.print(f"Dial:    {results / 'variability.csv'}", soft_wrap=True)
        for note in variability_notes(results / "variability_change.csv"):
            console.print(f"  {note}")
    if (results / "causes_share.csv").is_file():
        console.print(f"Causes:  {results / 'causes.csv'}, {results / 'bit_budget.csv'}", soft_wrap=True)
        for note in causes_notes(results / "causes_share.csv"):
            console.print(f"  {note}")
    console.print(f"Steps:   {results / 'factors.csv'} (A, B, C)", soft_wrap=True)
    figures = sorted(figure.stem for figure in (results / "figures").glob("*.svg"))
    if figures:
        console.print(f"Figures: {results / 'figures'}/*.svg and *.png ({', '.join(figures)})", soft_wrap=True)


def _show_notes(console: Console, results: Path) -> None:
    """Print what the reader of the accuracies should know of the items."""
    paths = {task: results / "benchmarks" / task / "about.json" for task in TASKS}
    notes = {task: read_json(path).get("notes", []) for task, path in paths.items() if path.is_file()}
    for task, found in notes.items():
        if found:
            console.print(f"Note: {TASKS[task].short_title} is {'; '.join(found)}.")
    if any(notes.values()):
        console.print()


def _show_continuation(console: Console, results: Path, rows: list[dict[str, str]]) -> None:
    """Print the perplexities with their ceilings and the floor; nothing if no rung has continuations."""
    path = results / "continuation.csv"
    about = {row["rung"]: row for row in read_csv(path, CONTINUATION)} if path.is_file() else {}
    spoken = [about[row["rung"]] for row in rows if row["rung"] in about]
    if not spoken:
        return
    table = _table("Continuation: perplexity per word under the judge, lower is better", list(CONTINUATION_TITLES))
    for row in spoken:
        interval = f" [{_ppl(row['ppl_low'])}, {_ppl(row['ppl_high'])}]" if row["ppl_low"] else ""
        varied, rate = (f"{float(row[name]):.2f}" if row[name] else "-" for name in ("distinct_2", "words_per_second"))
        empty = f"{float(row['empty']):.0f} %" if row["empty"] else "-"
        bounds = _ppl(row["ceiling"]), _ppl(row["babble"])
        table.add_row(row["rung"], _ppl(row["ppl"]) + interval, *bounds, varied, rate, empty)
    console.print(table)
    first = spoken[0]
    notes = [
        f"True continuations as text {_ppl(first['text_ceiling'])} (the ceiling), their words shuffled "
        f"{_ppl(first['floor'])} (the floor); 'ceiling' above: through the rung's own path."
    ]
    path = results / "continuation" / "quality.json"
    if path.is_file():
        quality = read_json(path)
        names = (
            ("natural", "natural speech"),
            ("tts", "text through TTS"),
            ("resynthesis", "units through the vocoder"),
        )

        def rates(of: dict[str, float]) -> str:
            return ", ".join(f"{name} {100 * of[key]:.0f} %" for key, name in names if key in of)

        lost, second = quality.get("wer", {}), quality.get("second_asr", {})
        if quality.get("babble_prompts"):
            notes.append(
                f"'babble': a bigram model of the rung's tokens after the first {quality['babble_prompts']} prompts, "
                "through the rung's own path (the floor of that path)."
            )
        notes += [f"Word error rates (WER): {rates(lost)}."] if lost else []
        notes += [f"The same by {second['asr']}: {rates(second['wer'])}."] if second else []
        notes += [f"Note: {note}." for note in quality.get("notes", [])]
    for note in notes:
        console.print(note)
    console.print()


def _ppl(text: str) -> str:
    """A perplexity, short enough for an interval to fit: '7.42', '38.1', '1204', '52k', '5e13'; a dash for no value."""
    if not text:
        return "-"
    value = float(text)
    if value >= 999_500:  # no sensible judge gives such a value
        return f"{value:.0e}".replace("e+", "e")
    if value >= 9999.5:
        return f"{value / 1000:.0f}k"
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def _table(title: str, columns: list[str]) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False
    )
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    return table


def _cell(row: dict[str, str], name: str) -> str:
    """'85.3 [82.1, 88.0]', short enough for three of them and the longest rung to fit 80 columns."""
    value, low, high = (_short(row[column]) for column in interval_columns(name))
    return f"{value} [{low}, {high}]"


def _short(percent: str) -> str:
    text = f"{float(percent):.1f}"
    return "100" if text == "100.0" else text
