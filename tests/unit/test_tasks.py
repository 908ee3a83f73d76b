"""The registry of tasks: what each task says of itself, and a new task from generation to the figure."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from ladder_results import make
from toy_task import TASK, ToyBenchmarks

from speechladder.analysis import run, table
from speechladder.analysis.csv_tables import read_csv
from speechladder.benchmarks.items import make_items
from speechladder.benchmarks.score import score_rung
from speechladder.benchmarks.tasks.registry import TASKS, get_task, register
from speechladder.benchmarks.tokens import tokenize_tasks
from speechladder.constants import NORMS
from speechladder.io.errors import UserError
from speechladder.io.files import write_json
from speechladder.io.tables import ITEM_TOKENS, ITEMS, SCORES, read_table, write_table
from speechladder.report.figures import draw_factors, draw_ladder
from speechladder.report.terminal import show
from speechladder.settings import Alignment, Analysis, Benchmarks, Scores

RUNG, OTHER = "text-raw", "phone-raw"


@pytest.fixture
def toy(monkeypatch):
    """The toy task is registered for the time of a test."""
    monkeypatch.setitem(TASKS, TASK.name, TASK)  # which takes it away at the end
    del TASKS[TASK.name]
    register(TASK)
    return TASK


def test_the_tasks_in_order_and_their_settings():
    assert list(TASKS) == ["swuggy", "sblimp", "topic"]
    fields = Benchmarks.model_fields
    for name, task in TASKS.items():
        assert task.name == name
        assert {name, task.count_field, task.voices_field, task.official.field} <= fields.keys()
        for settings in (Benchmarks(), Benchmarks(**{task.official.field: "x.zip"}), Benchmarks(**{name: ["x.csv"]})):
            assert task.options(settings) <= fields.keys()


@pytest.mark.parametrize(
    ("task", "settings", "options"),
    [
        ("swuggy", {}, {"voices", "swuggy_pairs"}),
        ("sblimp", {"sblimp": ["x.csv"]}, {"voices", "max_pairs"}),
        ("swuggy", {"slm21": "x.zip"}, {"max_pairs", "slm21_splits"}),
        ("topic", {}, {"topic_voices", "topic_pairs"}),
        ("topic", {"storycloze": "x.zip"}, {"max_pairs"}),
    ],
)
def test_items_depend_on_the_settings_that_they_are_made_with(task, settings, options):
    assert TASKS[task].options(Benchmarks(**settings)) == options


def test_only_stories_without_texts_need_texts():
    assert TASKS["topic"].texts_field(Benchmarks(storycloze="x.zip")) == "storycloze_text"
    assert TASKS["topic"].texts_field(Benchmarks()) is None
    assert TASKS["swuggy"].texts_field(Benchmarks(slm21="x.zip")) is None


def test_a_name_is_taken_once_and_the_nearest_is_suggested():
    with pytest.raises(ValueError, match="'swuggy' is registered already"):
        register(TASKS["swuggy"])
    with pytest.raises(UserError, match="no task 'swugy'; did you mean 'swuggy'"):
        get_task("swugy")


def test_the_registry_and_the_terminal_import_no_numbers():
    """Snakemake imports the registry whenever it starts, and the table is printed at once."""
    code = (
        "import sys, speechladder.benchmarks.tasks.registry, speechladder.report.terminal;"
        "print(*{'numpy', 'pyarrow', 'torch', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def tokenizer_of(folder, rows):
    """tokens/{rung} of a rung of characters, with the letters of these items."""
    letters = sorted({letter for row in rows for letter in row["text"]})
    vocabulary = {word: n for n, word in enumerate(["<pad>", "<s>", "</s>", "<unk>", *letters])}
    write_json(folder / "meta.json", {"rung": RUNG, "settings": {"tokens": {"text_pauses": False}, "clusters": 0}})
    write_json(folder / "tokenizer" / "symbols.json", {"bpe": False, "symbols": letters})
    write_json(folder / "tokenizer" / "tokenizer.json", {"model": {"vocab": vocabulary}})
    return len(vocabulary)


def model_of(folder, vocabulary):
    """A tiny untrained model as lm/{rung}/seed0."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, train_window=64, **sizes)).save_pretrained(folder)
    about = {"rung": RUNG, "seed": 0, "best_tokens": 100, "train_tokens": 100, "valid_bits_per_second": 20.0}
    write_json(folder / "train.json", about)


