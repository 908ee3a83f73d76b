"""Warm start from a text LM, TWIST's recipe (Hassid et al. 2023, arXiv 2305.13009): its body goes on, its words do not.

Taken are the blocks and the last norm, with what they were computed with (dimensions, rotary base and scaling, norm's
epsilon, width of a head). Embeddings and head are drawn anew from the seed, as wide as the rung's vocabulary: a rung's
ids mean something else than a text LM's. What is written in the end is a plain LlamaForCausalLM.
"""

from pathlib import Path
from typing import Any

from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.io.hashing import files_sha256
from speechladder.settings import DIMENSIONS, LM

FIELD = "lm.init"
NAMES = {  # config.json's names of lm's dimensions
    "hidden_size": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "intermediate_size": "intermediate_size",
}
KEPT = ("rope_theta", "rope_scaling", "rope_parameters", "rms_norm_eps", "head_dim")
PLAIN = {"attention_bias": False, "mlp_bias": False, "hidden_act": "silu"}  # what this library's Llama has


def config_of(init: str) -> dict[str, Any] | None:
    """config.json of `lm.init`: of a folder, or of a hub's model in the cache; None where it has not been fetched.

    Raises UserError where it is no Llama.
    """
    folder = Path(init).expanduser()
    if folder.is_dir():
        path = folder / "config.json"
        if not path.is_file():
            raise UserError(f"{FIELD}: {folder} has no config.json; name a folder as transformers saves it")
    elif folder.exists():
        raise UserError(f"{FIELD}: {init} is a file; name the folder that holds it with its config.json")
    else:
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        try:
            found = try_to_load_from_cache(init, "config.json")
        except HFValidationError:
            raise UserError(f"{FIELD}: no such folder: {init}; name a folder, or a hub's model as OWNER/NAME") from None
        if not isinstance(found, str):
            if init.count("/") != 1:
                raise UserError(f"{FIELD}: no such folder: {init}; name a folder, or a hub's model as OWNER/NAME")
            return None
        path = Path(found)
    config = read_json(path)
    check_config(config, init)
    return config


def check_config(config: dict[str, Any], init: str) -> None:
    """Raise UserError where a config.json is not that of a causal LM with Llama's blocks."""
    kind = config.get("model_type")
    if kind != "llama" or "LlamaForCausalLM" not in (config.get("architectures") or ["LlamaForCausalLM"]):
        raise UserError(
            f"{FIELD}: {init} is {kind or 'of no type'} ({', '.join(config.get('architectures') or [])}); the rungs' "
            "models are Llamas (LlamaForCausalLM), name one, as TinyLlama/TinyLlama_v1.1 is"
        )
    unlike = [f"{k}: {config[k]}" for k, plain in PLAIN.items() if config.get(k, plain) != plain]
    missing = [name for name in NAMES.values() if name != "num_key_value_heads" and not config.get(name)]
    if unlike or missing:
        what = f"has {', '.join(unlike)}" if unlike else f"lacks {', '.join(missing)} in its config.json"
        raise UserError(f"{FIELD}: {init} {what}; name a plain Llama")


def sized(settings: LM, config: dict[str, Any] | None = None) -> LM:
    """`settings` with the dimensions of lm.init's config.json; unchanged without lm.init, or where it is not there yet.

    Raises UserError where a dimension that was given contradicts it.
    """
    if not settings.init:
        return settings
    config = config or config_of(settings.init)
    if config is None:
        return settings
    found = {name: config.get(key) for name, key in NAMES.items()}
    found["kv_heads"] = found["kv_heads"] or found["heads"]
    given = {name: getattr(settings, name) for name in DIMENSIONS}
    wrong = [f"lm.{k}: {v} (there {found[k]})" for k, v in given.items() if v is not None and v != found[k]]
    if wrong:
        raise UserError(
            f"{FIELD}: {settings.init} has other dimensions than {', '.join(wrong)}; leave them and lm.model out"
        )
    return settings.model_copy(update=found)


def place(init: str) -> Path:
    """The folder of lm.init's files; a hub's model is fetched. Raises UserError where it cannot be had."""
    folder = Path(init).expanduser()
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(init, allow_patterns=["*.json", "*.safetensors"]))
    except Exception as error:  # the hub's client raises a dozen kinds
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{FIELD}: {init} cannot be fetched ({first}); fetch it where there is a network (hf download {init} "
            f"--local-dir FOLDER) and set {FIELD}: FOLDER"
        ) from None


def resolved(settings: LM) -> LM:
    """`settings` with lm.init a folder, fetched where it was a hub's, and with its dimensions."""
    if not settings.init:
        return settings
    folder = str(place(settings.init))
    return sized(settings, config_of(folder)).model_copy(update={"init": folder})


def weights(folder: Path) -> list[Path]:
    """A model's files of weights; raises UserError where there is none."""
    found = sorted(folder.glob("model*.safetensors"))
    if not found:
        raise UserError(f"{FIELD}: {folder} holds no model*.safetensors; fetch the model again, or convert it")
    return found


def digest(folder: Path) -> str:
    """SHA-256 over a model's weights: what a checkpoint of a warm start must agree on."""
    return files_sha256(weights(folder))


def body(folder: Path, wanted: set[str]) -> dict[str, Any]:
    """The tensors of `wanted` names, float32. Raises UserError naming what is lacking or damaged."""
    from safetensors import SafetensorError, safe_open

    out: dict[str, Any] = {}
    for path in weights(folder):
        try:
            with safe_open(path, "pt") as file:
                out |= {name: file.get_tensor(name).float() for name in file.keys() if name in wanted}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise UserError(f"{FIELD}: {path} cannot be read ({error}); fetch the model again") from None
    lacking = sorted(wanted - out.keys())
    if lacking:
        raise UserError(f"{FIELD}: {folder} lacks {lacking[0]} and {len(lacking) - 1} more tensors; fetch it again")
    return out
