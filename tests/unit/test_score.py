"""Scores equal those of transformers item by item, with any batching; layers, ties, learning curve."""

import shutil
from copy import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from toy_rung import VOCAB, toy_document, write_rung

from speechladder.benchmarks.score import TaskItems, common_beginning, score_rung
from speechladder.io.errors import UserError
from speechladder.io.files import read_json, write_json
from speechladder.io.tables import ITEM_TOKENS, ITEMS, LEARNING, SCORES, read_table, write_table
from speechladder.lm import likelihood
from speechladder.lm.likelihood import sequence_nll, span_nll
from speechladder.lm.model import build_model, load_model
from speechladder.lm.train import train_lm
from speechladder.settings import LM, Scores

TINY = LM(
    hidden_size=16,
    layers=3,
    heads=2,
    kv_heads=2,
    intermediate_size=32,
    window=64,
    batch_windows=2,
    lr=1e-2,
    max_steps=8,
    warmup_steps=2,
    valid_every=4,
    learning_points=2,
)
TASKS = ("swuggy", "topic")


class Run:
    """Two models and two tasks of items, as files."""

    def __init__(self, root: Path) -> None:
        rung = write_rung(root / "tokens" / "toy")
        self.models = [root / "lm" / "toy" / f"seed{n}" for n in (0, 1)]
        for n, folder in enumerate(self.models):
            train_lm(rung, folder, n, TINY)
        rng, self.items, self.tokens = np.random.default_rng(7), {}, {}
        for task in TASKS:
            rows = []
            for pair in range(6):
                good, bad = toy_document(rng, 60)[:-1], [1, *rng.integers(4, VOCAB, 12).tolist()]
                # two bad halves begin as the good one does, and one of them is all beginning
                bad = good[:20] + bad[1:] if pair == 2 else good[:30] if pair == 3 else bad
                for voice in ("a", "b"):
                    for correct, ids in ((True, good), (False, good if pair == 0 else bad)):
                        extra = [int(rng.integers(4, VOCAB))] if voice == "b" and pair else []
                        rows.append((f"p{pair}|{correct}|{voice}", f"p{pair}", voice, correct, ids + extra))
            self.tokens[task] = {r[0]: r[4] for r in rows}
            other = {"type": "t", "split": "", "text": "x", "words": [], "phones": [], "seconds": 1.0, "audio": b"\0"}
            keys = ("item", "id", "voice", "correct")
            self.items[task] = root / task / "items.parquet"
            write_table(self.items[task], [dict(zip(keys, r)) | other for r in rows], ITEMS)
            ids = [{"item": r[0], "tokens": r[4]} for r in reversed(rows)]  # in another order: rows are joined by item
            write_table(root / task / "toy.parquet", ids, ITEM_TOKENS)
        self.token_files = [root / task / "toy.parquet" for task in TASKS]

    def score(self, out: Path, **settings: object) -> tuple[dict[str, list[dict]], list[dict]]:
        files = [out / f"{task}.parquet" for task in TASKS]
        score_rung(
            self.models,
            list(self.items.values()),
            self.token_files,
            files,
            out / "learning.parquet",
            Scores(**settings),
        )
        scores = {task: read_table(file, SCORES).to_pylist() for task, file in zip(TASKS, files)}
        return scores, read_table(out / "learning.parquet", LEARNING).to_pylist()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def scored(run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, list[dict]], list[dict]]:
    return run.score(tmp_path_factory.mktemp("scores"))


def plain_nll(model: torch.nn.Module, ids: list[int]) -> list[float]:
    """Layer k is the output of the model cut after its first k blocks, with transformers' own attention."""
    target, found, blocks = torch.tensor(ids[1:]), [], model.model.layers
    with torch.no_grad():
        for depth in range(len(blocks) + 1):
            model.model.layers = blocks[:depth]
            logits = model(torch.tensor([ids])).logits[0, :-1]
            found.append(-F.log_softmax(logits.double(), -1)[range(len(target)), target].sum().item())
    model.model.layers = blocks
    return found


