"""The layout of a training: models by name, memory, windows per process, limits, flex_attention."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention.flex_attention import flex_attention

from speechladder.io.errors import UserError
from speechladder.lm import attention
from speechladder.lm.attention import flex_mask, resolve_attention, resolve_compile
from speechladder.lm.batches import IGNORE, Batch, split_batch
from speechladder.lm.compute import matmul_ceiling, parameters, plan_memory, state_bytes, train_flops
from speechladder.lm.schedule import PLAN_SHARE, Counters, plan_hours, planned_steps
from speechladder.settings import LM, MODELS, from_options, load
from speechladder.settings.options import add_options, as_options

PAPER = LM(model="tinyllama-1.1b", window=2048, batch_windows=128, optimizer="adamw", lr=4e-4)
GB = 1e9


# ---------------------------------------------------------------- models by name


def test_tinyllama_is_tinyllama() -> None:
    named = LM(model="tinyllama-1.1b")
    assert (named.hidden_size, named.layers, named.heads, named.kv_heads, named.intermediate_size) == (
        2048, 22, 32, 4, 5632,
    )  # fmt: skip
    assert parameters(named, 32_000) == 1_100_048_384
    assert {name: round(parameters(LM(model=name), 2048) / 1e6) for name in MODELS} == {
        "micro": 1, "30m": 28, "125m": 88, "350m": 313, "tinyllama-1.1b": 977,
    }  # fmt: skip


def test_missing_dimensions_are_those_of_micro() -> None:
    assert LM() == LM(model="custom", **MODELS["micro"])
    assert LM(layers=2).hidden_size == MODELS["micro"]["hidden_size"]
    assert LM(hidden_size=None, layers="6").layers == 6


def test_a_name_with_another_dimension_is_an_error() -> None:
    with pytest.raises(UserError, match=r"lm\.model: 30m has other dimensions than layers: 9; set those to null"):
        load({"lm": {"model": "30m", "layers": 9}})
    assert load({"lm": {"model": "30m", "layers": 8, "heads": "8"}}).lm.hidden_size == 512
    with pytest.raises(UserError, match=r"lm\.model: '31m' is not allowed; did you mean '30m'"):
        load({"lm": {"model": "31m"}})


def test_a_model_by_name_reaches_the_script() -> None:
    import argparse
    import shlex

    parser = argparse.ArgumentParser()
    add_options(parser, LM)
    wanted = LM(model="350m", window=512)
    assert from_options(parser.parse_args(shlex.split(as_options(wanted))), LM) == wanted


# ---------------------------------------------------------------- memory


def test_the_papers_step_fits_one_gpu_by_accumulating() -> None:
    found = plan_memory(PAPER, 2048, 1, True, 80 * GB)
    assert (found.parallel, found.recompute) == ("none", False)
    assert 1 <= found.micro < 128 and found.needed < 80 * GB


def test_more_memory_allows_more_windows_at_once() -> None:
    sizes = [plan_memory(PAPER, 2048, 4, True, gb * GB).micro for gb in (30, 40, 80, 140, 10_000)]
    assert sizes == sorted(sizes) and sizes[-1] == 32


def test_a_model_is_sharded_only_if_it_does_not_fit() -> None:
    assert plan_memory(PAPER, 2048, 8, True, 80 * GB).parallel == "ddp"
    small = plan_memory(PAPER, 2048, 8, True, 16 * GB)
    assert small.parallel == "fsdp" and small.needed < 16 * GB
    assert plan_memory(PAPER, 2048, 1, True, 16 * GB).parallel == "none"  # no other process to share with
    assert plan_memory(PAPER, 2048, 2, False, None).parallel == "ddp"  # a CPU


def test_activations_are_recomputed_only_if_one_window_does_not_fit() -> None:
    tight = 20 * GB  # weights and optimiser take 18
    assert plan_memory(PAPER, 2048, 1, True, 40 * GB).recompute is False
    assert plan_memory(PAPER, 2048, 1, True, tight).recompute is True
    never = PAPER.model_copy(update={"activation_checkpointing": "off"})
    assert plan_memory(never, 2048, 1, True, tight).recompute is False


def test_muon_keeps_one_moment_of_the_hidden_matrices() -> None:
    muon = PAPER.model_copy(update={"optimizer": "muon"})
    for parts in (1, 8):
        adamw, found = (state_bytes(settings, 2048, True, parts) for settings in (PAPER, muon))
        hidden = parameters(PAPER, 2048) - 2 * 2048 * 2048 - 45 * 2048  # without embeddings, head and norms
        work = adamw - 4 * hidden / parts - found
        assert -2048 * 5632 * 20 < work < 1e6  # a matrix or so in work; norms are counted as matrices


def test_micro_batches_are_even() -> None:
    assert plan_memory(LM(batch_windows=5, micro_windows=4), 512, 1, False, None).micro == 3  # 3 and 2
    assert plan_memory(LM(batch_windows=4), 512, 1, False, None).micro == 4  # all
    assert plan_memory(LM(batch_windows=64), 512, 1, False, None).micro == 16  # 16,384 tokens on a CPU


# ---------------------------------------------------------------- windows per process


def batch_of(windows: int) -> Batch:
    inputs = np.arange(windows * 3).reshape(windows, 3)
    return Batch(inputs, inputs + 1, np.tile(np.arange(3), (windows, 1)), np.zeros((windows, 3), np.int64))


@pytest.mark.parametrize(
    ("windows", "ranks", "micro"), [(4, 1, 4), (5, 1, 2), (5, 2, 2), (7, 3, 2), (3, 4, 1), (8, 8, 9)]
)
def test_every_window_is_used_once_and_processes_do_the_same_work(windows: int, ranks: int, micro: int) -> None:
    batch = batch_of(windows)
    shares = [split_batch(batch, rank, ranks, micro) for rank in range(ranks)]
    assert len({len(parts) for parts in shares}) == 1
    if ranks > 1:
        assert len({part.inputs.shape for parts in shares for part in parts}) == 1
    assert all(len(part.inputs) <= micro for parts in shares for part in parts)
    real = [row for parts in shares for part in parts for row in part.targets if (row != IGNORE).any()]
    np.testing.assert_array_equal(real, batch.targets)
    assert sum((part.targets != IGNORE).sum() for parts in shares for part in parts) == batch.targets.size


# ---------------------------------------------------------------- limits


def batches(per_pass: int = 1000, per_step: int = 100) -> SimpleNamespace:
    return SimpleNamespace(tokens_per_pass=per_pass, tokens_per_step=per_step)


def test_the_smallest_limit_ends_the_schedule() -> None:
    settings = LM(max_steps=50, max_passes=4)
    assert planned_steps(settings, batches()) == 40
    assert planned_steps(settings.model_copy(update={"max_tokens": 1230}), batches()) == 13
    assert planned_steps(settings.model_copy(update={"max_tokens": 1}), batches()) == 1


def test_hours_become_steps_once_the_rate_is_known() -> None:
    settings = LM(max_steps=100_000, max_hours=1.0, run_curriculum=0)
    early = 3600 * PLAN_SHARE / 2
    assert plan_hours(settings, Counters(step=30, seconds=early), 100_000) == 0
    assert plan_hours(settings, Counters(step=10, seconds=60), 100_000) == 0
    # the first 5 steps compile for 40 s, then a step takes 2 s; 3510 s remain after 30
    assert plan_hours(settings, Counters(step=30, seconds=90, warm_seconds=40), 100_000) == 30 + int(0.97 * 3510 / 2)
    assert plan_hours(settings, Counters(step=30, seconds=90, warm_seconds=40), 500) == 500


# ---------------------------------------------------------------- operations


def test_measuring_the_ceiling_draws_no_random_number() -> None:
    before = torch.get_rng_state()
    assert matmul_ceiling("cpu", "fp32") > 1e8
    assert torch.equal(torch.get_rng_state(), before)


def test_operations_per_token_count_attention() -> None:
    dense = 6 * (parameters(PAPER, 2048) - 2048 * 2048)
    assert train_flops(PAPER, 2048, 1e9) == dense + 12 * 22 * 2048 * 1024


# ---------------------------------------------------------------- flex_attention


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("length", [384, 300, 100])
def test_flex_attention_with_its_mask_equals_masked_attention(length: int) -> None:
    """Eager on a CPU, because its kernels need a GPU."""
    T = length
    rng, order = np.random.default_rng(T), np.arange(T)
    cuts = [[], [50, 140, 256], sorted(rng.integers(1, T, 4))]
    starts = np.array([np.maximum.accumulate(np.where(np.isin(order, c), order, 0)) for c in cuts])
    blocks = flex_mask(torch.from_numpy(starts))
    q, k, v = torch.randn(3, 3, 2, T, 16, generator=torch.Generator().manual_seed(0))
    seen = torch.from_numpy((order <= order[:, None]) & (order >= starts[:, :, None]))[:, None]
    want = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
    torch.testing.assert_close(flex_attention(q, k, v, block_mask=blocks), want)
    dense = blocks.to_dense().bool()
    blocked = F.pad(seen, (0, -T % 128, 0, -T % 128)).unflatten(-1, (-1, 128)).unflatten(-3, (-1, 128)).any(-1).any(-2)
    assert torch.equal(dense, blocked.expand_as(dense))
    # of these, a block all of whose pairs are seen is full, and the others are masked pair by pair
    size = -(-T // 128)
    whole, part = np.zeros((len(starts), size), int), np.zeros((len(starts), size), int)
    for b, i, j in np.ndindex(len(starts), size, size):
        pairs = seen[b, 0, 128 * i : 128 * (i + 1), 128 * j : 128 * (j + 1)]
        full = pairs.shape == (128, 128) and bool(pairs.all())
        whole[b, i] += full
        part[b, i] += bool(pairs.any()) and not full
    assert np.array_equal(blocks.full_kv_num_blocks[:, 0], whole)
    assert np.array_equal(blocks.kv_num_blocks[:, 0], part)
    assert part.sum() and (whole.sum() or T < 256)


def test_on_a_gpu_the_mask_is_made_by_a_compiled_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eager, torch holds all B x T x T entries of the mask at once."""
    eager, compiled = [], []
    monkeypatch.setattr(attention, "create_block_mask", lambda *given, **options: eager.append(given))
    monkeypatch.setattr(torch, "compile", lambda function: lambda *given, **options: compiled.append(given))
    attention._compiled_block_mask.cache_clear()
    flex_mask(torch.zeros(2, 256, dtype=torch.int64))
    assert (len(eager), len(compiled)) == (1, 0)
    flex_mask(SimpleNamespace(shape=(2, 256), is_cuda=True, device="cuda"))
    flex_mask(SimpleNamespace(shape=(3, 256), is_cuda=True, device="cuda"))
    assert (len(eager), len(compiled)) == (1, 2)
    attention._compiled_block_mask.cache_clear()


def test_layers_are_compiled_only_with_flex_attention() -> None:
    assert [resolve_compile("auto", flex) for flex in (True, False)] == [True, False]
    assert resolve_compile("off", True) is False
    with pytest.raises(UserError, match=r"lm\.compile: on needs flex_attention"):
        resolve_compile("on", False)


def test_flex_attention_is_for_gpus_and_heads_that_it_supports() -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert [resolve_attention("auto", d, 64) for d in (cpu, cuda)] == ["packed", "flex"]
    assert resolve_attention("auto", cuda, 24) == "packed"
    with pytest.raises(UserError, match=r"lm\.attention: flex needs a GPU"):
        resolve_attention("flex", cpu, 64)
    with pytest.raises(UserError, match=r"not 24"):
        resolve_attention("flex", cuda, 24)
