"""results/diagnosis.json: what a tokenizer keeps and where it loses, without a language model.

Intervals are a percentile bootstrap (analysis.accuracy): over the sentences of the probe, and over words. The codebook
and the corpus are held fixed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from speechladder.analysis.accuracy import bootstrap, generator
from speechladder.analysis.published import Row, predict_swuggy, systems
from speechladder.constants import FRAME_RATE
from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.settings import Analysis
from speechladder.units.diagnostics import invariance
from speechladder.units.diagnostics.invariance import KINDS, NO_TIMES, OTHER, Change
from speechladder.units.diagnostics.probe import AGAIN, CAUSE_NAMES, SHIFTS, shift_name
from speechladder.units.diagnostics.words import TOKENS, Forms, read_words, short, word_figures

SCHEMA = 1
DECIMALS = 4
NEIGHBOUR = ("system", "source", "arxiv", "licence", "training_data", "hours", "lm", "units", "rate", "score_norm")
FIGURES = ("pnmi", "abx_within", "abx_across", "swuggy", "sblimp", "tsc")
Estimate = dict[str, float | None]


def diagnose(
    quality: Path,
    items: Path,
    about: Path,
    probe_units: Path,
    units: Sequence[Path],
    alignment: Sequence[Path],
    published: Path,
    analysis: Analysis,
    resynthesis: Path | None,
    tokenizer: Mapping[str, Any],
    corpus: Mapping[str, Any],
    seed: int,
) -> dict[str, Any]:
    """The content of results/diagnosis.json (docs/artefacts.md has its fields); the arguments are files of a run."""
    found, spoken = read_json(quality), read_json(about)
    estimates = _Estimates(analysis, seed)
    changed = estimates.changes(invariance.changes(items, about, probe_units))
    words = estimates.words(units, alignment)
    abx, speaker = found.pop("abx", None), found.pop("speaker", None)
    prediction, neighbours, reason = _predicted(published, found.get("pnmi_100hz"), abx)
    reasons = {
        "context": None if "value" in (changed["context"].get("units") or {}) else NO_TIMES,
        "words": None if words else "the units have no times, so those of a word cannot be cut out",
        "resynthesis": None if resynthesis else "a vocoder speaks one unit for each 50 Hz frame, and these are others",
        "prediction": reason,
    }
    return {
        "schema": SCHEMA,
        "tokenizer": dict(tokenizer),
        "conditions": conditions(corpus, seed, spoken["sentences"], analysis),
        "rates": _rates(found),
        "quality": found,
        "abx": abx,
        "invariance": {name: changed[name] for name in (AGAIN, *CAUSE_NAMES, OTHER)},
        "speaker": speaker,
        "shift": {f"{ms}ms": changed[shift_name(ms)] for ms in SHIFTS},
        "words": words,
        "resynthesis": read_json(resynthesis) if resynthesis else None,
        "prediction": prediction,
        "neighbours": neighbours,
        "reasons": {name: why for name, why in reasons.items() if why},
    }


def conditions(corpus: Mapping[str, Any], seed: int, sentences: int, analysis: Analysis) -> dict[str, Any]:
    """What two diagnoses must share to be compared; `corpus` is what workflow.inputs says of the speech."""
    return {**corpus, "seed": seed, "sentences": sentences, "confidence": analysis.confidence}


def parse_json(text: str, option: str) -> dict[str, Any]:
    """A JSON mapping from a command line. Raise UserError that names the option if it is none."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{option}: {text!r} is no JSON mapping, such as '{{\"layer\": 2}}'")
    return found


def _rates(quality: Mapping[str, Any]) -> dict[str, Any]:
    """Units a second, entropy and bits a second, as they are and with each run written once."""
    names = ("units_per_second", "entropy_bits", "bits_per_second")
    own = {"units_per_second": FRAME_RATE} | dict(quality)
    return {**{name: own[name] for name in names}, "dedup": {name: quality["dedup"][name] for name in names}}


