"""causes.csv, causes_share.csv, bit_budget.csv and their figure, on scores with known differences."""

import io
import json
import shlex
from types import SimpleNamespace

import numpy as np
import pytest
from ladder_results import make

from speechladder.analysis.accuracy import Outcomes, generator
from speechladder.analysis.bit_budget import COLUMNS as BUDGET
from speechladder.analysis.bit_budget import PARTS, Loss, split
from speechladder.analysis.causes import COLUMNS, RUN, SHARE_COLUMNS, _share, list_rows, read_rows, write_share
from speechladder.analysis.csv_tables import read_csv, write_csv
from speechladder.analysis.factors import compare, estimate_jointly
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import NORMS
from speechladder.io.errors import UserError
from speechladder.io.files import write_json
from speechladder.io.tables import ITEMS, write_table
from speechladder.report.causes import LABELS, STAGES, draw_causes, make_causes
from speechladder.report.notes import causes_notes
from speechladder.report.terminal import show_causes
from speechladder.settings import Analysis, Settings, Units, at, load
from speechladder.settings.causes import BASES, CAUSES, FLAT, PHONES, SPEECH, Causes, causes_of
from speechladder.workflow.checks import check_rungs
from speechladder.workflow.inputs import Inputs
from speechladder.workflow.subruns import CausesInputs, causes_config, variability_config

ANALYSIS = Analysis(resamples=200)
RUNGS = ["phone-raw", "phone-repeat-even", PHONES, "unit-vote", SPEECH]
CORPORA = {FLAT: [PHONES, SPEECH], "noise": [SPEECH], "all": [PHONES, SPEECH]}
LINKS = ["text-bpe", "text-raw", "phone-raw"]


def write_items(results, ids=30, wrong=""):
    """Items of every task; the text of the id `wrong` is another one."""
    for task in TASKS:
        rows = [
            dict.fromkeys(ITEMS.names)
            | {"item": f"{pair}|{correct}", "id": f"{pair:04d}", "correct": correct}
            | {"text": f"{task} {pair} {correct}{' new' * (f'{pair:04d}' == wrong)}"}
            | {"two": f"two{pair // 2:04d}" if task == "topic" else ""}
            for pair in range(ids)
            for correct in (True, False)
        ]
        write_table(results / "benchmarks" / task / "items.parquet", rows, ITEMS)
    abx = {"symbols": {"within": 12.5, "across": 20.25}}
    write_json(results / "units" / "quality.json", {"pnmi": 0.51234, "abx": {"units": abx, "dedup": None}})


