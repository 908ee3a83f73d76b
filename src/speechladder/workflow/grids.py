"""What the targets beside the table consist of: the points of units sweep, scaling grid and questions."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from speechladder.continuation.asr.checks import check_asr
from speechladder.io.errors import UserError
from speechladder.settings import ARMS, Point, own
from speechladder.settings.causes import FLAT, PHONES, SPEECH
from speechladder.settings.units import SPECTRAL
from speechladder.workflow.checks import check_sweep
from speechladder.workflow.inputs import Inputs
from speechladder.workflow.rungs import check_units_of
from speechladder.workflow.subruns import MADE


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
        if settings.units.source in SPECTRAL:
            raise UserError(
                "results/units_sweep.csv: its points are layers of an encoder, and units.source: "
                f"{settings.units.source} has none; leave units.source out"
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
        self.inputs, self.questions = inputs, inputs.settings.questions
        self.arms, self.own_rungs = self.questions.arms, self.questions.rungs
        self.own = own(inputs.settings).name

    @property
    def rungs(self) -> list[str]:
        """Every rung of the table."""
        return list(dict.fromkeys([PHONES, SPEECH, *(ARMS[arm].rung for arm in self.arms), *self.own_rungs]))

    @property
    def corpora(self) -> list[str]:
        """The runs on the same texts spoken otherwise, of those that the corpus can have."""
        corpus = self.inputs.settings.corpus
        possible = {"world": FLAT}.get(corpus.name, "synthesized" if corpus.speech == "recorded" else "")
        return [name for name in self.questions.corpora if name == possible]

    @property
    def flat(self) -> list[str]:
        """The one flat voice, whose run is that of results/causes.csv, if the table has it."""
        return [name for name in self.corpora if name == FLAT]

    def _folder(self, arm: str) -> str:
        """The folder with the units/, tokens/, lm/ and scores/ of an arm; of the run itself for ""."""
        if not arm:
            return "results"
        job = SimpleNamespace(point=f"questions/{arm}/", rung=ARMS[arm].rung)
        return f"results/{self.inputs.prefix(job, 'models')}".rstrip("/")

    def scores(self, wildcards: Any) -> list[str]:
        """The scores of every arm of the run's own speech, and of the two rungs between which factor C lies.

        Raises UserError if the run has no encoder, whose units arms change, if its units are those of an arm, or on a
        rung that its units cannot be.
        """
        if (self.arms or self.corpora) and self.inputs.settings.units.source == "external":
            raise UserError(
                "questions.arms, questions.corpora: an arm makes other units by the run's encoder, and units.source: "
                "external has none; write questions: {arms: [], corpora: []}, or leave units.source out"
            )
        units = self.inputs.settings.units
        if self.arms and (units.segments != "frame" or units.labels != "none"):
            raise UserError(
                "questions.arms: arms differ from the run in one thing only if its units are frames of k-means; leave "
                "units.segments and units.labels out, or write questions: {arms: []}"
            )
        check_units_of(self.own_rungs, self.inputs.settings, "questions.rungs")
        places = [("results", rung) for rung in (PHONES, SPEECH, *self.own_rungs)]
        places += [(self._folder(arm), ARMS[arm].rung) for arm in self.arms]
        return [f"{folder}/scores/{rung}/{task}.parquet" for folder, rung in places for task in self.inputs.tasks]

    def quality(self, wildcards: Any) -> list[str]:
        """How well the units of the run and of each arm keep phones apart, and whether they can be spoken.

        Raises UserError if they are spoken and the ASR cannot serve.
        """
        if self.questions.resynthesis:
            check_asr(self.inputs.settings.continuation)
        counts = [
            f"{folder}/units/phone_units.parquet" for folder in dict.fromkeys(map(self._folder, ["", *self.arms]))
        ]
        segments = ["", *(arm for arm in self.arms if arm.startswith("segments-"))] * self.questions.resynthesis
        return counts + [f"{folder}/units/resynthesis.json" for folder in dict.fromkeys(map(self._folder, segments))]

    def runs(self, wildcards: Any) -> list[str]:
        """What the runs on the same texts make."""
        return [f"{self._corpus(name)}/{path}" for name in self.corpora for path in MADE]

    def _corpus(self, name: str) -> str:
        return f"results/{'causes' if name == FLAT else 'questions'}/{name}/results"

    @property
    def arm_words(self) -> list[str]:
        """The arms as NAME=FOLDER, with the folder that holds their lm/ and scores/."""
        return [f"{arm}={self._folder(arm)}" for arm in self.arms]

    @property
    def corpus_words(self) -> list[str]:
        """The runs on the same texts as NAME=FOLDER."""
        return [f"{name}={self._corpus(name)}" for name in self.corpora]