def test_a_new_task_from_generation_to_the_figure(toy, tmp_path):
    # items: four pairs in two voices, spoken
    items, about = tmp_path / "items.parquet", tmp_path / "about.json"
    settings, paths = ToyBenchmarks(toy_pairs=4), (items, tmp_path / "rejected.jsonl", about)
    make_items("toy", settings, Alignment(), *paths, max_rejected=0.0)
    rows = read_table(items, ITEMS).to_pylist()
    assert [row["text"] for row in rows[:2]] == ["water", "retaw"] and len(rows) == 4 * 2 * 2
    assert json.loads(about.read_text())["source"] == "generated"
    # tokens and scores
    results = make(tmp_path / "results", [RUNG, OTHER], ids=20, layers=0, learning=0)
    vocabulary = tokenizer_of(tmp_path / "tokens", rows)
    tokens, scores = tmp_path / "toy" / f"{RUNG}.parquet", results / "scores" / RUNG / "toy.parquet"
    tokenize_tasks(tmp_path / "tokens", [items], [tokens])
    words = {row["item"]: row["text"] for row in rows}
    assert all(len(row["tokens"]) == 1 + len(words[row["item"]]) for row in _rows(tokens, ITEM_TOKENS))
    model_of(tmp_path / "model", vocabulary)
    curve = results / "scores" / RUNG / "learning.parquet"
    score_rung([tmp_path / "model"], [items], [tokens], [scores], curve, Scores())
    found = _rows(scores, SCORES)
    assert len(found) == len(rows) and all(len(row["layer_nll"]) == 3 for row in found)
    # every pair is right on the next rung
    better = [row | {"nll": 9.0 if row["correct"] else 99.0, "layer_nll": []} for row in found]
    write_table(results / "scores" / OTHER / "toy.parquet", better, SCORES)
    # tables: the task has its columns, and the value is what the scores say
    analysis = Analysis(resamples=100)
    run.write_tables(results, [RUNG, OTHER], 1, [0], analysis)
    (row, _) = read_csv(results / "table.csv", table.table_columns())
    ends = [f"{norm}{end}" for norm in NORMS for end in ("", "_low", "_high")]
    assert [name for name in row if name.startswith("toy")] == [
        f"toy_{k}{end}" for k in ("", "pairwise_") for end in ends
    ]
    nll = {(r["id"], r["voice"], r["correct"]): r["nll"] for r in found}
    right = np.mean([nll[id, voice, True] < nll[id, voice, False] for id, voice, correct in nll if correct])
    assert row["toy_sum"] == f"{100 * right:.1f}"
    for name in ("layers.csv", "learning.csv"):
        assert "toy" in {row["task"] for row in read_csv(results / name)}
    out = io.StringIO()
    show(results, file=out, width=100)
    assert "Toy" in out.getvalue()
    # figures: a panel of its own
    figure = draw_ladder(results / "table.csv", results / "figures")
    assert [axis.get_title() for axis in figure.axes] == [task.title for task in TASKS.values()]
    values = [line.get_xdata()[0] for line in figure.axes[-1].lines if len(line.get_xdata()) == 1]
    assert f"{100 * right:.1f}" == f"{values[0]:.1f}"
    assert "Toy (reversed words)" in (results / "figures" / "ladder.svg").read_text()
    (change,) = (r["difference"] for r in read_csv(results / "factors.csv") if (r["task"], r["norm"]) == ("toy", "sum"))
    assert change == f"{100 - 100 * right:.1f}"
    assert draw_factors(results / "factors.csv", results / "figures").axes[-1].get_title() == TASK.title


def _rows(path, schema):
    return read_table(path, schema).to_pylist()