class _Estimates:
    """Means with intervals."""

    def __init__(self, analysis: Analysis, seed: int) -> None:
        self._analysis, self._seed = analysis, seed

    def mean(self, name: str, values: np.ndarray, over: np.ndarray | None = None) -> Estimate | None:
        """The mean of `values` (n,), or the ratio of their sum to that of `over`; NaNs are left out.

        `low` and `high` are null for a single value. None if there is no value, or nothing to divide by.
        """
        kept = ~np.isnan(values)
        top, bottom = values[kept], (np.ones(len(values)) if over is None else over)[kept]
        if not len(top) or not bottom.sum():
            return None
        value = float(top.sum() / bottom.sum())
        if len(top) < 2:
            return {"value": round(value, DECIMALS), "low": None, "high": None}
        ends = bootstrap(
            lambda index: top[index].sum(-1) / np.maximum(bottom[index].sum(-1), 1e-12),
            len(top),
            self._analysis.confidence,
            self._analysis.resamples,
            generator(self._seed, "diagnosis", name),
        )
        low, high = (float(end) for end in ends)
        return {
            "value": round(value, DECIMALS),
            "low": round(min(low, value), DECIMALS),
            "high": round(max(high, value), DECIMALS),
        }

    def changes(self, found: Mapping[str, Change | None]) -> dict[str, dict[str, Any]]:
        """Each kind of change; without figures, only the number of sentences, where the units have no times.

        `of_other` is `dedup` as a share of what another sentence changes; `above_phones` is `dedup` less
        `phones_dedup`.
        """
        other = found[OTHER]
        scale = other.dedup.mean() if other is not None and len(other.dedup) else 0.0
        out: dict[str, dict[str, Any]] = {}
        for kind in KINDS:
            change = found[kind]
            if change is None:
                out[kind] = {"sentences": 0, "units": None, "dedup": None}
                continue
            out[kind] = {"sentences": len(change.units)}
            out[kind] |= {part: self.mean(f"{kind} {part}", values) for part, values in vars(change).items()}
            out[kind]["above_phones"] = self.mean(f"{kind} above", change.dedup - change.phones_dedup)
            out[kind]["of_other"] = self.mean(f"{kind} of", change.dedup, np.full(len(change.dedup), scale))
        return out

    def words(self, units: Sequence[Path], alignment: Sequence[Path]) -> dict[str, Any] | None:
        """The word forms of units, of runs of units and of runs of phones; None if units have no times."""
        found = read_words(units, alignment, self._seed)
        if found is None:
            return None
        kinds: dict[str, Forms] = {
            "units": found.units,
            "dedup": short(found.units),
            "phones": short(found.phones),
        }
        facts = {"tokens": found.tokens, "without_units": found.without_units, "words": len(found.units)}
        return facts | {"drawn": TOKENS} | {name: self._forms(name, forms) for name, forms in kinds.items()}

    def _forms(self, name: str, forms: Forms) -> dict[str, Estimate | None]:
        figures = vars(word_figures(forms, self._seed))
        return {figure: self.mean(f"words {name} {figure}", values) for figure, values in figures.items()}


def _predicted(
    published: Path, pnmi: float | None, abx: Mapping[str, Any] | None
) -> tuple[dict[str, Any] | None, list[dict[str, Any]], str | None]:
    """(prediction, its neighbours, why there is none)."""
    if pnmi is None:
        return None, [], "the units have no times, and so no PNMI"
    across = abx["units"]["symbols"]["across"] if abx else None
    try:
        found = predict_swuggy(published, pnmi, across)
    except UserError as error:
        return None, [], str(error)
    figures = {name: value for name, value in asdict(found).items() if name != "neighbours"}
    given = {"pnmi_100hz": pnmi, "abx_across": across}
    rows = systems(published)
    of = {
        name: sorted({getattr(row, name) for row in rows}) for name in ("source", "lm", "hours", "score_norm", "units")
    }
    prediction = {"measured": False, "given": given, **figures, "inputs": list(found.inputs), "conditions": of}
    return prediction, [_neighbour(row) for row in found.neighbours], None


def _neighbour(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in (*NEIGHBOUR, *FIGURES)}
