"""results/questions.csv: the paper's open questions and checks (arXiv 2412.17048), a row per arm, task and norm.

An arm is the speech rung with one thing changed: units by segment, supervised units, normalised features, tokens beside
the units, or the same texts in another voice. Its baseline is the run's speech-hubert unless the column `base` says
otherwise. A difference is paired over the ids that both scored, as in factors.csv (analysis.factors). `floor` is that
of factors.csv: the baseline cannot be told from chance, so no loss can show; a gain can.

`repaired` is the share of factor C that an arm gives back: 1 - C of the arm / C of the run, in percent. C of the run is
phone-repeat less speech-hubert. C of an arm is phone-repeat less the arm, with the phone-repeat of the arm's own corpus
if the arm is named `-c`. Each resample draws ids once for all these models and seeds for each of them. The cell is
empty where C of the run is not apart from 0, for a share of nothing means nothing, and where a phone-repeat is at the
floor, for then a C of nothing would read as all of it repaired.

`p_holm` is adjusted over the arms of one task and norm (Holm 1979). Rows that are quoted from another table of the run
have no p-value: they are not in this family.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from speechladder.analysis.accuracy import Estimate, Outcomes, generator
from speechladder.analysis.causes import check_texts
from speechladder.analysis.csv_tables import fixed, interval_columns, percent_cells, write_csv
from speechladder.analysis.factors import compare, estimate_jointly, holm
from speechladder.analysis.table import (
    Scores,
    estimate_accuracy,
    model_facts,
    read_scores,
    starts_at_floor,
    token_facts,
)
from speechladder.analysis.variability import AFTER, BEFORE
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import NORMS
from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.io.tables import PHONE_UNITS, read_table
from speechladder.rungs import registry
from speechladder.settings import Analysis
from speechladder.units.diagnostics.quality import purities

RUN = "run"  # in the column question, of the two rows between which factor C lies
FACTS = ("units_per_second", "pnmi", "valid_bits_per_second", *interval_columns("resynthesis_wer"))
COMPARED = ("ids", *interval_columns("difference"), "floor", "p_value", "p_holm", *interval_columns("repaired"))
COLUMNS = (
    *("question", "arm", "answers", "base", "task", "norm", "seeds", "one_seed", *FACTS),
    *(*interval_columns("accuracy"), *COMPARED),
)
OWN = "-c"  # ends the name of an arm that is compared with the phone-repeat of its own corpus
# Arm -> the question that it belongs to, and what its row tells.
ARMS = {
    "segments-phone": ("OQ1", "one unit per aligned phone"),
    "segments-syllable": ("OQ1", "one unit per aligned syllable"),
    "segments-word": ("OQ1", "one unit per aligned word"),
    "segments-auto": ("OQ1", "one unit per segment found without labels"),
    "unit-words": ("OQ2", "word boundaries among the units"),
    "text-units": ("OQ2", "text and units by turns"),
    "supervised-1": ("OQ2", "units from 1 minute of labelled phones"),
    "supervised-10": ("OQ2", "units from 10 minutes of labelled phones"),
    "supervised-60": ("OQ2", "units from 60 minutes of labelled phones"),
    "supervised-60-context": ("OQ2", "the same, each item encoded among others of its voice"),
    "flat": ("OQ3", "the same texts in one flat voice"),
    "flat-c": ("OQ3", "C in one flat voice"),
    "speaker-norm": ("OQ3", "features normalised per speaker"),
    "utterance-norm": ("OQ3", "features normalised per utterance"),
    "item-context": ("check", "each item encoded among others of its voice"),
    "synthesized": ("check", "the same texts from a synthesizer"),
    "synthesized-c": ("check", "C in synthesized speech"),
}


class Models(NamedTuple):
    """The models of a rung, by the folder that has their lm/, scores/ and tokens/."""

    folder: Path
    rung: str


class Arm(NamedTuple):
    """A row before its figures; `own` is the phone-repeat of the arm's corpus where C is that of the arm's corpus."""

    question: str
    name: str
    answers: str
    models: Models
    base: Models | None
    base_name: str
    own: Models | None = None


def find_arms(
    results: Path, arms: Mapping[str, Path], rungs: Sequence[str], corpora: Mapping[str, Path]
) -> Iterator[Arm]:
    """Yield the arms in the order of ARMS, behind the run's own phone-repeat and speech-hubert.

    `arms` maps a name to the folder of its models, `rungs` are rungs of the run, and `corpora` maps flat or synthesized
    to the results of that run. Raise UserError for a name that ARMS lacks.
    """
    unknown = sorted({*arms, *rungs, *corpora} - set(ARMS))
    if unknown:
        raise UserError(f"--arms: no question asks for {', '.join(unknown)}; there are {', '.join(ARMS)}")
    run = Models(results, AFTER)
    yield Arm(RUN, BEFORE, "where factor C starts", Models(results, BEFORE), run, AFTER)
    yield Arm(RUN, AFTER, "where factor C ends", run, None, "")
    for name, (question, answers) in ARMS.items():
        corpus = corpora.get(name.removesuffix(OWN))
        if corpus and name.endswith(OWN):
            before = Models(corpus, BEFORE)
            yield Arm(
                question, name, answers, Models(corpus, AFTER), before, f"{BEFORE} of {name.removesuffix(OWN)}", before
            )
        elif corpus or name in arms:
            yield Arm(question, name, answers, Models(corpus or arms[name], AFTER), run, AFTER)
        elif name in rungs:
            yield Arm(question, name, answers, Models(results, name), run, AFTER)


def repaired(
    run: tuple[Outcomes, Outcomes],
    arm: Outcomes,
    own: Outcomes | None,
    analysis: Analysis,
    random: np.random.Generator,
) -> Estimate | None:
    """The share of factor C that an arm gives back; `run` is phone-repeat and speech-hubert.

    `own` is the phone-repeat from which C of the arm starts, None for that of the run. None if C of the run, as
    printed, is not above 0. Raises ValueError without a shared id.
    """

    def combine(means: np.ndarray) -> np.ndarray:
        before, after, here, *start = means
        c = before - after
        # a resample may have no C
        return np.stack([c, 1 - ((start[0] if start else before) - here) / np.maximum(c, 0.5 / len(arm.ids))])

    _, (c, share) = estimate_jointly([*run, arm, *([own] if own else [])], combine, analysis, random)
    return share if fixed(100 * c.low, 1) and float(fixed(100 * c.low, 1)) > 0 else None


def write_questions(
    arms: Sequence[Arm],
    out: Path,
    seed: int,
    analysis: Analysis,
    split: str | None = None,
    quoted: Sequence[dict[str, str]] = (),
) -> None:
    """Write `out`, a row per arm, task and norm; `quoted` are rows of other tables, which follow (analysis.quoted).

    `arms` are those of `find_arms`. Raises UserError that names what is missing, an arm that shares no id with its
    baseline, or an id that stands for other texts in another corpus.
    """
    results = arms[0].models.folder
    check_texts({arm.own.folder for arm in arms if arm.own}, results)

    @cache
    def scores(models: Models) -> Scores:
        return read_scores(models.folder, [models.rung], split)

    found = _Figures(results, scores, seed, analysis)
    rows = []
    for arm in arms:
        facts = arm_facts(arm, scores(arm.models)[arm.models.rung, next(iter(TASKS))].seeds)
        rows += [facts | found.cells(arm, task, norm) for task, norm in product(TASKS, NORMS)]
    for task, norm in product(TASKS, NORMS):
        family = [row for row in rows if (row["task"], row["norm"]) == (task, norm) and row["p_value"]]
        for row, adjusted in zip(family, holm([float(row["p_value"]) for row in family])):
            row["p_holm"] = fixed(adjusted, len(row["p_value"]) - len("0."))
    write_csv(out, COLUMNS, [*rows, *quoted])


def arm_facts(arm: Arm, seeds: Sequence[int]) -> dict[str, str]:
    """The cells of an arm that are the same for every task and norm."""
    folder, rung = arm.models
    return {
        "question": arm.question,
        "arm": arm.name,
        "answers": arm.answers,
        "base": arm.base_name,
        "seeds": str(len(seeds)),
        "units_per_second": fixed(token_facts(folder, rung)["tokens_per_second"], 2),
        "pnmi": fixed(_pnmi(folder) if "units" in registry.get(rung).needs else None, 4),
        "valid_bits_per_second": fixed(model_facts(folder, rung, seeds)["valid_bits_per_second"], 3),
        **_resynthesis(folder, rung),
    }


def _pnmi(folder: Path) -> float | None:
    """PNMI by 50 Hz frame: of the train split (units/phone_units.parquet), else the one in units/quality.json."""
    table, quality = folder / "units" / "phone_units.parquet", folder / "units" / "quality.json"
    if not table.is_file():
        return read_json(quality)["pnmi"] if quality.is_file() else None
    rows = read_table(table, PHONE_UNITS)
    (phones, phone), (units, unit) = (
        np.unique(rows[name].to_numpy(), return_inverse=True) for name in ("phone", "unit")
    )
    joint = np.zeros((len(phones), len(units)), np.int64)
    joint[phone, unit] = rows["frames"].to_numpy()
    return purities(joint)["pnmi"]


def _resynthesis(folder: Path, rung: str) -> dict[str, str]:
    """The word error rate of speech that is made again from the units of speech-hubert, where it was measured."""
    path = folder / "units" / "resynthesis.json"
    found = read_json(path) if rung == AFTER and path.is_file() else None
    return percent_cells("resynthesis_wer", [found[name] for name in ("wer", "low", "high")] if found else None)


class _Figures:
    """The cells of a row that depend on task and norm; `run` is the run's results."""

    def __init__(self, run: Path, scores: Callable[[Models], Scores], seed: int, analysis: Analysis) -> None:
        self.run, self.scores, self.seed, self.analysis = run, scores, seed, analysis

    def _outcomes(self, models: Models, task: str, norm: str) -> Outcomes:
        return self.scores(models)[models.rung, task].outcomes(norm)

    def _accuracy(self, models: Models, task: str, norm: str) -> Estimate:
        pairs = self.scores(models)[models.rung, task]
        return estimate_accuracy(pairs, models.rung, task, norm, self.seed, self.analysis)

    def cells(self, arm: Arm, task: str, norm: str) -> dict[str, str]:
        """Accuracy, difference to the baseline, p-value and the share of factor C of an arm."""
        found = {"task": task, "norm": norm} | percent_cells("accuracy", self._accuracy(arm.models, task, norm))
        if not arm.base:
            one = len(self._outcomes(arm.models, task, norm).seeds) == 1
            return dict.fromkeys(COMPARED, "") | found | {"one_seed": str(one).lower()}
        here, base = (self._outcomes(models, task, norm) for models in (arm.models, arm.base))
        random = generator(self.seed, "questions", arm.name, task, norm)
        try:
            step = compare(base, here, self.analysis.confidence, self.analysis.resamples, random)
        except ValueError:
            where = f"{arm.models.folder}/scores and {arm.base.folder}/scores"
            raise UserError(f"{where} share no pair of {task}; score both again") from None
        return found | {
            "one_seed": str(min(len(here.seeds), len(base.seeds)) == 1).lower(),
            "ids": str(step.ids),
            **percent_cells("difference", step.difference),
            "floor": str(starts_at_floor(self._accuracy(arm.base, task, norm))).lower(),
            "p_value": fixed(step.p_value, len(str(self.analysis.resamples))),
            "p_holm": "",
            **percent_cells("repaired", None if arm.question == RUN else self._share(arm, task, norm)),
        }

    def _share(self, arm: Arm, task: str, norm: str) -> Estimate | None:
        run = [self._outcomes(Models(self.run, rung), task, norm) for rung in (BEFORE, AFTER)]
        own = self._outcomes(arm.own, task, norm) if arm.own else None
        starts = filter(None, (Models(self.run, BEFORE), arm.own))
        if any(starts_at_floor(self._accuracy(models, task, norm)) for models in starts):
            return None
        random = generator(self.seed, "questions repaired", arm.name, task, norm)
        return repaired((run[0], run[1]), self._outcomes(arm.models, task, norm), own, self.analysis, random)
