"""Making and loading a language model, and the settings of torch that its bits depend on."""

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

import speechladder.lm.attention  # noqa: F401 - registers "packed"
from speechladder.io.devices import acquire_gpu
from speechladder.io.errors import UserError
from speechladder.lm import warm_start
from speechladder.lm.architectures.base import common_config, get_architecture
from speechladder.settings import LM


def build_model(settings: LM, meta: dict[str, Any], seed: int) -> PreTrainedModel:
    """A model with weights drawn from `seed`, for the vocabulary and special ids of tokens/{rung}/meta.json.

    With lm.init the blocks and the last norm are those of that model (lm.warm_start). Raise UserError if it lacks
    them, or if lm.architecture is not known.
    """
    torch.manual_seed(seed)
    settings = warm_start.resolve_init(settings)
    architecture = get_architecture(settings.architecture)
    source = Path(settings.init) if settings.init else None
    found = warm_start.read_config(settings.init, settings.architecture) if source else {}
    inherited = {k: found[k] for k in architecture.inherited if found.get(k) is not None}
    config = architecture.config(settings, common_config(settings, meta), inherited)
    model = getattr(transformers, architecture.model_class)(config)
    if source:
        drawn = {id(module.weight) for module in (model.get_input_embeddings(), model.get_output_embeddings())}
        wanted = {name for name, parameter in model.named_parameters() if id(parameter) not in drawn}
        model.load_state_dict(warm_start.read_body(source, wanted), strict=False)
    model.set_attn_implementation("packed")
    return model


def load_model(folder: Path) -> PreTrainedModel:
    """A trained model in fp32, ready for `likelihood`."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    model.set_attn_implementation("packed")
    return model.eval()


def load_snapshot(model: PreTrainedModel, path: Path) -> None:
    """Put the weights of a learning snapshot into a model from `load_model`."""
    model.load_state_dict(load_file(path))


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
    """Set what the bits depend on, and return the device.

    It is a GPU that no other job holds (io.devices), or the CPU. Under torchrun, whose launcher has leased the GPUs
    (lm.launch), it is the GPU of this process's local rank. Raise UserError if there are fewer GPUs than processes.
    """
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)  # on some CPUs denormal numbers cost a hundred times a normal product
    disable_progress_bar()  # transformers shows bars for reading and writing one small file
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
