"""The language model: transformers' LlamaForCausalLM from random weights, and what its bits depend on."""

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils.logging import disable_progress_bar

import speechladder.lm.attention  # noqa: F401 - registers "packed"
from speechladder.io.devices import acquire_gpu
from speechladder.io.errors import UserError
from speechladder.lm import warm_start
from speechladder.settings import LM

MAX_POSITIONS = 4096  # at least; rotary positions are relative and have no table, so this is a declaration
INIT_STD = 0.02  # transformers' and TinyLlama's


def build(settings: LM, meta: dict[str, Any], seed: int) -> LlamaForCausalLM:
    """A Llama with weights drawn from `seed`, for the vocabulary and special ids of tokens/{rung}/meta.json.

    With lm.init the blocks and the last norm are that model's (lm.warm_start); raises UserError where it has none.
    """
    torch.manual_seed(seed)
    settings = warm_start.resolved(settings)
    source = Path(settings.init) if settings.init else None
    found = warm_start.config_of(settings.init) if source else {}
    config = LlamaConfig(
        vocab_size=meta["vocab_size"],
        hidden_size=settings.hidden_size,
        intermediate_size=settings.intermediate_size,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.kv_heads,
        max_position_embeddings=max(MAX_POSITIONS, settings.window),
        initializer_range=INIT_STD,
        tie_word_embeddings=False,
        use_cache=True,
        pad_token_id=meta["pad_id"],
        bos_token_id=meta["bos_id"],
        eos_token_id=meta["eos_id"],
        train_window=settings.window,  # ours: no prediction was trained on more context than this
        **{"rms_norm_eps": 1e-5} | {k: found[k] for k in warm_start.KEPT if found.get(k) is not None},  # as TinyLlama
    )
    model = LlamaForCausalLM(config)
    if source:
        fresh = {"model.embed_tokens.weight", "lm_head.weight"}
        model.load_state_dict(warm_start.body(source, model.state_dict().keys() - fresh), strict=False)
    model.set_attn_implementation("packed")
    return model


def load(folder: Path) -> LlamaForCausalLM:
    """A trained model in fp32, ready for `likelihood`."""
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    model.set_attn_implementation("packed")
    return model.eval()


def resolve_precision(precision: str, device: torch.device) -> str:
    """'fp32' or 'bf16'; auto takes bf16 on a GPU and on a CPU that multiplies it natively."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16"
    info = Path("/proc/cpuinfo")
    flags = info.read_text() if info.is_file() else ""
    return "bf16" if "avx512_bf16" in flags or "amx_bf16" in flags else "fp32"


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """bf16 autocast, or nothing."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def prepare_torch(threads: int) -> torch.device:
    """Fix what the bits depend on, and give the device: a GPU that no other job has (io.devices), or the CPU; under
    torchrun, whose launcher has leased the GPUs (lm.launch), that of this process' local rank."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)  # denormals cost a hundred times a normal product on some CPUs
    disable_progress_bar()  # transformers' bars for reading and writing one small file
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.backends.cuda.matmul.allow_tf32 = False  # fp32 means fp32; bf16 is a setting
    local = os.environ.get("LOCAL_RANK")
    if local is not None and int(local) >= torch.cuda.device_count():
        raise UserError(
            f"lm.processes: process {int(local) + 1} of this node has no GPU, {torch.cuda.device_count()} are visible; "
            "start one process per GPU"
        )
    device = torch.device(acquire_gpu() if local is None else f"cuda:{local}")
    torch.cuda.set_device(device)
    return device
