"""How the vocabulary of a language model holds units, as the files of its folder say. Loads no torch.

The layouts: units named `<Un0>`, `<Un1>`, ... in the tokenizer (slamkit's, alone or behind the tokens of text); a
configuration of slamkit's, in which the units follow the special tokens; a vocabulary that is exactly special tokens
and units (TWIST's way of replacing the vocabulary of a text model); a model that speechladder trained; a model of
text. What the files do not say is asked for, because a wrong guess gives a wrong number without a sign.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.io.hub import read_model_config
from speechladder.rungs import registry
from speechladder.settings.external import ExternalModel

FIELD = "external.models"
OWN_FILES = ("train.json", "symbols.json")  # of a model that speechladder trained
SLAMKIT = "speech_language_model"  # model_type of its configuration
TEXT_TOKENS = 200  # a tokenizer of text has more tokens than this besides units; one of bytes has 256
TOLERANCE = 0.05  # of the tokens per second of a model trained here, which depend on the speech
_UNIT = re.compile(r"<Un(\d+)>")
_OWN_UNIT = re.compile(r"u\d+")
_SPECIALS = ("pad_token_id", "bos_token_id", "eos_token_id")


@dataclass(frozen=True)
class Layout:
    """What a model reads.

    Attributes:
        rung: the rung of a model that speechladder trained, else None
        units: (units,) int64, the token id of each unit; None of a model without units
        bos: the token id that begins a sequence, or None
        dedup: whether a run of equal units is written once
        text: whether the model reads text
        phones: whether it reads phones, spelled as text
        size: number of token ids
        longest: tokens of the longest sequence that its positions allow, or None
    """

    rung: str | None
    units: np.ndarray | None
    bos: int | None
    dedup: bool
    text: bool
    phones: bool
    size: int
    longest: int | None

    @property
    def versions(self) -> list[str]:
        """The versions of the items that the model reads: speech, text, phones."""
        if self.rung:
            return [version_of(self.rung)]
        return [
            name
            for name, reads in (("speech", self.units is not None), ("text", self.text), ("phones", self.phones))
            if reads
        ]


def version_of(rung: str) -> str:
    """The version of the items that a rung has: speech, phones or text."""
    needs = registry.get(rung).needs
    return "speech" if "units" in needs else "phones" if "alignment" in needs else "text"


def read_layout(model: ExternalModel, folder: Path, clusters: int, rate: float | None) -> Layout:
    """The layout of the model in `folder`, for the run's number of units and their rate (None: they have none).

    Raises UserError if the files do not tell, or tell of other units than the run's.
    """
    config = read_model_config(folder, field_of(model))
    size = config.get("vocab_size")
    if not isinstance(size, int):
        raise _error(model, f"{folder}/config.json: vocab_size is {size!r}, not the number of token ids")
    if all((folder / name).is_file() for name in OWN_FILES):
        return _own(model, folder, size, clusters, rate)
    tokens = _tokens(folder, field_of(model))
    units = _units(model, folder, config, size, tokens, clusters)
    if units is not None:
        _check_units(model, units, size, clusters, rate)
    others = len(tokens) - len([name for name in tokens if _UNIT.fullmatch(name)])
    text = others > TEXT_TOKENS if model.text == "auto" else model.text == "on"
    if (text or model.phones) and not tokens:
        raise _error(
            model, f"{folder} has no tokenizer.json or vocab.json, by which texts become tokens; write text: off"
        )
    if units is None and not (text or model.phones):
        raise _error(model, f"{folder} has neither units nor a tokenizer of text; write unit_offset: ID of unit 0")
    named = _read(folder / "tokeniser_config.json", field_of(model))
    dedup = named.get("dedup", True) if model.dedup == "auto" else model.dedup == "on"
    bos = _bos(model, folder, config, size, tokens)
    base = _base(config)
    longest = base.get("max_position_embeddings", base.get("n_positions"))  # the second in GPT-2 and its like
    return Layout(None, units, bos, bool(dedup), text, model.phones, size, longest)


def field_of(model: ExternalModel) -> str:
    """How errors name a model."""
    return f"{FIELD}: {model.name or model.model}"


def _error(model: ExternalModel, text: str) -> UserError:
    return UserError(f"{field_of(model)}: {text}")


def _base(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration of the model itself; slamkit keeps that of the model that it wraps in base_config."""
    return config.get("base_config") or {} if config.get("model_type") == SLAMKIT else config


def _read(path: Path, field: str) -> dict[str, Any]:
    """A JSON object of the model's folder; empty without the file. Raises UserError if it is another thing."""
    try:
        found = read_json(path, "fetch the model again") if path.is_file() else {}
    except UserError as error:
        raise UserError(f"{field}: {error}") from None
    if not isinstance(found, dict):
        raise UserError(f"{field}: {path}: not a JSON object, but {type(found).__name__}; fetch the model again")
    return found


def _tokens(folder: Path, field: str) -> dict[str, int]:
    """Token -> id of the tokenizer in a folder; empty without one."""
    found: dict[str, int] = {}
    if file := _read(folder / "tokenizer.json", field):
        vocab = (file.get("model") or {}).get("vocab") or {}
        # of a unigram model, pairs of a piece and its score
        found |= vocab if isinstance(vocab, dict) else {piece: number for number, (piece, _) in enumerate(vocab)}
        return found | {added["content"]: added["id"] for added in file.get("added_tokens") or []}
    for name in ("vocab.json", "added_tokens.json"):
        found |= _read(folder / name, field)
    return found


