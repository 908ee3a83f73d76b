"""Models that others trained: where their units are, and scores that equal those of transformers item by item."""

import csv
import json
from pathlib import Path

import external_checkpoints as made
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from external_checkpoints import UNITS
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from speechladder.analysis.external import COLUMNS, make_external
from speechladder.benchmarks.external.layout import read_layout
from speechladder.benchmarks.external.score import score_external
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.io.errors import UserError
from speechladder.io.files import read_json, write_json
from speechladder.io.tables import EXTERNAL_SCORES, EXTERNAL_UNITS, ITEMS, read_table, write_table
from speechladder.lm.likelihood import sequence_nll
from speechladder.lm.model import build_model, load_model
from speechladder.rungs import registry
from speechladder.rungs.tokenizers import Codec, build
from speechladder.settings import LM, Analysis, External, Settings, Tokens
from speechladder.settings.external import external_model
from speechladder.units.diagnostics.quality import deduplicate
from speechladder.workflow.external import place_models

RATE = 25.0
WORDS = ("cat", "dog", "tree", "stone", "river", "cloud")


class Run:
    """Items of all tasks with units at 25 Hz, as files."""

    def __init__(self, root: Path) -> None:
        rng, self.root = np.random.default_rng(3), root
        self.items = [root / task / "items.parquet" for task in TASKS]
        self.units = [root / task / "units.parquet" for task in TASKS]
        self.rows: dict[str, dict] = {}
        self.own: dict[str, np.ndarray] = {}
        for items, units in zip(self.items, self.units):
            rows = [row for n, word in enumerate(WORDS) for row in _pair(n, word)]
            # the halves begin alike, some units repeat, and lengths differ
            begin = [rng.integers(0, UNITS, 6) for _ in WORDS]
            own = [
                np.repeat(np.r_[begin[n // 2], rng.integers(0, UNITS, 4 + n)], rng.integers(1, 3, 10 + n))
                for n in range(len(rows))
            ]
            for row, ids in zip(rows, own):
                self.rows[items.parent.name + row["item"]], self.own[items.parent.name + row["item"]] = row, ids
            write_table(items, rows, ITEMS)
            columns = [{"id": r["item"], "units": u, "seconds": r["seconds"]} for r, u in zip(rows, own)]
            write_table(units, columns, EXTERNAL_UNITS, rate="25")

    def score(self, folder: Path, out: Path, batch_tokens: int = 4096, **fields: object) -> list[dict]:
        model = external_model({"model": str(folder), **fields})
        score_external(model, self.items, out, UNITS, Tokens(), self.units, RATE, batch_tokens)
        return read_table(out, EXTERNAL_SCORES).to_pylist()


def _pair(number: int, word: str) -> list[dict]:
    common = {"id": f"p{number}", "voice": "v", "type": "t", "split": "", "two": "", "audio": b""}
    phones = [{"label": label, "start": 0.1 * n, "end": 0.1 * n + 0.1} for n, label in enumerate(("K", "AE1", "T"))]
    halves = ((True, word, "K"), (False, f"{word[:2]}x{word[2:]}", "D"))
    return [
        common
        | {"item": f"p{number}|{good}", "correct": good, "text": text, "seconds": 0.3}
        | {"words": [{"label": text, "start": 0.0, "end": 0.3}], "phones": [*phones[:2], phones[2] | {"label": last}]}
        for good, text, last in halves
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("items"))


def plain_nll(model: torch.nn.Module, ids: list[int], begin: int = 1) -> float:
    """By one sequence alone, without padding; `begin` is the first token that counts."""
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, begin - 1 : -1]
    return F.cross_entropy(logits.double(), torch.tensor(ids[begin:]), reduction="sum").item()


def bare(folder: Path) -> torch.nn.Module:
    """The model inside slamkit's wrapper, by hand."""
    model = AutoModelForCausalLM.from_config(made.qwen(UNITS + 2), dtype=torch.float32)
    weights = {name.removeprefix("lm."): tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    model.load_state_dict(weights | {"lm_head.weight": weights["model.embed_tokens.weight"]})
    return model.eval()


@pytest.mark.parametrize(
    ("layout", "fields", "offset", "dedup"),
    [
        (made.slamkit, {}, 2, True),
        (made.behind_text, {"text": "off"}, 54, True),
        (made.replaced, {"dedup": "off"}, 2, False),
        (made.extended, {"unit_offset": 40, "units": UNITS}, 40, True),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_speech_is_scored_as_transformers_scores_it(run: Run, tmp_path: Path, layout, fields, offset, dedup) -> None:
    folder = layout(tmp_path / "model")
    rows = run.score(folder, tmp_path / "out.parquet", rate=RATE, **fields)
    model = bare(folder) if layout is made.slamkit else AutoModelForCausalLM.from_pretrained(folder).eval()
    assert {row["version"] for row in rows} == {"speech"} and len(rows) == 2 * len(WORDS) * len(TASKS)
    assert [row["task"] for row in rows[:: 2 * len(WORDS)]] == list(TASKS)

    def ids(row: dict, other: bool = False) -> list[int]:
        name = f"{row['task']}{row['id']}|{row['correct'] != other}"
        own = [int(n) for n in run.own[name]]
        own = [n for k, n in enumerate(own) if not dedup or k == 0 or n != own[k - 1]]
        return [1, *(offset + n for n in own)]

    for row in rows:
        here, other = ids(row), ids(row, other=True)
        begin = next(k for k, (a, b) in enumerate(zip(here, other)) if a != b)
        assert (row["tokens"], row["span_tokens"]) == (len(here) - 1, len(here) - begin)
        assert row["nll"] == pytest.approx(plain_nll(model, here), rel=1e-5)
        assert row["span_nll"] == pytest.approx(plain_nll(model, here, begin), rel=1e-5)
    assert len({row["tokens"] - row["span_tokens"] for row in rows}) > 1


@pytest.mark.parametrize("layout", [made.replaced, made.behind_text, made.slamkit], ids=lambda f: f.__name__)
def test_a_batch_changes_nothing_but_rounding(run: Run, tmp_path: Path, layout) -> None:
    folder = layout(tmp_path / "model")
    together, alone = (run.score(folder, tmp_path / f"{n}.parquet", n, rate=RATE) for n in (4096, 1))
    assert [row["item"] for row in together] == [row["item"] for row in alone]
    for name in ("nll", "span_nll"):
        assert [row[name] for row in together] == pytest.approx([row[name] for row in alone], rel=1e-5)


def test_text_and_phones_are_spelled_by_the_models_tokenizer(run: Run, tmp_path: Path) -> None:
    folder = made.behind_text(tmp_path / "model")
    rows = run.score(folder, tmp_path / "out.parquet", rate=RATE, text="on", phones=True)
    assert {row["version"] for row in rows} == {"speech", "text", "phones"}
    model, names = AutoModelForCausalLM.from_pretrained(folder).eval(), "abcdefghijklmnopqrstuvwxyz"
    for row in (row for row in rows if row["version"] == "text"):
        text = run.rows[row["task"] + row["item"]]["text"]
        assert row["nll"] == pytest.approx(plain_nll(model, [1, *(2 + names.index(c) for c in text)]), rel=1e-5)
    (phones,) = [row for row in rows if (row["version"], row["task"], row["item"]) == ("phones", "swuggy", "p0|True")]
    assert phones["tokens"] == len("K AE T")  # a token for each character here


def test_a_model_of_text_needs_no_units(run: Run, tmp_path: Path) -> None:
    folder, out = made.of_text(tmp_path / "model"), tmp_path / "out.parquet"
    model = external_model({"model": str(folder), "text": "on"})
    score_external(model, run.items, out, UNITS, Tokens(), run_rate=RATE)
    assert {row["version"] for row in read_table(out, EXTERNAL_SCORES).to_pylist()} == {"text"}


def test_a_model_that_was_trained_here_reads_its_rung(run: Run, tmp_path: Path) -> None:
    folder, rung = tmp_path / "model", registry.get("speech-hubert")
    build(rung, rung.alphabet(Tokens(), UNITS), Tokens(), [], folder)
    meta = {"vocab_size": UNITS + 4, "pad_id": 0, "bos_id": 1, "eos_id": 2}
    tiny = LM(hidden_size=16, layers=2, heads=2, kv_heads=2, intermediate_size=32, window=64)
    build_model(tiny, meta, 0).save_pretrained(folder)
    write_json(folder / "train.json", {"rung": "speech-hubert", "tokens_per_second": 24.6})
    rows = run.score(folder, tmp_path / "out.parquet")
    codec = Codec(folder)
    for row in rows[:6]:
        (ids,) = codec.encode([[f"u{n}" for n in run.own[row["task"] + row["item"]]]])
        expected = sequence_nll(load_model(folder), [np.array([1, *ids], np.uint16)], 64)[0, 0]
        assert row["nll"] == pytest.approx(expected, rel=1e-5) and row["tokens"] == len(ids)
    with pytest.raises(UserError, match=r"dedup: would not be read"):
        run.score(folder, tmp_path / "out.parquet", dedup="on")
    write_json(folder / "train.json", {"rung": "speech-hubert", "tokens_per_second": 49.9})
    with pytest.raises(UserError, match=r"trained on 49.9 units per second.*are 25 per second"):
        run.score(folder, tmp_path / "out.parquet")
    write_json(folder / "symbols.json", read_json(folder / "symbols.json") | {"symbols": ["u0", "u1"]})
    with pytest.raises(UserError, match=r"it has 2 units, but this run has 12"):
        run.score(folder, tmp_path / "out.parquet")


def layout_of(folder: Path, clusters: int, run_rate: float | None, **fields: object):
    return read_layout(external_model({"model": str(folder), "name": "m", **fields}), folder, clusters, run_rate)


def _without_bos(folder: Path) -> None:
    config = read_json(folder / "config.json")
    write_json(folder / "config.json", config | {"bos_token_id": None})


def _write(name: str, text: str):
    """A change of a folder: a file with this content in place of the tokenizer."""

    def change(folder: Path) -> None:
        (folder / "tokenizer.json").unlink(missing_ok=True)
        (folder / name).write_text(text)

    return change


def _own_files(about: dict, symbols: dict):
    def change(folder: Path) -> None:
        write_json(folder / "train.json", about)
        write_json(folder / "symbols.json", symbols)

    return change


def _gap(folder: Path) -> None:
    text = (folder / "tokenizer.json").read_text().replace("<Un3>", "<Un77>")
    (folder / "tokenizer.json").write_text(text)


@pytest.mark.parametrize(
    ("layout", "change", "fields", "message"),
    [
        (made.slamkit, None, {}, "the rate of its units is not in its files; write rate"),
        (made.slamkit, None, {"rate": 50}, r"trained on 50 units per second.*of this run are 25 per second"),
        (made.slamkit, None, {"rate": RATE, "clusters": 100}, r"has 12 units, but this run has 100.*units.clusters"),
        (made.slamkit, None, {"rate": RATE, "run": None}, "of this run have no rate"),
        (made.replaced, None, {"rate": RATE, "clusters": 11}, r"which ids are units is not told; write unit_offset"),
        (made.extended, None, {"rate": RATE}, r"which ids are units is not told; write unit_offset"),
        (made.extended, None, {"rate": RATE, "unit_offset": 40}, "has 15 units, but this run has 12"),
        (made.extended, None, {"rate": RATE, "unit_offset": 50, "units": 12}, "ids up to 61, the model has 55"),
        (made.behind_text, None, {"rate": RATE, "unit_offset": 5}, "would not be read, since the tokenizer"),
        (made.behind_text, _gap, {"rate": RATE}, "names units up to <Un77>, but only 12"),
        (made.replaced, None, {"rate": RATE, "text": "on"}, "no tokenizer.json or vocab.json.*write text: off"),
        (made.replaced, None, {"rate": RATE, "bos": 99}, "bos is 99, but the model has 14 token ids"),
        (made.extended, _without_bos, {"rate": RATE, "unit_offset": 40, "units": 12}, "write bos: ID, or bos: none"),
        (made.behind_text, _write("tokenizer.json", "[]"), {}, r"tokenizer.json: not a JSON object, but list; fetch"),
        (made.behind_text, _write("vocab.json", '{"a"'), {}, r"vocab.json: not JSON .*fetch the model again"),
        (made.slamkit, _write("tokeniser_config.json", "[1]"), {"rate": RATE}, "tokeniser_config.json: not a JSON obj"),
        (made.replaced, _own_files({}, {"symbols": []}), {}, "train.json has no 'rung'; name a folder lm/RUNG/seedN"),
        (made.replaced, _own_files({"rung": "bad"}, {"symbols": []}), {}, "train.json: .*no rung 'bad'"),
        (made.of_text, None, {"text": "off"}, "neither units nor a tokenizer of text; write unit_offset"),
    ],
)
def test_what_the_files_do_not_tell_is_an_error(tmp_path: Path, layout, change, fields, message) -> None:
    folder = layout(tmp_path / "model")
    if change:
        change(folder)
    rest = {name: value for name, value in fields.items() if name not in ("clusters", "run")}
    with pytest.raises(UserError, match=rf"external.models: m: .*{message}"):
        layout_of(folder, fields.get("clusters", UNITS), fields.get("run", RATE), **rest)


def test_a_file_of_another_training_makes_no_model_of_ours(tmp_path: Path) -> None:
    folder = made.replaced(tmp_path / "model")
    write_json(folder / "train.json", {"loss": 1.0})
    assert layout_of(folder, UNITS, RATE, rate=RATE).rung is None


def test_positions_have_two_names(tmp_path: Path) -> None:
    folder = made.replaced(tmp_path / "model")
    config = read_json(folder / "config.json")
    assert layout_of(folder, UNITS, RATE, rate=RATE).longest == config.pop("max_position_embeddings")
    write_json(folder / "config.json", config | {"n_positions": 9})
    assert layout_of(folder, UNITS, RATE, rate=RATE).longest == 9


def test_an_item_beyond_the_models_positions_is_named(run: Run, tmp_path: Path) -> None:
    folder = made.extended(tmp_path / "model")
    write_json(folder / "config.json", read_json(folder / "config.json") | {"max_position_embeddings": 9})
    with pytest.raises(UserError, match=r"speech of swuggy, item .*: \d+ tokens, but the model has 9 positions"):
        run.score(folder, tmp_path / "out.parquet", rate=RATE, unit_offset=40, units=UNITS)


def test_weights_of_another_model_are_named(run: Run, tmp_path: Path) -> None:
    folder = made.replaced(tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(UserError, match=r"external.models: model: .*pointer of Git LFS"):
        run.score(folder, tmp_path / "out.parquet", rate=RATE)
    folders = made.slamkit(tmp_path / "slam"), made.replaced(tmp_path / "opt")
    for number, folder in enumerate(folders):
        weights = load_file(folder / "model.safetensors")
        lost = next(name for name in sorted(weights) if "q_proj" in name)
        save_file({name: tensor for name, tensor in weights.items() if name != lost}, folder / "model.safetensors")
        missing = lost.removeprefix("lm." * (number == 0)).replace(".", r"\.")
        with pytest.raises(UserError, match=rf"{folder.name}: .*cannot load it.*lack weights: {missing}"):
            run.score(folder, tmp_path / "out.parquet", rate=RATE)


def test_without_bos_the_first_token_is_given(run: Run, tmp_path: Path) -> None:
    folder = made.replaced(tmp_path / "model")
    row = run.score(folder, tmp_path / "out.parquet", rate=RATE, bos="none")[0]
    ids = [2 + int(n) for n in deduplicate(run.own[row["task"] + row["item"]])]
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    assert row["tokens"] == len(ids) - 1 and row["nll"] == pytest.approx(plain_nll(model, ids), rel=1e-5)


def test_a_run_is_written_once() -> None:
    assert deduplicate(np.array([0, 0, 3, 3, 3, 0], np.uint16)).tolist() == [0, 3, 0]
    assert deduplicate(np.array([], np.uint16)).tolist() == []


def test_the_table_has_a_row_for_each_version_task_and_norm(run: Run, tmp_path: Path) -> None:
    folder = made.behind_text(tmp_path / "model")
    rows = run.score(folder, tmp_path / "slam.parquet", rate=RATE, text="on")
    make_external([tmp_path / "slam.parquet"], tmp_path / "external.csv", Analysis(resamples=100))
    with (tmp_path / "external.csv").open() as handle:
        table = list(csv.DictReader(handle))
    assert list(table[0]) == list(COLUMNS) and len(table) == 2 * len(TASKS) * 3
    for cell in table:
        assert (cell["model"], cell["trained_here"], cell["ids"]) == ("slam", "false", str(len(WORDS)))
        own = {r["item"]: r for r in rows if (r["version"], r["task"]) == (cell["version"], cell["task"])}
        name = "span_" if cell["norm"] == "span" else ""
        size = "tokens" if cell["norm"] != "sum" else None
        value = {k: r[f"{name}nll"] / (r[name + size] if size else 1) for k, r in own.items()}
        right = np.mean([value[f"p{n}|True"] < value[f"p{n}|False"] for n in range(len(WORDS))])
        assert cell["accuracy"] == cell["pairwise"] == f"{100 * right:.1f}"


def test_models_are_checked_before_any_job(tmp_path: Path) -> None:
    folder = made.replaced(tmp_path / "model")
    units = {"source": "external", "path": "x", "rate": RATE, "clusters": UNITS}
    given = [{"model": str(folder), "rate": RATE}, {"model": "slprl/slam", "rate": 25, "revision": "abc"}]
    settings = Settings.model_validate({"units": units, "external": {"models": given}})
    found = place_models(settings, tmp_path)["models"]
    assert [model["name"] for model in found] == ["model", "slam"] and found[0]["model"] == str(folder)
    assert place_models(settings.model_copy(update={"external": External(models=found)}), tmp_path)["models"] == found
    for wrong, message in (
        ([str(folder)], "write rate"),
        (["no such folder"], "no such folder"),
        ([{"model": str(folder), "rate": RATE, "unit_offset": 1}], "has 13 units"),
    ):
        with pytest.raises(UserError, match=message):
            place_models(settings.model_copy(update={"external": External(models=wrong)}), tmp_path)


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ([{"model": "a/b", "modle": 1}], "entry 0: modle: unknown key"),
        ([{"name": "x"}], "entry 0: model is missing"),
        (["a/b", "c/b"], "two are named b"),
        ([{"model": "a/b", "bos": "x"}], "entry 0: bos: 'x' is neither a token id nor none"),
        ([{"model": "a/b", "name": "x/y"}], "no name of a file"),
        ([{"model": "a/b", "rate": 0}], "entry 0: rate"),
    ],
)
def test_wrong_entries_are_named(models: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        External(models=models)


def test_a_model_is_read_back_from_its_options() -> None:
    from speechladder.command import parse
    from speechladder.settings import as_options

    model = external_model({"model": "a/b", "bos": 7, "rate": 25, "dedup": True, "text": "off", "phones": True})
    words = [*as_options(model, model.model_fields_set).split(), "--items", "x", "--out", "y", "--clusters", "500"]
    assert parse(score_external, words)["model"] == model
    assert json.loads(model.model_dump_json())["dedup"] == "on"