def test_agrees_with_transformers_one_by_one(run: Run, scored: tuple) -> None:
    from transformers import AutoModelForCausalLM

    models = {n: AutoModelForCausalLM.from_pretrained(folder) for n, folder in enumerate(run.models)}
    for task in TASKS:
        rows = scored[0][task]
        assert [r["seed"] for r in rows] == [0] * 24 + [1] * 24
        for row in rows:
            ids = run.tokens[task][row["item"]]
            expected = plain_nll(models[row["seed"]], ids)
            assert row["layer_nll"] == pytest.approx(expected, rel=1e-5)
            assert row["nll"] == row["layer_nll"][-1]
            assert row["tokens"] == len(ids) - 1
            assert len(row["layer_nll"]) == TINY.layers + 1


def test_batching_changes_nothing_but_rounding(run: Run, scored: tuple, tmp_path: Path) -> None:
    scores, learning = run.score(tmp_path, batch_tokens=64)
    for task in TASKS:
        for row, other in zip(scores[task], scored[0][task]):
            assert row["item"] == other["item"]
            assert row["layer_nll"] == pytest.approx(other["layer_nll"], rel=2e-6)
    assert [r["nll"] for r in learning] == pytest.approx([r["nll"] for r in scored[1]], rel=2e-6)


def test_equal_sequences_tie_exactly(scored: tuple) -> None:
    rows = [r for r in scored[0]["swuggy"] if r["id"] == "p0" and r["seed"] == 0]
    assert len(rows) == 4 and len({r["nll"] for r in rows}) == 1
    rows = [r for r in scored[0]["swuggy"] if r["id"] == "p1" and r["seed"] == 0]
    assert len({r["nll"] for r in rows}) == 4


def shared(one: list[int], other: list[int]) -> int:
    """The first place at which two sequences differ, in a plain loop; before the last token of the shorter."""
    place = 0
    while place < min(len(one), len(other)) - 1 and one[place] == other[place]:
        place += 1
    return place


def test_the_span_is_what_follows_the_common_beginning(run: Run, scored: tuple) -> None:
    from transformers import AutoModelForCausalLM

    models = {n: AutoModelForCausalLM.from_pretrained(folder) for n, folder in enumerate(run.models)}
    lengths = set()
    for task in TASKS:
        for row in scored[0][task]:
            ids, pair = run.tokens[task][row["item"]], (row["id"], not row["correct"], row["voice"])
            begin = shared(ids, run.tokens[task]["{}|{}|{}".format(*pair)])
            with torch.no_grad():
                logits = models[row["seed"]](torch.tensor([ids])).logits[0, begin - 1 : -1].double()
            nll = F.cross_entropy(logits, torch.tensor(ids[begin:]), reduction="sum").item()
            assert row["span_nll"] == pytest.approx(nll, rel=1e-5)
            assert row["span_tokens"] == len(ids) - begin
            assert row["layer_span_nll"][-1] == row["span_nll"]
            assert len(row["layer_span_nll"]) == TINY.layers + 1
            lengths.add(row["tokens"] - row["span_tokens"])
    assert len(lengths) > 3  # pairs that differ from their first token, and later


def test_the_sum_of_the_span_decides_as_the_sum(scored: tuple) -> None:
    """The halves of a pair give equal beginnings the same probability."""
    for rows in scored[0].values():
        for good, bad in zip(rows[::2], rows[1::2]):
            assert good["correct"] and not bad["correct"] and good["id"] == bad["id"]
            whole, span = (bad[name] - good[name] for name in ("nll", "span_nll"))
            assert span == pytest.approx(whole, abs=1e-4)
            if good["nll"] == bad["nll"]:
                assert good["span_nll"] == bad["span_nll"] and good["span_tokens"] == bad["span_tokens"] == 1