def set_bits(results, bits):
    """Give the models of each rung these losses, one per seed."""
    for rung, values in bits.items():
        for seed, value in enumerate(values):
            facts = {"train_tokens": 100, "passes": 2.0, "valid_bits_per_second": value}
            write_json(results / "lm" / rung / f"seed{seed}" / "train.json", facts)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The three tables and the figure, of a run of two seeds and of three corpora; and where they lie."""
    top = tmp_path_factory.mktemp("causes")
    results = make(top / "run", [*RUNGS, *LINKS[:2]], seeds=(0, 1), ids=30, layers=0, learning=0, twos=["topic"])
    set_bits(results, {"text-bpe": [20, 22], "text-raw": [22, 24], "phone-raw": [30, 32], PHONES: [40, 42]})
    set_bits(results, {SPEECH: [90, 94]})
    folders = {}
    for corpus, rungs in CORPORA.items():
        folders[corpus] = make(top / corpus, rungs, seeds=(0, 1), ids=30, layers=0, learning=0, twos=["topic"])
    set_bits(folders[FLAT], {PHONES: [38, 38], SPEECH: [55, 57]})
    for folder in (results, *folders.values()):
        write_items(folder)
    out = {name: top / f"{name}.csv" for name in ("causes", "causes_share", "bit_budget")}
    make_causes(results, RUNGS, *out.values(), top / "figures", ANALYSIS, folders, LINKS, seeds=(0, 1))
    return SimpleNamespace(top=top, results=results, folders=folders, **out)


def test_each_row_is_compared_with_the_one_that_it_differs_from_in_one_thing(made):
    rows = list_rows(made.results, RUNGS, made.folders)
    assert [(row.name, row.base) for row in rows] == [
        *(("phone-raw", ""), ("phone-repeat-even", "phone-raw"), (PHONES, "phone-repeat-even")),
        *(("unit-vote", PHONES), (SPEECH, "unit-vote"), ("flat phone-repeat", PHONES), (FLAT, "flat phone-repeat")),
        *(("noise", FLAT), ("all phone-repeat", "flat phone-repeat"), ("all", FLAT), (RUN, FLAT)),
    ]
    alone = list_rows(made.results, [PHONES], {})
    assert [(row.base, row.isolates) for row in alone] == [("", "")]  # its base has no row


def test_differences_are_those_of_the_paired_accuracies(made):
    rows, found = read_csv(made.causes, COLUMNS), list_rows(made.results, RUNGS, made.folders)
    assert [(r["name"], r["task"], r["norm"]) for r in rows] == [
        (r.name, t, n) for r in found for t in TASKS for n in NORMS
    ]
    scores = read_rows(found)
    for row in rows:
        values = {
            name: scores[name, row["task"]].outcomes(row["norm"]).values for name in (row["name"], row["base"]) if name
        }
        assert float(row["accuracy"]) == pytest.approx(100 * values[row["name"]].mean(), abs=0.051)
        if not row["base"]:
            assert row["difference"] == row["p_value"] == row["p_holm"] == row["floor"] == ""
            continue
        difference = 100 * (values[row["name"]].mean() - values[row["base"]].mean())
        assert float(row["difference"]) == pytest.approx(difference, abs=0.051)
        assert float(row["difference_low"]) <= float(row["difference"]) <= float(row["difference_high"])
        assert row["ids"] == ("15" if row["task"] == "topic" else "30")
    of = {(row["name"], row["task"], row["norm"]): row for row in rows}
    for (name, task, norm), row in of.items():
        if row["base"]:
            assert row["floor"] == str(float(of[row["base"], task, norm]["accuracy_low"]) <= 50).lower()
        if name == RUN:
            assert row["accuracy"] == of[SPEECH, task, norm]["accuracy"]


def test_p_values_are_adjusted_over_all_rows_of_a_task_and_norm(made):
    rows = read_csv(made.causes)
    for task in TASKS:
        for norm in NORMS:
            family = [row for row in rows if (row["task"], row["norm"]) == (task, norm) and row["base"]]
            assert len(family) == 10
            family.sort(key=lambda row: float(row["p_value"]))
            least = 0.0
            for rank, row in enumerate(family):
                least = max(least, min(1.0, (10 - rank) * float(row["p_value"])))
                assert float(row["p_holm"]) == pytest.approx(least, abs=0.006)


def test_facts_of_a_row(made):
    of = {row["name"]: row for row in read_csv(made.causes)}
    names = ("valid_bits_per_second", "valid_bits_min", "valid_bits_max", "seeds", "one_seed")
    assert [of[SPEECH][name] for name in names] == ["92.000", "90.000", "94.000", "2", "false"]
    assert [of[FLAT][name] for name in ("pnmi", "abx_units_within", "abx_units_across")] == ["0.5123", "12.50", "20.25"]
    assert of[PHONES]["pnmi"] == of["flat phone-repeat"]["abx_units_within"] == ""
    assert of["noise"]["isolates"] == "noise" and of[SPEECH]["kind"] == "rung" and of[RUN]["kind"] == "corpus"


def test_an_id_with_other_texts_is_refused(made, tmp_path):
    other = make(tmp_path / "other", CORPORA[FLAT], seeds=(0, 1), ids=30, layers=0, learning=0, twos=["topic"])
    write_items(other, wrong="0003")
    with pytest.raises(UserError, match=r"swuggy.items.parquet: id '0003' is .*swuggy 3 True new.*delete the older"):
        read_rows(list_rows(made.results, RUNGS, {FLAT: other}))


class Fixed:
    """Scores of a rung with given outcomes (ids,)."""

    def __init__(self, values):
        self.values = np.asarray(values, float)[None]

    def outcomes(self, norm, crossed=True):
        return Outcomes((0,), tuple(map(str, range(self.values.shape[1]))), self.values)


def fixed_scores(rates, ids=400):
    """name -> outcomes with exactly this share of right ids, in a shuffled order."""
    rng = np.random.default_rng(3)
    return {name: Fixed(rng.permutation(np.arange(ids) < rate * ids)) for name, rate in rates.items()}


def share_rows(made, tmp_path, rates):
    rows = list_rows(made.results, [PHONES, SPEECH], {FLAT: made.folders[FLAT]})
    found = fixed_scores(rates)
    scores = {(row.name, task): found[row.name] for row in rows for task in TASKS}
    write_share(rows, scores, tmp_path / "share.csv", 0, ANALYSIS)
    return read_csv(tmp_path / "share.csv", SHARE_COLUMNS)


def test_the_share_that_one_flat_voice_gives_back(made, tmp_path):
    rates = {PHONES: 0.9, SPEECH: 0.5, RUN: 0.5, "flat phone-repeat": 0.85, FLAT: 0.6}
    rows = share_rows(made, tmp_path, rates)
    assert [(row["of"], row["task"], row["norm"]) for row in rows] == [(RUN, t, n) for t in TASKS for n in NORMS]
    row = rows[0]
    names = ("c", "c_flat", "c_change", "given_back", "recovered", "ids")
    assert [row[name] for name in names] == ["-40.0", "-25.0", "15.0", "10.0", "25.0", "400"]
    assert 0 < float(row["recovered_low"]) < 25 < float(row["recovered_high"]) < 50
    assert row["floor"] == "false"
    for wrong in ({PHONES: 0.5}, {SPEECH: 0.9, RUN: 0.9}):  # phones at chance; a C that is nothing
        assert {row["recovered"] for row in share_rows(made, tmp_path, rates | wrong)} == {""}


def test_quantities_of_several_rungs_are_resampled_together():
    rng = np.random.default_rng(0)
    ease = rng.random(60)
    names = tuple(f"{n:02d}" for n in range(60))
    rungs = [Outcomes((0,), names, (ease < rate).astype(float)[None]) for rate in (0.9, 0.5, 0.8)]

    def combine(means):
        return np.stack([means[1] - means[0], (means[1] - means[0]) / (means[2] - means[0] - 1)])

    ids, (step, ratio) = estimate_jointly(rungs, combine, Analysis(resamples=2000), generator(1))
    drawn = []
    for _ in range(2000):
        index = rng.integers(60, size=60)
        drawn.append(combine(np.array([r.values[0, index].mean() for r in rungs])[:, None])[:, 0])
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    assert ids == 60 and step.value == pytest.approx(rungs[1].values.mean() - rungs[0].values.mean())
    assert [step.low, ratio.low] == pytest.approx(low, abs=0.02)
    assert [step.high, ratio.high] == pytest.approx(high, abs=0.02)
    paired = compare(rungs[0], rungs[1], 0.95, 2000, generator(2)).difference
    assert (step.low, step.high) == pytest.approx((paired.low, paired.high), abs=0.03)
    one = [Outcomes((0,), ("a",), np.ones((1, 1)))] * 3
    assert estimate_jointly(one, combine, ANALYSIS, generator(0))[1][0].high == np.inf


def test_the_parts_of_a_budget_add_up_and_follow_the_chain(made):
    rows = {row["name"]: row for row in read_csv(made.bit_budget, BUDGET)}
    assert list(rows)[:2] == ["text-bpe", "text-raw"] and RUN not in rows
    for row in rows.values():
        parts = [float(row[name]) for name in (*PARTS, "unsplit") if row[name]]
        assert sum(parts) == pytest.approx(float(row["bits_per_second"]), abs=0.002)
    assert [rows[SPEECH][name] for name in PARTS] == ["21.000", "10.000", "10.000", "18.000", "33.000"]
    assert [rows[FLAT][name] for name in PARTS] == ["21.000", "10.000", "7.000", "18.000", ""]
    assert [rows["noise"][name] for name in PARTS[:4]] == [rows[FLAT][name] for name in PARTS[:4]]
    assert [rows["text-raw"][name] for name in ("words", "phones_given_words", "bits_min")] == ["23.000", "", "22.000"]


def test_what_no_rung_bounds_is_not_split():
    means = {"text-raw": 20.0, "phone-raw": 30.0, PHONES: 41.0, SPEECH: 90.0, "speech-hubert-dedup": 70.0}

    def of(name, without=()):
        known = {rung: bits for rung, bits in means.items() if rung not in without}
        return split(Loss("rung", name, name, [means[name]]), known)

    assert of(SPEECH) == {"words": 20.0, "phones_given_words": 10.0, "timing": 11.0, "unsplit": 49.0}
    assert of("speech-hubert-dedup") == {"words": 20.0, "phones_given_words": 10.0, "unsplit": 40.0}
    assert of(SPEECH, ["text-raw"]) == {"unsplit": 90.0}


def test_the_figure_shows_each_step_and_each_cause(made, tmp_path):
    assert {path.name for path in (made.top / "figures").iterdir()} == {"causes.svg", "causes.png"}
    figure = draw_causes(made.causes, tmp_path)
    of = {(row["name"], row["task"]): row for row in read_csv(made.causes) if row["norm"] == "sum"}
    stages = [name for name in STAGES if (name, "swuggy") in of]
    for axis, task in zip(figure.axes, TASKS):
        values = [float(of[name, task]["accuracy"]) for name in stages]
        assert [bar.get_width() for bar in axis.patches] == pytest.approx(np.diff(values))
        left, right = axis.get_xlim()
        assert left <= min(min(line.get_xdata()) for line in axis.lines[1:]) and right >= 100  # nothing is cut off
        said = [float(text.get_text().replace("\N{MINUS SIGN}", "-")) for text in axis.texts]
        assert said == pytest.approx(np.diff(values), abs=0.11)
    below = figure.axes[len(TASKS)]
    others = [name for (name, task), row in of.items() if row["base"] and task == "swuggy" and name not in STAGES]
    others = [name for name in others if not name.endswith(PHONES)]  # of another corpus
    assert {FLAT, "noise", "all", RUN} <= set(others)
    assert [label.get_text() for label in below.get_yticklabels()] == [LABELS[name] for name in others]
    filled = [line.get_xdata()[0] for line in below.lines if line.get_marker() == "o"][:: len(NORMS)]
    assert filled == [float(of[name, "swuggy"]["difference"]) for name in others]


def test_a_resample_without_factor_c_lies_beyond_the_end_of_what_is_given_back():
    phones, units, flat = np.array([0.60, 0.60]), np.array([0.61, 0.61]), np.array([0.64, 0.58])
    more, less = _share(np.stack([phones, units, phones, flat]))[-1]
    assert more > 1e3 and less < -1e3


def test_a_run_without_corpora_has_no_share(made, tmp_path):
    paths = [tmp_path / name for name in ("causes.csv", "share.csv", "budget.csv")]
    make_causes(made.results, RUNGS, *paths, tmp_path, ANALYSIS)
    assert read_csv(paths[1], SHARE_COLUMNS) == []
    assert {row["kind"] for row in read_csv(paths[0])} == {"rung"}
    assert all(row["unsplit"] == row["bits_per_second"] for row in read_csv(paths[2]) if row["name"] == SPEECH)


def test_what_is_printed(made, tmp_path):
    said = io.StringIO()
    show_causes(made.top, said)
    out = said.getvalue()
    row = next(row for row in read_csv(made.causes) if row["name"] == "noise")
    assert f"{row['difference']} [{row['difference_low']}, {row['difference_high']}]" in out
    assert "one model" not in out.lower() and "\N{HORIZONTAL ELLIPSIS}" not in out
    (note, *_) = causes_notes(made.causes_share)
    first = read_csv(made.causes_share)[0]
    values = [f"{first[n]} [{first[f'{n}_low']}, {first[f'{n}_high']}]" for n in ("c", "given_back")]
    assert note.startswith(
        f"sWUGGY, the run's speech: C is {values[0]} points, and one flat voice gives back {values[1]}"
    )


def test_rows_of_one_model_are_named_in_the_terminal(made, tmp_path):
    rows = read_csv(made.causes)
    names = {row["name"] for row in rows}
    for single in ({"noise"}, names):
        (tmp_path / "causes_share.csv").write_bytes(made.causes_share.read_bytes())
        write_csv(tmp_path / "causes.csv", COLUMNS, [r | {"seeds": "1" if r["name"] in single else "2"} for r in rows])
        said = io.StringIO()
        show_causes(tmp_path, said)
        assert ("One model per row" in said.getvalue()) == (single == names)
        assert ("items only: noise." in said.getvalue()) == (single != names)


def test_rows_of_one_model_are_marked_in_the_figure(made, tmp_path):
    rows = read_csv(made.causes)
    write_csv(tmp_path / "causes.csv", COLUMNS, [r | {"one_seed": str(r["name"] == "noise").lower()} for r in rows])
    figure = draw_causes(tmp_path / "causes.csv", tmp_path)
    marked = {t.get_text() for a in figure.axes for t in a.get_yticklabels() if t.get_text().endswith("(one seed)")}
    assert marked == {LABELS["noise"] + " (one seed)"}


def test_the_settings():
    with pytest.raises(UserError, match=r"causes.corpora.1: 'noize' is not allowed; did you mean 'noise'"):
        load({"causes": {"corpora": ["flat", "noize"]}})
    with pytest.raises(UserError, match=r"causes.corpora: flat is missing"):
        load({"causes": {"corpora": ["noise"]}})
    with pytest.raises(UserError, match=r"causes.rungs.0: 'unit-vot' is not allowed; did you mean 'unit-vote'"):
        check_rungs(load({"causes": {"rungs": ["unit-vot"]}}))
    assert Causes(rungs=["unit-vote"], corpora=[]).compared() == [PHONES, "unit-vote"]
    assert Causes(rungs=["phone-confused"]).compared() == [PHONES, SPEECH, "phone-confused"]
    usual = Causes()
    assert usual.compared() == usual.rungs and set(BASES) < set(usual.rungs)
    assert usual.corpora == [FLAT, *CAUSES, "all"]


def settings_of(words):
    return load({name: json.loads(value) for name, _, value in (word.partition("=") for word in shlex.split(words))})


def test_a_corpus_is_a_run_on_the_same_texts_with_its_causes():
    settings = load({"corpus": {"variability": 2}, "lm": {"seeds": [0, 1]}})
    for corpus in usual_corpora():
        found = settings_of(causes_config(settings, corpus))
        assert found.corpus.causes == causes_of(corpus)
        assert found.rungs == ([PHONES, SPEECH] if corpus in (FLAT, "all") else [SPEECH])
        assert not (found.continuation.enabled or found.scores.layers or found.scores.learning)
        seeds = [0] if corpus in CAUSES else [0, 1]  # causes.cause_seeds
        assert found.lm == settings.lm.model_copy(update={"seeds": seeds})
        assert (found.units, found.benchmarks) == (settings.units, settings.benchmarks)
    assert settings_of(variability_config(settings, 1)).corpus.variability == 1
    other = load({"causes": {"corpora": []}, "sweep": {"minutes": 1}})
    assert causes_config(other, "noise") == causes_config(load({}), "noise")  # nothing is made again


def usual_corpora():
    return Causes().corpora


def test_speech_that_cannot_be_spoken_again_has_no_corpora(tmp_path):
    natural = {"corpus": {"name": "local", "path": "x"}, "alignment": {"aligner": "pocketsphinx"}}
    natural |= {"continuation": {"enabled": False}}
    external = Settings(units=Units(source="external", path="x"))
    for settings in (load(natural), external):
        with pytest.raises(UserError, match=r"results/causes.csv .*causes.corpora: \[\] leaves these rows out"):
            CausesInputs(Inputs(settings, tmp_path)).runs(None)
    alone = CausesInputs(Inputs(load(natural | {"causes": {"corpora": []}}), tmp_path))
    assert alone.runs(None) == []
    assert f"results/scores/unit-vote/{next(iter(TASKS))}.parquet" in alone.scores(None)


def test_a_rung_that_the_table_does_not_have_is_scored_without_layers():
    settings = load({})
    assert at(settings, "", "text-bpe") == at(settings, "") == settings
    other = at(settings, "", "unit-vote")
    assert (other.scores.layers, other.scores.learning) == (False, False)
    assert at(load({"rungs": ["unit-vote"]}), "", "unit-vote").scores.layers
