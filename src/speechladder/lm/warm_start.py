"""Warm start from a text LM, the recipe of TWIST (Hassid et al. 2023, arXiv 2305.13009).

The blocks and the last norm are taken, with the fields of config.json that they were computed with (dimensions, rotary
base and scaling, the norm's epsilon, head dimension). Embeddings and head are drawn from the seed for the vocabulary
of the rung, because the ids of a rung mean something else than those of a text LM. The result is a plain model of the
same architecture.
"""

from pathlib import Path
from typing import Any

from speechladder.io.errors import UserError
from speechladder.io.hashing import files_sha256
from speechladder.io.hub import fetch_model, find_config, find_weights
from speechladder.lm.architectures.base import get_architecture
from speechladder.settings import DIMENSIONS, LM

FIELD = "lm.init"


def read_config(init: str, architecture: str = "llama") -> dict[str, Any] | None:
    """config.json of `lm.init`: of a folder, or of a model of the hub in the cache; None if it was never fetched.

    Raise UserError if the model is not of `architecture`.
    """
    config = find_config(init, FIELD)
    if config is not None:
        check_init_config(config, init, architecture)
    return config


def check_init_config(config: dict[str, Any], init: str, architecture: str = "llama") -> None:
    """Raise UserError if a config.json is not that of a causal LM whose blocks are those of `architecture`."""
    wanted, kind = get_architecture(architecture), config.get("model_type")
    if kind != wanted.name or wanted.model_class not in (config.get("architectures") or [wanted.model_class]):
        raise UserError(
            f"{FIELD}: {init} is {kind or 'of no type'} ({', '.join(config.get('architectures') or [])}); "
            f"lm.architecture is {wanted.name} ({wanted.model_class}), name one of that kind, such as "
            "TinyLlama/TinyLlama_v1.1 for llama"
        )
    unlike = [f"{k}: {config[k]}" for k, value in wanted.required.items() if config.get(k, value) != value]
    needed = [key for name, key in wanted.dimensions.items() if name not in ("kv_heads", "head_dim")]
    missing = [key for key in needed if not config.get(key)]
    if unlike or missing:
        what = f"has {', '.join(unlike)}" if unlike else f"lacks {', '.join(missing)} in its config.json"
        raise UserError(f"{FIELD}: {init} {what}; name a plain {wanted.name.capitalize()}")


def with_init_dimensions(settings: LM, config: dict[str, Any] | None = None) -> LM:
    """`settings` with the dimensions in config.json of lm.init.

    They stay unchanged without lm.init, or if it has not been fetched yet. Raise UserError if a dimension in the
    settings contradicts it.
    """
    if not settings.init:
        return settings
    config = config or read_config(settings.init, settings.architecture)
    if config is None:
        return settings
    found = {name: config.get(key) for name, key in get_architecture(settings.architecture).dimensions.items()}
    found["kv_heads"] = found.get("kv_heads") or found["heads"]
    usual = found["hidden_size"] // found["heads"]
    found["head_dim"] = found.get("head_dim") or usual
    given = {name: getattr(settings, name) for name in DIMENSIONS}
    wrong = [f"lm.{k}: {v} (there {found[k]})" for k, v in given.items() if v is not None and v != found[k]]
    if wrong:
        raise UserError(
            f"{FIELD}: {settings.init} has other dimensions than {', '.join(wrong)}; leave them and lm.model out"
        )
    if found["head_dim"] == usual:
        found["head_dim"] = None
    return settings.model_copy(update=found)


def init_folder(init: str) -> Path:
    """The folder of the files of lm.init; a model of the hub is fetched. Raise UserError if that fails."""
    return fetch_model(init, FIELD, ["*.json"], ["model.safetensors", "model-*.safetensors"])


def resolve_init(settings: LM) -> LM:
    """`settings` with lm.init as a folder, fetched from the hub if needed, and with its dimensions."""
    if not settings.init:
        return settings
    folder = str(init_folder(settings.init))
    config = read_config(folder, settings.architecture)
    return with_init_dimensions(settings, config).model_copy(update={"init": folder})


def weight_files(folder: Path) -> list[Path]:
    """The files of a model's weights. Raise UserError if there are none."""
    return find_weights(folder, FIELD, ["model*.safetensors"])


def weights_digest(folder: Path) -> str:
    """SHA-256 over the weights of a model: a resumed warm start must have begun with the same ones."""
    return files_sha256(weight_files(folder))


def read_body(folder: Path, wanted: set[str]) -> dict[str, Any]:
    """The tensors of the `wanted` names, float32. Raise UserError naming what is missing or damaged."""
    from safetensors import SafetensorError, safe_open

    out: dict[str, Any] = {}
    for path in weight_files(folder):
        try:
            with safe_open(path, "pt") as file:
                out |= {name: file.get_tensor(name).float() for name in file.keys() if name in wanted}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise UserError(f"{FIELD}: {path} cannot be read ({error}); fetch the model again") from None
    missing = sorted(wanted - out.keys())
    if missing:
        raise UserError(f"{FIELD}: {folder} lacks {missing[0]} and {len(missing) - 1} more tensors; fetch it again")
    return out
