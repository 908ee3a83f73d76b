"""What the targets beside the table consist of: the points of units sweep, scaling grid and questions; variability."""

import json
import shlex
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from speechladder.io.errors import UserError
from speechladder.settings import ARMS, Point, Settings, own
from speechladder.workflow.checks import check_sweep
from speechladder.workflow.inputs import Inputs


class SweepInputs:
    """The points of results/units_sweep.csv and where their artefacts lie."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs, self.sweep = inputs, inputs.settings.sweep
        self.points = self.sweep.points()
        self.trained = self.sweep.trained(own(inputs.settings))

    @property
    def rungs(self) -> list[str]:
        """The rungs that the points are trained on."""
        return list(dict.fromkeys(point.rung for point in self.points))

    def _job(self, point: Point) -> SimpleNamespace:
        return SimpleNamespace(point=f"units_sweep/{point.codebook}/", rung=point.rung)

    def _folder(self, point: Point) -> str:
        """The folder with the lm/ and scores/ of a point."""
        return f"results/{self.inputs.prefix(self._job(point), 'units')}".rstrip("/")

    def codebooks(self, wildcards: Any) -> dict[str, str]:
        """The codebooks of a layer: name -> file."""
        return {
            point.codebook: f"{self._folder(point)}/units/centroids.safetensors"
            for point in self.points
            if point.layer == int(wildcards.layer)
        }

    def codebook_files(self, wildcards: Any) -> list[str]:
        """The files of a layer's codebooks."""
        return list(self.codebooks(wildcards).values())

    def codebook_words(self, wildcards: Any) -> list[str]:
        """The codebooks of a layer as NAME=FILE."""
        return [f"{name}={path}" for name, path in self.codebooks(wildcards).items()]

    def speakers(self, wildcards: Any) -> str | list[str]:
        """The speakers' statistics of a layer, if some point is normalised by them."""
        if "speaker" not in self.sweep.normalisations:
            return []
        job = SimpleNamespace(point=f"units_sweep/layer{wildcards.layer}/")
        return f"results/{self.inputs.prefix(job, 'speakers')}units/speakers.safetensors"

    def options(self, wildcards: Any) -> str:
        """The options of the job that measures the codebooks of a layer."""
        return self.inputs.options("sweep_quality")(SimpleNamespace(point=f"units_sweep/layer{wildcards.layer}/"))

    def scores(self, wildcards: Any) -> list[str]:
        """The scores of the trained points, and of phone-repeat, from which factor C is the step.

        Raises UserError if the sweep cannot be made from the run's settings.
        """
        settings, tasks = self.inputs.settings, self.inputs.tasks
        if settings.units.source == "external":
            raise UserError(
                "results/units_sweep.csv: its points are layers and codebooks of an encoder, and units.source: "
                "external has neither; leave units.source out, or compare tokenizers by a run of each (--directory)"
            )
        if settings.units.segments != "frame":
            raise UserError("results/units_sweep.csv: its points are units of frames; leave units.segments out")
        if self.trained and "phone-repeat" not in settings.rungs:
            raise UserError("results/units_sweep.csv: factor C is the step from phone-repeat; add it to rungs")
        check_sweep(settings, self.inputs.home)
        before = [f"results/scores/phone-repeat/{task}.parquet" for task in (tasks if self.trained else [])]
        return before + [f"{self._folder(p)}/scores/{p.rung}/{task}.parquet" for p in self.trained for task in tasks]

    def trained_words(self, wildcards: Any) -> list[str]:
        """The trained points as NAME=FOLDER, with the folder that holds their lm/ and scores/."""
        return [f"{point.name}={self._folder(point)}" for point in self.trained]


class ScalingInputs:
    """The points of results/scaling.csv, rungs x sizes x fractions, and where their artefacts lie."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs, scaling = inputs, inputs.settings.scaling
        self.sizes = [size["name"] for size in scaling.sizes]
        self.jobs = [
            SimpleNamespace(point=f"scaling/{fraction}/{size}/", rung=rung)
            for rung in scaling.rungs
            for size in self.sizes
            for fraction in scaling.fractions
        ]

    def _all(self, files: Callable[[Any], str | list[str]]) -> list[str]:
        settings = self.inputs.settings
        if missing := [rung for rung in settings.scaling.rungs if rung not in settings.rungs]:
            names = ", ".join(missing)
            raise UserError(f"scaling.rungs: {names} is not among rungs; add it there, or leave it out here")
        found = map(files, self.jobs)
        return [path for paths in found for path in ([paths] if isinstance(paths, str) else paths)]

    def tokens(self, wildcards: Any) -> list[str]:
        """The token folder of each point."""
        return self._all(self.inputs.tokens)

    def models(self, wildcards: Any) -> list[str]:
        """The models of each point, all seeds, by the file that each has when it is finished."""
        return self._all(self.inputs.models)

    def scores(self, wildcards: Any) -> list[str]:
        """The scores of each point, all tasks."""
        tasks = self.inputs.tasks
        return self._all(lambda job: [f"results/{job.point}scores/{job.rung}/{task}.parquet" for task in tasks])


class QuestionInputs:
    """The arms of results/questions.csv and where their artefacts lie."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs, self.arms = inputs, inputs.settings.questions.arms
        self.rungs = list(dict.fromkeys(ARMS[arm].rung for arm in self.arms))

    def _folder(self, arm: str) -> str:
        """The folder with the units/, tokens/, lm/ and scores/ of an arm."""
        job = SimpleNamespace(point=f"questions/{arm}/", rung=ARMS[arm].rung)
        return f"results/{self.inputs.prefix(job, 'models')}".rstrip("/")

    def arm_scores(self, wildcards: Any) -> list[str]:
        """The scores of every arm, all tasks. Raises UserError if the run has no encoder, whose units arms change."""
        if self.arms and self.inputs.settings.units.source == "external":
            raise UserError(
                "questions.arms: an arm makes other units by the run's encoder, and units.source: external has none; "
                "write questions: {arms: []}, or leave units.source out"
            )
        tasks = self.inputs.tasks
        return [f"{self._folder(a)}/scores/{ARMS[a].rung}/{task}.parquet" for a in self.arms for task in tasks]

    def arm_resynthesis(self, wildcards: Any) -> list[str]:
        """The word error rate of speech made again from units: of the run's own units, and of those of every arm."""
        folders = ["results", *map(self._folder, self.arms)]
        return [f"{folder}/units/resynthesis.json" for folder in dict.fromkeys(folders)]

    def arm_words(self, wildcards: Any) -> list[str]:
        """The arms as NAME=FOLDER, with the folder that holds their lm/ and scores/."""
        return [f"{arm}={self._folder(arm)}" for arm in self.arms]


def variability_config(settings: Settings, level: int) -> str:
    """The `--config` words of a run of the two rungs of factor C on a world of this variability level.

    Raises UserError on a corpus that has no such level.
    """
    if settings.corpus.name != "world":
        raise UserError("results/variability.csv needs corpus.name: world; a natural corpus has no variability level")
    if settings.units.source == "external":
        raise UserError(
            "results/variability.csv speaks the corpus again at every variability level, and units.source: external "
            "has no units of that speech; run it with an encoder"
        )
    values = settings.model_dump(mode="json") | {"rungs": ["phone-repeat", "speech-hubert"]}
    values["corpus"]["variability"] = level
    values["continuation"]["enabled"] = False
    return " ".join(f"{key}={shlex.quote(json.dumps(value))}" for key, value in values.items())
