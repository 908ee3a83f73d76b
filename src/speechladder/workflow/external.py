"""What the rules of results/external.csv ask the settings, and the check of its models before any job."""

import shlex
from pathlib import Path
from typing import Any

from speechladder.benchmarks.external.layout import FIELD, Layout, check_rate, field_of, read_layout
from speechladder.constants import FRAME_RATE
from speechladder.io.errors import UserError
from speechladder.io.hub import find_model_folder
from speechladder.settings import Settings, Units, as_options
from speechladder.settings.external import ExternalModel, external_model
from speechladder.workflow.inputs import Inputs
from speechladder.workflow.paths import as_input, find_or_keep


def unit_rate(units: Units) -> float | None:
    """Units per second of a run; None of segments, and of external units without a rate."""
    if units.source == "external":
        return units.rate or None
    return float(FRAME_RATE) if units.segments == "frame" else None


def place_models(settings: Settings, home: Path) -> dict[str, list[dict[str, Any]]]:
    """The section `external` with absolute folders. Raises UserError for what shows without fetching a model."""
    found = []
    for number, given in enumerate(settings.external.models):
        model = external_model(given, number)
        model = model.model_copy(update={"model": as_input(find_or_keep(model.model, home), FIELD)})
        if local_layout(model, settings) is None:  # its files are read when its job starts
            check_rate(model, unit_rate(settings.units))
        found.append(model.model_dump(exclude_unset=True))
    return {"models": found}


def local_layout(model: ExternalModel, settings: Settings) -> Layout | None:
    """The layout of a model in a folder; None of one that a hub has. Raises UserError as `read_layout` does."""
    folder = find_model_folder(model.model, field_of(model))
    return read_layout(model, folder, settings.units.vocabulary, unit_rate(settings.units)) if folder else None


class ExternalInputs:
    """The models of external.models, and the files of their jobs."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs, self.settings = inputs, inputs.settings
        self._models = {m.name: m for m in map(external_model, self.settings.external.models)}
        self.names = list(self._models)

    def units(self, wildcards: Any) -> list[str]:
        """The units of the items, unless the model lies in a folder and reads none."""
        layout = local_layout(self._models[wildcards.model], self.settings)
        return self.inputs.item_units(wildcards) if layout is None or "speech" in layout.versions else []

    def files(self, wildcards: Any) -> list[str]:
        """The files of a model in a folder: with other weights it is scored again."""
        folder = Path(self._models[wildcards.model].model)
        if not folder.is_dir():
            return []
        return sorted(str(path) for path in folder.iterdir() if path.suffix in (".safetensors", ".bin", ".json"))

    def model_words(self, wildcards: Any) -> str:
        """The options of the model, and those of the run's units."""
        rate = unit_rate(self.settings.units)
        words = f"--clusters {self.settings.units.vocabulary} --batch-tokens {self.settings.scores.batch_tokens}"
        model = self._models[wildcards.model]
        return f"{as_options(model, model.model_fields_set)} {words}" + (f" --run-rate {rate:g}" if rate else "")

    def scores(self, wildcards: Any) -> list[str]:
        """The scores of all models. Raises UserError if there are none."""
        if not self.names:
            raise UserError("results/external.csv: external.models is empty; name a folder, or OWNER/NAME of a hub")
        return [f"results/external/{name}.parquet" for name in self.names]

    def rungs(self, wildcards: Any) -> str:
        """The rungs of the run that are scored already, for the command line; no model is trained for this table."""
        files = {
            rung: [Path(f"results/scores/{rung}/{t}.parquet") for t in self.inputs.tasks]
            for rung in self.settings.rungs
        }
        return " ".join(shlex.quote(rung) for rung, own in files.items() if all(path.is_file() for path in own))
