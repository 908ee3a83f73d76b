"""Whole runs below a folder of this run: on worlds of another variability, with single causes of it, or synthesized."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.fetch.download import downloads_folder
from speechladder.io.errors import UserError
from speechladder.settings import Corpus, Settings
from speechladder.settings.causes import CAUSES, LINKS, PHONES, SPEECH, causes_of, corpus_rungs
from speechladder.workflow.inputs import Inputs
from speechladder.workflow.rungs import check_units_of

OWN_TARGETS = (
    "sweep",
    "causes",
    "questions",
)  # sections that no run below reads: a change there starts none of them again
# What a corpus of results/causes.csv is asked for, below its results/: the rung of units, whose model comes before it.
SCORES = {"layers": False, "learning": False}
MADE = ["units/quality.json", *(f"scores/{SPEECH}/{task}.parquet" for task in TASKS)]


def variability_config(settings: Settings, level: int) -> str:
    """The `--config` words of a run of the two rungs of factor C on a world of this variability level.

    Raises UserError on a corpus that has no such level.
    """
    check_speaks("results/variability.csv", settings)
    return _words(_values(settings, [PHONES, SPEECH], {"variability": level, "causes": None}))


def causes_config(settings: Settings, corpus: str) -> str:
    """The `--config` words of the run of a corpus of results/causes.csv: scores alone, without layers and curves."""
    check_speaks("results/causes.csv", settings)
    # a level that is not the default would contradict the causes
    changed = {"causes": causes_of(corpus), "variability": Corpus.model_fields["variability"].default}
    values = _values(settings, corpus_rungs(corpus), changed, SCORES)
    if corpus in CAUSES:
        values["lm"]["seeds"] = settings.lm.seeds[: settings.causes.cause_seeds]
    return _words(values)


def synthesized_config(settings: Settings) -> str:
    """The `--config` words of a run of the two rungs of factor C on the run's texts, which the synthesizer speaks.

    It is scored without layers and learning curves. TextGrids are of the recordings, so PocketSphinx takes their place,
    as it does for items. Files that the run has downloaded are taken from where they are. Raises UserError on a corpus
    without recordings.
    """
    target = "results/questions.csv"
    if settings.corpus.is_synthesized:
        raise UserError(f"{target} compares recordings with synthesized speech, and this run has no recordings")
    if settings.units.source == "external":
        raise UserError(
            f"{target} speaks the corpus again, and units.source: external has no units of that speech; run it with an "
            "encoder, or write questions: {corpora: []}"
        )
    values = _values(settings, [PHONES, SPEECH], {"speech": "synthesized"}, SCORES)
    if settings.alignment.aligner == "textgrids":
        values["alignment"] |= {"aligner": "pocketsphinx", "textgrids": None}
    folder = downloads_folder(settings.downloads).resolve()
    values["downloads"]["folder"] = str(folder)
    for name, file in values["downloads"]["files"].items():
        file["urls"] = [str(folder / name)]  # an address may hold a password, and a command is printed
    return _words(values)


def _values(
    settings: Settings, rungs: Sequence[str], corpus: Mapping[str, Any], scores: Mapping[str, Any] = {}
) -> dict[str, Any]:
    values = settings.model_dump(mode="json", exclude=set(OWN_TARGETS)) | {"rungs": list(rungs)}
    values["corpus"] |= corpus
    values["scores"] |= scores
    values["continuation"]["enabled"] = False
    return values


def _words(values: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={shlex.quote(json.dumps(value))}" for key, value in values.items())


def check_speaks(target: str, settings: Settings) -> None:
    """Raise UserError unless the run can speak its corpus again with other causes of variability."""
    hint = "; causes.corpora: [] leaves these rows out" if "causes" in target else ""
    if settings.corpus.name != "world":
        raise UserError(
            f"{target} needs corpus.name: world, which speaks its texts again; a natural corpus has no variability "
            f"level, and no causes that can be switched off{hint}"
        )
    if settings.units.source == "external":
        raise UserError(
            f"{target} speaks the corpus again, and units.source: external has no units of that speech; run it with an "
            f"encoder{hint}"
        )


class CausesInputs:
    """The rows of results/causes.csv and where their artefacts lie."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self.rungs = inputs.settings.causes.compared()
        self.corpora = list(inputs.settings.causes.corpora)

    def config(self, wildcards: Any) -> str:
        """The `--config` words of the run of a corpus."""
        return causes_config(self.inputs.settings, wildcards.corpus)

    def targets(self, wildcards: Any) -> list[str]:
        """The targets of the run of a corpus: the scores of its rungs, and the quality of its units."""
        rungs = corpus_rungs(wildcards.corpus)
        return ["results/units/quality.json"] + [f"results/scores/{r}/{task}.parquet" for r in rungs for task in TASKS]

    @property
    def links(self) -> list[str]:
        """The rungs of the run whose validation loss the bit budget needs beside the rows: text, and phones."""
        return [rung for rung in self.inputs.settings.rungs if rung in LINKS]

    def models(self, wildcards: Any) -> list[str]:
        """The models of these rungs, by the file that each has when it is finished."""
        seeds = self.inputs.settings.lm.seeds
        return [f"results/lm/{rung}/seed{seed}/train.json" for rung in self.links for seed in seeds]

    def scores(self, wildcards: Any) -> list[str]:
        """The scores of the rungs of the run. Raises UserError on a rung that the run's units cannot be."""
        check_units_of(self.rungs, self.inputs.settings, "causes.rungs")
        return [f"results/scores/{rung}/{task}.parquet" for rung in self.rungs for task in TASKS]

    def runs(self, wildcards: Any) -> list[str]:
        """What the runs of the corpora make. Raises UserError on a corpus that cannot be spoken again."""
        if self.corpora:
            check_speaks("results/causes.csv", self.inputs.settings)
        return [f"results/causes/{corpus}/results/{path}" for corpus in self.corpora for path in MADE]

    @property
    def words(self) -> list[str]:
        """The corpora as NAME=FOLDER."""
        return [f"{corpus}=results/causes/{corpus}/results" for corpus in self.corpora]