def test_spans_leave_the_scores_of_whole_sequences_as_they_are_to_the_bit(run: Run, scored: tuple) -> None:
    model = load_model(run.models[0])
    sequences = [np.array(ids, np.uint16) for task in TASKS for ids in run.tokens[task].values()]
    distinct = [np.frombuffer(found, np.uint16) for found in dict.fromkeys(s.tobytes() for s in sequences)]
    alone = sequence_nll(model, distinct, Scores().batch_tokens, layers=True)
    spans = [(n, part) for n, ids in enumerate(distinct) for part in (0, 1, len(ids) - 2)]
    whole, ends = span_nll(model, distinct, spans, Scores().batch_tokens, layers=True)
    assert (whole == alone).all()
    assert ends[::3] == pytest.approx(whole, rel=1e-12)
    assert (ends[1::3] > ends[2::3]).all() and (ends[::3] > ends[1::3]).all()
    of = {ids.tobytes(): nll for ids, nll in zip(distinct, alone.tolist())}
    for task in TASKS:
        for row in scored[0][task][:24]:
            assert row["layer_nll"] == of[np.array(run.tokens[task][row["item"]], np.uint16).tobytes()]


@pytest.mark.parametrize("batch_tokens", [1, 70, 4096])
def test_layers_and_spans_are_those_of_a_plain_loop(
    run: Run, monkeypatch: pytest.MonkeyPatch, batch_tokens: int
) -> None:
    """Spans in any order, several of a sequence or none, of padded rows, over parts of the head and batches."""
    monkeypatch.setattr(likelihood, "HEAD_TOKENS", 7)
    model, rng = load_model(run.models[0]), np.random.default_rng(5)
    sequences = [np.array([1, *rng.integers(4, VOCAB, n)], np.uint16) for n in (3, 19, 0, 30, 30, 1, 8)]
    spans = [(4, 29), (1, 0), (0, 2), (3, 11), (4, 0), (2, 0), (1, 18), (5, 0), (4, 7), (1, 0)]
    whole, ends = span_nll(model, sequences, spans, batch_tokens, layers=True)
    tokens = []  # of each sequence (tokens, layers)
    for ids in sequences:
        inputs = torch.from_numpy(ids[:-1].astype(np.int64))[None]
        if not inputs.numel():
            tokens.append(np.zeros((0, TINY.layers + 1)))
            continue
        with torch.no_grad():
            states = model.model(inputs, output_hidden_states=True).hidden_states
            states = [*(model.model.norm(state) for state in states[:-1]), states[-1]]
            logs = [F.log_softmax(model.lm_head(state)[0].double(), -1) for state in states]
        tokens.append(np.array([[-log[n, int(token)] for log in logs] for n, token in enumerate(ids[1:])]))
    assert whole == pytest.approx(np.array([part.sum(0) for part in tokens]), rel=1e-5)
    assert ends == pytest.approx(np.array([tokens[n][left_out:].sum(0) for n, left_out in spans]), rel=1e-5)
    last, last_ends = span_nll(model, sequences, spans, batch_tokens)
    assert last[:, 0] == pytest.approx(whole[:, -1], rel=1e-6)
    assert last_ends[:, 0] == pytest.approx(ends[:, -1], rel=1e-6)
    nothing = span_nll(model, [], [], batch_tokens, layers=True)
    assert [part.shape for part in nothing] == [(0, TINY.layers + 1)] * 2


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([1, 5, 6], [1, 7, 6], 0),
        ([1, 5, 6], [1, 5, 7], 1),
        ([1, 5, 6], [1, 5, 6], 1),  # equal: the last token is left for the span
        ([1, 5], [1, 5, 6, 7], 0),  # one begins the other
        ([1, 5, 6, 7], [1, 5, 6], 1),
        ([1], [1, 5], 0),
        ([1], [1], 0),
    ],
)
def test_common_beginnings(one: list[int], other: list[int], expected: int) -> None:
    assert common_beginning(np.array(one), np.array(other)) == expected