def _units(
    model: ExternalModel, folder: Path, config: dict[str, Any], size: int, tokens: dict[str, int], clusters: int
) -> np.ndarray | None:
    """The token id of each unit, None of a model of text. Raises UserError if the files do not tell."""
    named = {int(match[1]): number for name, number in tokens.items() if (match := _UNIT.fullmatch(name))}
    if named and (model.unit_offset is not None or model.units is not None):
        raise _error(
            model, f"unit_offset and units: would not be read, since the tokenizer in {folder} names the units"
        )
    if named:
        if sorted(named) != [*range(len(named))]:
            raise _error(model, f"{folder}: its tokenizer names units up to <Un{max(named)}>, but only {len(named)}")
        return np.array([named[unit] for unit in range(len(named))])
    specials = [_base(config).get(name, config.get(name)) for name in _SPECIALS]
    first = max([number for number in specials if isinstance(number, int)], default=-1) + 1
    told = config.get("model_type") == SLAMKIT or (not tokens and first + (model.units or clusters) == size)
    offset = first if model.unit_offset is None and told else model.unit_offset
    if offset is not None:
        return offset + np.arange(size - offset if model.units is None else model.units)
    if tokens and model.units is None:
        return None  # a model of text
    raise _error(
        model,
        f"{folder} has {size} token ids, special tokens {specials}, and this run has {clusters} units: which ids "
        "are units is not told; write unit_offset: ID of unit 0, and units: N",
    )


def _check_units(model: ExternalModel, units: np.ndarray, size: int, clusters: int, rate: float | None) -> None:
    """Raise UserError unless the run has the units that the model was trained on."""
    if not len(units) or units.max() >= size:
        raise _error(model, f"units have ids up to {units.max(initial=0)}, the model has {size}; correct unit_offset")
    if len(units) != clusters:
        raise _error(
            model,
            f"it has {len(units)} units, but this run has {clusters}; give the units of its own tokenizer (units.path, "
            "units.clusters), or write units: N if not all ids from unit_offset on are units",
        )
    if model.rate is None:
        raise _error(model, "the rate of its units is not in its files; write rate: units per second of its tokenizer")
    check_rate(model, rate)


def check_rate(model: ExternalModel, rate: float | None) -> None:
    """Raise UserError if the rate that is given for a model is not that of the run's units."""
    if model.rate is not None and model.rate != rate:
        raise _other_rate(model, model.rate, rate)


def _other_rate(model: ExternalModel, trained: float, rate: float | None) -> UserError:
    here = "have no rate" if rate is None else f"are {rate:g} per second"
    return _error(model, f"it was trained on {trained:g} units per second, and those of this run {here} (units.rate)")


def _bos(model: ExternalModel, folder: Path, config: dict[str, Any], size: int, tokens: dict[str, int]) -> int | None:
    """The token id that begins a sequence."""
    if model.bos == "none":
        return None
    name = _read(folder / "tokenizer_config.json", field_of(model)).get("bos_token")
    name = name.get("content") if isinstance(name, dict) else name
    known = [model.bos, tokens.get(name or ""), _base(config).get("bos_token_id"), config.get("bos_token_id")]
    found = next((number for number in known if number is not None), None)
    if not isinstance(found, int):
        raise _error(model, "no token that begins a sequence is named in its files; write bos: ID, or bos: none")
    if found >= size:
        raise _error(model, f"bos is {found}, but the model has {size} token ids; write bos: ID")
    return found


def _own(model: ExternalModel, folder: Path, size: int, clusters: int, rate: float | None) -> Layout:
    """The layout of a model that speechladder trained: that of its rung."""
    changed = [n for n, field in ExternalModel.model_fields.items() if getattr(model, n) != field.default]
    given = [name for name in changed if name not in ("model", "name", "revision", "rate")]
    if given:
        raise _error(model, f"{given[0]}: would not be read, since speechladder trained {folder}, and its rung says it")
    about, symbols = (_read(folder / name, field_of(model)) for name in OWN_FILES)
    for name, content, key in zip(OWN_FILES, (about, symbols), ("rung", "symbols")):
        if key not in content:
            raise _error(model, f"{folder / name} has no '{key}'; name a folder lm/RUNG/seedN of a finished run")
    try:
        rung = registry.get(about["rung"])
    except UserError as error:
        raise _error(model, f"{folder}/train.json: {error}") from None
    if "confusions" in rung.needs or "audio" in rung.needs:
        raise _error(model, f"{folder} is of the rung {rung.name}, whose items depend on more than its folder holds")
    units = sum(_OWN_UNIT.fullmatch(symbol) is not None for symbol in symbols["symbols"])
    if units not in (0, clusters):
        raise _error(model, f"it has {units} units, but this run has {clusters} (units.clusters)")
    trained = model.rate or (about.get("tokens_per_second") if rung.transcribed_as == "units" else None)
    if units and trained and (rate is None or abs(trained / rate - 1) > TOLERANCE):
        raise _other_rate(model, trained, rate)
    return Layout(rung.name, None, None, False, False, False, size, None)