def test_learning_curve_has_the_first_voice_and_ends_with_the_model(run: Run, scored: tuple) -> None:
    scores, learning = scored
    assert {r["voice"] for r in learning} == {"a"}
    step = TINY.window * TINY.batch_windows
    assert sorted({r["train_tokens"] for r in learning}) == [2 * step, 4 * step, 8 * step]
    assert len(learning) == 2 * 2 * 12 * 3  # seeds, tasks, items of one voice, points
    assert {r["train_tokens"] for r in learning if r["final"]} == {8 * step}
    names = ("nll", "tokens", "span_nll", "span_tokens")
    last = {(r["task"], r["item"], r["seed"]): [r[n] for n in names] for r in learning if r["final"]}
    final = {(t, r["item"], r["seed"]): [r[n] for n in names] for t in TASKS for r in scores[t] if r["voice"] == "a"}
    assert last == final
    first = [r["nll"] for r in learning if r["train_tokens"] == 2 * step]
    assert np.mean(first) > np.mean([nll for nll, *_ in last.values()])  # the model has learnt something


def test_the_final_point_lies_at_the_tokens_of_the_kept_weights(run: Run, tmp_path: Path) -> None:
    """Seed 0 is best at step 4, which has a snapshot, and seed 1 at step 6."""
    other, step = copy(run), TINY.window * TINY.batch_windows
    other.models = [tmp_path / folder.name for folder in run.models]
    for before, folder, best in zip(run.models, other.models, (4, 6)):
        shutil.copytree(before, folder)
        write_json(folder / "train.json", read_json(folder / "train.json") | {"best_tokens": best * step})
        (folder / "learning" / ".tmp-77-1.safetensors").write_bytes(b"half")  # left by a killed process
    scores, learning = other.score(tmp_path / "out")
    found = {(r["seed"], r["train_tokens"] // step, r["final"]) for r in learning}
    assert found == {(0, 2, False), (0, 4, False), (0, 4, True), (1, 2, False), (1, 4, False), (1, 6, True)}
    last = {(r["task"], r["item"], r["seed"]): r["nll"] for r in learning if r["final"]}
    final = {(t, r["item"], r["seed"]): r["nll"] for t in TASKS for r in scores[t] if r["voice"] == "a"}
    assert last == final


def test_the_sample_of_the_learning_curve_is_spread_over_the_pairs(run: Run, tmp_path: Path) -> None:
    _, learning = run.score(tmp_path, learning_pairs=3, layers=False)
    assert [r["item"] for r in learning if r["seed"] == 0 and r["task"] == "topic"][:6] == [
        f"p{pair}|{correct}|a" for pair in (0, 2, 4) for correct in (True, False)
    ]


def test_scores_and_samples_keep_twos_whole(run: Run, tmp_path: Path) -> None:
    rows = read_table(run.items["topic"], ITEMS).to_pylist()
    twos = {"p0": "x", "p3": "x", "p1": "y", "p5": "y", "p2": "", "p4": None}
    for row in rows:
        row["two"] = twos[row["id"]]
    write_table(tmp_path / "items.parquet", rows, ITEMS)
    for pairs, expected in {1: {"p0", "p3"}, 3: {"p0", "p3", "p2"}, 6: {*twos}, 0: {*twos}}.items():
        task = TaskItems.read("topic", tmp_path / "items.parquet", run.token_files[1])
        assert {row["id"] for row, taken in zip(task.rows, task.sample(pairs, "")) if taken} == expected
    files = [tmp_path / "items.parquet"], [run.token_files[1]], [tmp_path / "topic.parquet"]
    score_rung(run.models[:1], *files, tmp_path / "learning.parquet", Scores(layers=False))
    for name, schema in (("topic", SCORES), ("learning", LEARNING)):
        found = read_table(tmp_path / f"{name}.parquet", schema).to_pylist()
        assert {(row["id"], row["two"]) for row in found} == {(id, two or "") for id, two in twos.items()}


def test_layers_and_learning_can_be_left_out(run: Run, scored: tuple, tmp_path: Path) -> None:
    scores, learning = run.score(tmp_path, layers=False, learning=False)
    assert learning == []
    assert all(r["layer_nll"] == [] for r in scores["topic"])
    assert [r["nll"] for r in scores["topic"]] == pytest.approx([r["nll"] for r in scored[0]["topic"]], rel=1e-6)


def test_scoring_looks_back_no_further_than_training(run: Run) -> None:
    """With one layer, the score of a token depends on the last `window` tokens only."""
    meta = {"vocab_size": VOCAB, "pad_id": 0, "bos_id": 1, "eos_id": 2}
    model = build_model(TINY.model_copy(update={"layers": 1, "window": 16}), meta, 0).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    rng = np.random.default_rng(0)
    ids = np.array([1, *rng.integers(4, VOCAB, 199)], dtype=np.uint16)
    got = sequence_nll(model, [ids, ids[:40]], 10_000)[:, 0]
    model.set_attn_implementation("eager")
    expected = []
    for t in range(1, len(ids)):
        context = torch.from_numpy(ids[max(0, t - 16) : t].astype(np.int64))
        with torch.no_grad():
            logits = model(context[None]).logits[0, -1]
        expected.append(F.cross_entropy(logits, torch.tensor(int(ids[t]))).item())
    assert got[0] == pytest.approx(sum(expected), rel=1e-5)
    assert got[1] == pytest.approx(sum(expected[:39]), rel=1e-5)


def test_a_lone_start_token_costs_nothing(run: Run) -> None:
    model = load_model(run.models[0])
    assert sequence_nll(model, [np.array([1], np.uint16)], 64, layers=True).tolist() == [[0.0] * 4]


def test_items_without_tokens_are_an_error(run: Run, tmp_path: Path) -> None:
    short = tmp_path / "toy.parquet"
    write_table(short, read_table(run.token_files[0], ITEM_TOKENS).slice(1), ITEM_TOKENS)
    with pytest.raises(UserError, match="1 without tokens"):
        score_rung(
            run.models, [run.items["swuggy"]], [short], [tmp_path / "swuggy.parquet"], tmp_path / "l.parquet", Scores()
        )


def test_tokens_of_another_tokenizer_are_an_error(run: Run, tmp_path: Path) -> None:
    rows = read_table(run.token_files[0], ITEM_TOKENS).to_pylist()
    rows[3]["tokens"][-1] = VOCAB
    write_table(tmp_path / "toy.parquet", rows, ITEM_TOKENS)
    with pytest.raises(UserError, match="20 ids, but the items hold 20"):
        score_rung(
            run.models,
            [run.items["swuggy"]],
            [tmp_path / "toy.parquet"],
            [tmp_path / "swuggy.parquet"],
            tmp_path / "learning.parquet",
            Scores(),
        )


def test_splits_are_kept_and_the_curve_has_one_of_them(run: Run, tmp_path: Path) -> None:
    rows = read_table(run.items["swuggy"], ITEMS).to_pylist()
    for row in rows:
        row["split"] = "dev" if row["id"] in ("p1", "p4") else "test"
    write_table(tmp_path / "items.parquet", rows, ITEMS)
    files = [tmp_path / "items.parquet"], [run.token_files[0]], [tmp_path / "swuggy.parquet"]
    score_rung(run.models[:1], *files, tmp_path / "learning.parquet", Scores(learning_pairs=1), split="dev")
    found = read_table(tmp_path / "swuggy.parquet", SCORES).to_pylist()
    assert {(row["id"], row["split"]) for row in found} == {(row["id"], row["split"]) for row in rows}
    curve = read_table(tmp_path / "learning.parquet", LEARNING).to_pylist()
    assert {row["id"] for row in curve} == {"p1"}
    assert {row["split"] for row in read_table(run.items["topic"], ITEMS).to_pylist()} == {""}
