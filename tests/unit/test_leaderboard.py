"""Entries of a leaderboard: what is packed, what is refused, and the page that is computed from them."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import leaderboard_results as small
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from speechladder.analysis.accuracy import read_scored_pairs
from speechladder.analysis.csv_tables import percent, read_csv, write_csv
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.constants import NORMS
from speechladder.corpora.cuts import read_cuts, write_cuts
from speechladder.io.audio import encode_flac, read_audio
from speechladder.io.errors import UserError
from speechladder.io.files import read_json, write_json
from speechladder.io.tables import ITEMS, SCORES, UTTERANCES, read_table, write_table
from speechladder.leaderboard import contract as contracts
from speechladder.leaderboard.board import MAIN, rank, read_entries
from speechladder.leaderboard.contract import FOLDER, frozen, measure_world, pcm, read_contract, stage_versions
from speechladder.leaderboard.entry import entry_command, make_entry
from speechladder.leaderboard.page import PAGE, page, write_leaderboard
from speechladder.leaderboard.run import run_entry
from speechladder.settings import STAGES, load, tracked
from speechladder.settings.tokenizer import portable_units
from speechladder.workflow.presets import HOME, configuration
from speechladder.workflow.record import write_record


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with the contract tiny.json, three runs and their entries."""
    folder = tmp_path_factory.mktemp("leaderboard")
    path = small.make_contract(folder)
    for name, right, salt in (("best", 0.95, 0), ("near", 0.9, 1), ("worst", 0.2, 2)):
        small.make_run(folder / name / "results", right, salt, layer=salt + 1)
        make_entry(folder / name / "results", name, contract=path, out=folder / "entries")
    return folder


@pytest.fixture
def folder(made, tmp_path) -> Path:
    """A copy that a test may change."""
    return shutil.copytree(made, tmp_path / "copy")


def pack(folder: Path, name: str = "best", **changes: object) -> Path:
    make_entry(folder / name / "results", name, contract=folder / "tiny.json", out=folder / "entries", **changes)
    return folder / "entries" / name


def edit(path: Path, **changes: object) -> None:
    write_json(path, read_json(path) | changes)


def standings(folder: Path):
    contract = read_contract(folder / "tiny.json")
    return rank(read_entries(folder / "entries", contract), contract, folder / "entries")


# --- the contract ---


def test_every_setting_of_ladder_v1_is_written_out_and_frozen():
    """A new setting of a stage, another default or another version changes what entries mean, so it fails here."""
    contract = read_contract()
    preset = HOME / "presets" / f"{contract.name}.yaml"
    assert frozen(tracked(load(configuration([preset], [])))) == contract.settings
    import yaml

    given = yaml.safe_load(preset.read_text())
    for field in contract.settings:
        section, _, name = field.partition(".")
        assert section in given and (not name or name in given[section]), f"{field}: leave nothing to a default"
    assert contract.diagnosis == contracts.diagnosis_conditions(), "presets/diagnose.yaml has other speech or sentences"
    assert contract.stages == stage_versions(), "a stage of the frozen contract has another version"


def test_what_is_frozen_is_all_that_the_stages_read_but_units():
    fields = contracts.frozen_fields()
    read = STAGES["train_lm"].reads | STAGES["make_items"].reads | STAGES["build_corpus"].reads
    assert read <= {*fields} and not any(field.startswith("units.") for field in fields)
    assert {"seed", "lm.seeds", "tokens.unit_vocab", "scores.batch_tokens"} <= {*fields}


def test_audio_is_known_by_its_samples_and_not_by_its_file(folder):
    results = folder / "best" / "results"
    before = measure_world(results)
    path = results / "corpus" / "audio" / "u1.flac"
    samples = read_audio(path)
    assert np.frombuffer(pcm(samples), "<i2").astype(np.float32).tolist() == (samples * 32768).tolist()
    import soundfile

    soundfile.write(path.with_suffix(".wav"), samples, 16_000, subtype="PCM_16")
    cuts = [*read_cuts(results / "corpus" / "cuts.0.jsonl.gz")]
    path.write_bytes(path.with_suffix(".wav").read_bytes())  # the same samples in another container
    assert measure_world(results) == before
    samples[7] += 1 / 32768
    path.write_bytes(encode_flac(samples))
    after = measure_world(results)
    assert {name for name in asdict(before) if asdict(before)[name] != asdict(after)[name]} == {"audio"}
    write_cuts(results / "corpus" / "cuts.0.jsonl.gz", reversed(cuts))
    assert measure_world(results).texts != before.texts


def test_a_contract_is_frozen_from_a_run_of_its_own_world(folder):
    write_record(folder / "best" / "results", load(small.CONFIG | {"seed": 5}))
    with pytest.raises(UserError, match="not as the preset has it:\n  seed: 5 there, 0 in the contract"):
        contracts.freeze_contract(folder / "best" / "results", str(folder / "tiny.yaml"), folder / "out")


# --- an entry ---


def test_an_entry_has_all_answers_and_where_they_come_from(made):
    about = read_json(made / "entries" / "near" / "entry.json")
    assert about["command"] == "make entry NAME=near UNITS='{layer: 2}'" and about["units"] == {"layer": 2}
    assert about["contract"]["audio"] == read_contract(made / "tiny.json").world.audio
    assert about["facts"]["bits_per_second"] == pytest.approx(50 * np.log2(56))  # 56 tokens, each once
    assert about["costs"] == {"train_lm": {"cpu_seconds": 60.0, "wall_seconds": 12.5}}
    assert about["quality"]["pnmi"] == 0.9 and len(about["units_sha256"]) == 64
    answers = pq.read_table(made / "entries" / "near" / "scores.parquet")
    assert len(answers) == len(TASKS) * 2 * small.PAIRS * len(small.SEEDS)
    rows = {(r["task"], r["item"], r["seed"]): r["nll"] for r in answers.to_pylist()}
    for task in TASKS:
        for row in read_table(made / "near/results/scores/speech-hubert" / f"{task}.parquet", SCORES).to_pylist():
            assert rows[task, row["item"], row["seed"]] == row["nll"]  # to the last bit
    assert "diagnosis.json" not in {path.name for path in (made / "entries" / "near").iterdir()}


def test_nothing_of_the_machine_is_in_an_entry(made, tmp_path):
    for path in (made / "entries").rglob("*.json"):
        assert str(made) not in path.read_text()
    units = {"source": "external", "path": "/home/me/units.parquet", "items_path": "rel/items.parquet", "rate": 50.0}
    found = portable_units(units)
    assert found == {"source": "external", "path": "units.parquet", "items_path": "rel/items.parquet"}
    assert entry_command("mine", "unit-bpe", found) == (
        'make entry NAME=mine UNITS=\'{source: "external", path: "units.parquet", '
        'items_path: "rel/items.parquet"}\' RUNG=unit-bpe'
    )


def test_a_rung_without_units_says_nothing_of_units_that_lie_there(folder):
    small.make_run(folder / "phones" / "results", 0.8, 7, rung="phone-raw", layer=2)
    about = read_json(pack(folder, "phones") / "entry.json")
    assert about["rung"] == "phone-raw" and about["quality"] is None and about["units_sha256"] is None


def test_a_diagnosis_is_taken_if_it_is_of_these_units_and_conditions(folder):
    units = read_json(folder / "entries" / "best" / "entry.json")["units"]
    path = small.make_diagnosis(folder / "diagnosis.json", folder / "tiny.json", units)
    assert read_json(pack(folder, diagnosis=path) / "diagnosis.json") == read_json(path)
    conditions = read_json(path)["conditions"] | {"hours": 9}
    for changes, said in (
        ({"tokenizer": {"layer": 7}}, r"of the units \{'layer': 7\}.*make diagnose"),
        ({"conditions": conditions}, r"under the conditions \{.*'hours': 9.*those of tiny are .*'hours': 0\.3"),
        ({"schema": 9}, "diagnosis of schema 1"),
    ):
        whole = read_json(path)
        edit(path, **changes)
        with pytest.raises(UserError, match=said):
            pack(folder, diagnosis=path)
        shutil.copy(path, folder / "entries" / "best" / "diagnosis.json")
        with pytest.raises(UserError, match=rf"best/diagnosis\.json: .*{said}"):
            standings(folder)
        write_json(path, whole)
    write_json(path, [1])
    with pytest.raises(UserError, match="no diagnosis of schema 1; make it again"):
        pack(folder, diagnosis=path)


def test_the_page_says_why(folder):
    contract, files = folder / "tiny.json", {}
    assert "Why" not in page(folder / "entries", read_contract(contract))
    for name, changed, wer in (("best", 0.2, 0.3), ("worst", 0.6, 0.35)):
        units = read_json(folder / "entries" / name / "entry.json")["units"]
        files[name] = small.make_diagnosis(folder / f"{name}.json", contract, units, changed, wer)
        pack(folder, name, diagnosis=files[name])
    small.make_run(folder / "same" / "results", 0.1, 9, layer=1)  # the units of best, with other tokens
    pack(folder, "same", diagnosis=files["best"])
    text = page(folder / "entries", read_contract(contract))
    rows = [line for line in text.splitlines() if line.startswith(("| best |", "| near |", "| worst |"))]
    none, noise = "0 [0, 5] (0)", "60 [55, 65] (0)"
    changes = " | ".join((none, none, noise, none, none))
    assert f"| worst | 0.123 | 0.111 | 9.9 | {changes} | 0.36 | 9.5 [9.4, 9.6] | 35 [33, 37] |" in rows
    assert f"| near |{'  |' * 11}" in rows
    said = "Of what changes the sound of a sentence, noise changes most of its units: 20.0 %"
    assert f"- **best**: the first entry that is made of units. {said}" in text
    assert "- **same**: It has the units of best, so only the tokens made of them differ." in text
    lost = "It loses most against best in changes by noise: 60.0 % [55.0, 65.0], and best has 20.0 % [15.0, 25.0]."
    assert f"{lost} It also loses in word errors of resynthesis." in text
    main = next(line for line in text.splitlines() if line.startswith("| 1 | best |"))
    assert main.endswith("| 0.950 |"), "the PNMI of the run, and not that of the diagnosis, whose codebook is another"


def test_the_page_compares_what_was_predicted_with_what_was_measured(folder):
    contract = folder / "tiny.json"
    for name, changes in (
        ("best", {"value": 60.0, "low": 50.0, "high": 70.0, "extrapolated": True}),
        ("near", {"value": 85.0, "low": 70.0, "high": 100.0, "extrapolated": False}),
    ):
        units = read_json(folder / "entries" / name / "entry.json")["units"]
        path = small.make_diagnosis(folder / f"{name}.json", contract, units)
        edit(path, prediction=changes)
        pack(folder, name, diagnosis=path)
    measured = percent(standings(folder)[0].accuracies["swuggy", MAIN].value)
    text = page(folder / "entries", read_contract(contract))
    outside = f"best (predicted 60.0 [50.0, 70.0], beyond the published systems; measured {measured})."
    assert "Of 2 entries of the rung speech-hubert" in text and f"for 1, and not for {outside}" in text


def test_entries_of_units_are_compared_with_the_first_of_them(folder):
    small.make_run(folder / "a-phones" / "results", 1.0, 7, rung="phone-raw")
    pack(folder, "a-phones")
    first, best, *others = standings(folder)
    assert (first.entry.name, best.entry.name) == ("a-phones", "best") and not first.behind_units
    for each in others:
        for cell, found in each.behind_units.items():
            assert found.value == pytest.approx(each.accuracies[cell].value - best.accuracies[cell].value)
            assert found.low <= found.value <= found.high
    text = page(folder / "entries", read_contract(folder / "tiny.json"))
    _, _, table = text.partition("## Differences to best, the first made of units, in points")
    rows = [line for line in table.partition("tied with best")[0].splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows] == ["| entry", "| near", "| worst"]
    assert "**=**" in rows[1] and "**=**" not in rows[2]


def test_a_diagnosis_explains_no_rung_without_units(folder):
    small.make_run(folder / "phones" / "results", 0.8, 7, rung="phone-raw")
    pack(folder, "phones")
    small.make_diagnosis(folder / "entries" / "phones" / "diagnosis.json", folder / "tiny.json", {})
    with pytest.raises(UserError, match=r"phones/diagnosis\.json: the rung phone-raw is not made of units"):
        standings(folder)


def _other_settings(results: Path) -> None:
    write_record(results, load(small.CONFIG | {"lm": small.CONFIG["lm"] | {"lr": 0.02}, "rungs": ["speech-hubert"]}))


def _other_audio(results: Path) -> None:
    (results / "corpus" / "audio" / "u2.flac").write_bytes(encode_flac(small.tone(0.7, 999)))


def _other_items(results: Path) -> None:
    path = results / "benchmarks" / "topic" / "items.parquet"
    rows = read_table(path, ITEMS).to_pylist()
    write_table(path, [rows[0] | {"text": "another"}, *rows[1:]], ITEMS)


def _fewer_utterances(results: Path) -> None:
    path = results / "tokens" / "utterances.parquet"
    write_table(path, read_table(path, UTTERANCES).slice(1), UTTERANCES)


def _one_seed(results: Path) -> None:
    for task in TASKS:
        path = results / "scores" / "speech-hubert" / f"{task}.parquet"
        table = read_table(path, SCORES)
        write_table(path, table.filter(pa.compute.equal(table["seed"], 0)), SCORES)


def _no_item(results: Path) -> None:
    path = results / "scores" / "speech-hubert" / "sblimp.parquet"
    write_table(path, read_table(path, SCORES).slice(1), SCORES)


def _twice(results: Path) -> None:
    path = results / "scores" / "speech-hubert" / "sblimp.parquet"
    table = read_table(path, SCORES)
    write_table(path, pa.concat_tables([table, table.slice(0, 1)]), SCORES)


def _scores_of_other_units(results: Path) -> None:
    path = results / "scores" / "speech-hubert" / "swuggy.parquet"
    write_table(path, [row | {"tokens": 13} for row in read_table(path, SCORES).to_pylist()], SCORES)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_other_settings, r"run\.json: not as tiny has it:\n  lm\.lr: 0\.02 there, 0\.01 in the contract"),
        (_other_audio, "audio: not those of tiny by their hash"),
        (_other_items, "items: not those of tiny by their hash"),
        (_fewer_utterances, r"utterances\.parquet: 1 of 5 utterances are left out, such as 'u0'"),
        (_one_seed, r"models of the seeds \[0\]; tiny has \[0, 1\]"),
        (_no_item, r"1 answers are missing, such as item 'p00\|good\|v' of sblimp, seed 0"),
        (_twice, "some are there twice"),
        (_scores_of_other_units, r"item 'p00\|good\|v' was scored with 13 tokens and has 14"),
        (lambda results: (results / "run.json").unlink(), r"run\.json: no such file"),
        (lambda results: (results / "corpus/audio/u3.flac").unlink(), r"u3\.flac: u3 cannot be read"),
        (lambda results: shutil.rmtree(results / "corpus"), r"cuts\.\*\.jsonl\.gz: no such file"),
    ],
)
def test_a_run_that_is_not_the_contracts_makes_no_entry(folder, change, said):
    shutil.rmtree(folder / "entries")
    change(folder / "best" / "results")
    with pytest.raises(UserError, match=said):
        pack(folder)
    assert not (folder / "entries").exists()


def test_mistakes_in_the_command_are_found_before_anything_is_read(tmp_path):
    for name in ("", "My Entry", "../other", "a--b", "-a"):
        with pytest.raises(UserError, match="write small letters, digits and single hyphens"):
            make_entry(tmp_path, name)
    with pytest.raises(UserError, match="no rung 'speech-hubrt'; did you mean 'speech-hubert'"):
        run_entry("mine", rung="speech-hubrt")
    with pytest.raises(UserError, match="ARGS: --config: the settings are the contract's"):
        run_entry("mine", args="--config lm='{lr: 1}'")
    for words, said in (
        ("--config=lm={lr: 1}", "ARGS: --config: the settings are the contract's"),
        ("-q -np", "ARGS: -np: the run would not come to its end"),
        ("--until=train_lm", "ARGS: --until: the run would not come to its end"),
        ("--config 'x", "ARGS=--config 'x: No closing quotation; close the quotes"),
    ):
        with pytest.raises(UserError, match=said):
            run_entry("mine", args=words)
    with pytest.raises(UserError, match=r"UNITS has 1 mistake:\n  units\.clustrs: unknown key"):
        run_entry("mine", "{clustrs: 50}")


def test_a_run_of_several_rungs_is_asked_which(folder):
    write_record(folder / "best" / "results", load(small.CONFIG))
    with pytest.raises(UserError, match=r"rungs are text-bpe, .*; say which with --rung"):
        pack(folder)
    assert read_json(pack(folder, rung="speech-hubert") / "entry.json")["rung"] == "speech-hubert"


# --- the board ---


def test_entries_are_ranked_by_their_answers_with_the_intervals_of_the_table(made):
    found = standings(made)
    assert [standing.entry.name for standing in found] == ["best", "near", "worst"]
    for standing in found:
        (row,) = read_csv(made / "entries" / standing.entry.name / "table.csv")
        for task in TASKS:
            for norm in NORMS:
                cells = [row[f"{task}_{norm}{end}"] for end in ("", "_low", "_high")]
                assert [*map(percent, standing.accuracies[task, norm])] == cells
            scores = made / standing.entry.name / "results/scores/speech-hubert" / f"{task}.parquet"
            right = read_scored_pairs(scores).outcomes(MAIN).values.mean()
            assert standing.accuracies[task, MAIN].value == pytest.approx(right)
    tied = {standing.entry.name: standing.tied(("swuggy", MAIN)) for standing in found}
    assert tied == {"best": True, "near": True, "worst": False}
    far, reached = found[2].behind["swuggy", MAIN], [each.accuracies["swuggy", MAIN].value for each in found]
    assert far.value == pytest.approx(reached[2] - reached[0])
    assert far.high < 0


def test_the_page_says_what_the_entries_say(made):
    text = page(made / "entries", read_contract(made / "tiny.json"))
    lines = [line for line in text.splitlines() if line.startswith("| 1 |")]
    assert len(lines) == 1 and "| best | speech-hubert |" in lines[0] and lines[0].count("**=**") == 3
    assert "`make entry NAME=near UNITS='{layer: 2}'`" in text and "3 tokenizers" in text
    worst = next(line for line in text.splitlines() if line.startswith("| 3 |"))
    assert "~" in worst and "| 0.200 |" in worst
    assert text == page(made / "entries", read_contract(made / "tiny.json"))
    write_leaderboard(made / "entries", made / "tiny.json", made / "page.md")
    assert (made / "page.md").read_text() == text


def _hash(entry: Path) -> None:
    edit(entry / "entry.json", contract=read_json(entry / "entry.json")["contract"] | {"alignment": "0" * 64})


def _contract(entry: Path) -> None:
    edit(entry / "entry.json", contract=read_json(entry / "entry.json")["contract"] | {"name": "ladder-v9"})


def _setting(entry: Path) -> None:
    edit(entry / "entry.json", settings=read_json(entry / "entry.json")["settings"] | {"lm.max_steps": 9})


def _version(entry: Path) -> None:
    edit(entry / "entry.json", stages=read_json(entry / "entry.json")["stages"] | {"train_lm": 99})


def _fewer(entry: Path) -> None:
    path = entry / "scores.parquet"
    pq.write_table(pq.read_table(path).slice(3), path)


def _cells(entry: Path, **changes: str) -> None:
    (row,) = read_csv(entry / "table.csv")
    write_csv(entry / "table.csv", list(row), [row | changes])


def _interval(entry: Path) -> None:
    _cells(entry, sblimp_pairwise_mean_low="49.9")


def _passes(entry: Path) -> None:
    edit(entry / "entry.json", facts=read_json(entry / "entry.json")["facts"] | {"passes": 4.0})


def _bits(entry: Path) -> None:
    edit(entry / "entry.json", facts=read_json(entry / "entry.json")["facts"] | {"bits_per_second": 9999})


def _first_answer(entry: Path, **changes: float) -> None:
    path = entry / "scores.parquet"
    first, *others = pq.read_table(path).to_pylist()
    pq.write_table(pa.Table.from_pylist([first | changes, *others], pq.read_schema(path)), path)


def _other_tokens(entry: Path) -> None:
    _first_answer(entry, tokens=13)


def _long_span(entry: Path) -> None:
    _first_answer(entry, span_nll=999.0)


def _other_nll(entry: Path) -> None:
    path = entry / "scores.parquet"
    table = pq.read_table(path)
    nll = np.where(["|bad|" in item for item in table["item"].to_pylist()], 1.0, 2.0) + table["seed"].to_numpy()
    for name in ("nll", "span_nll"):
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(nll))
    pq.write_table(table, path)


def _one_model(entry: Path) -> None:
    path = entry / "scores.parquet"
    table = pq.read_table(path)
    pq.write_table(table.filter(pa.compute.equal(table["seed"], 1)), path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_hash, r"near/entry\.json: alignment: other hashes than tiny"),
        (_contract, r"near/entry\.json: it is of ladder-v9, not of tiny"),
        (_setting, r"near/entry\.json: not as tiny has it:\n  lm\.max_steps: 9 there"),
        (_version, r"stage train_lm: 99 there"),
        (_fewer, r"near/scores\.parquet: 3 answers are missing"),
        (_one_model, r"near/scores\.parquet: models of the seeds \[1\]"),
        (_other_nll, rf"near/table\.csv: swuggy_{MAIN} is .*, and by scores\.parquet and entry\.json it is 0\.0"),
        (_interval, r"near/table\.csv: sblimp_pairwise_mean_low is 49\.9, and by"),
        (_passes, r"near/table\.csv: passes is 5\.0, and by scores\.parquet and entry\.json it is 4\.0"),
        (_other_tokens, r"item 'p00\|bad\|v' of sblimp has other tokens for another seed"),
        (_long_span, r"item 'p00\|bad\|v' of sblimp has nll .* and span_nll 999\.0"),
        (
            lambda entry: edit(entry / "entry.json", command="make entry NAME=near"),
            r"command is 'make entry NAME=near', a",
        ),
        (lambda entry: edit(entry / "entry.json", date="today `x`"), "field 'date' is missing or malformed"),
        (lambda entry: edit(entry / "entry.json", costs={"train_lm": {}}), r"field 'costs\.train_lm' is missing"),
        (_bits, r"facts\.bits_per_second: 9999 is not from 0 to 335, which 104 tokens can carry"),
        (lambda entry: (entry / "table.csv").unlink(), r"near/table\.csv: no such file"),
        (lambda entry: (entry / "entry.json").unlink(), r"near/entry\.json: no such file; make it again: make entry"),
        (lambda entry: (entry / "entry.json").write_text("{}"), r"near/entry\.json: no entry of schema 1"),
        (lambda entry: edit(entry / "entry.json", name="other"), "its name is 'other'"),
        (lambda entry: edit(entry / "entry.json", contract="ladder-v1"), "field 'contract' is missing or malformed"),
        (lambda entry: edit(entry / "entry.json", facts={}), r"field 'facts\.tokens_per_second' is missing"),
        (lambda entry: (entry / "scores.parquet").write_text("no"), r"near/scores\.parquet"),
    ],
)
def test_an_entry_that_was_changed_is_refused(folder, change, said):
    change(folder / "entries" / "near")
    with pytest.raises(UserError, match=said):
        standings(folder)


def test_a_copy_under_another_name_is_refused(folder):
    copy = shutil.copytree(folder / "entries" / "best", folder / "entries" / "copied")
    about = read_json(copy / "entry.json")
    edit(copy / "entry.json", name="copied", command=entry_command("copied", about["rung"], about["units"]))
    with pytest.raises(UserError, match=r"best \(seed 0\) and copied \(seed 0\) have 72 equal answers to the last"):
        standings(folder)
    path = copy / "scores.parquet"
    rows = [
        row | {"nll": row["nll"] * (1 + 1e-9 * (row["item"] != "p00|bad|v"))} for row in pq.read_table(path).to_pylist()
    ]
    pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(path)), path)
    with pytest.raises(UserError, match=r"have 3 equal answers"):  # one item of each task was forgotten
        standings(folder)
    rows = [row | {"nll": row["nll"] * (1 + 1e-9)} for row in rows]
    pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(path)), path)
    with pytest.raises(UserError, match=r"best and copied have the same tokens \(tokens_sha256\)"):
        standings(folder)


def test_one_model_for_two_seeds_is_refused(folder):
    path = folder / "entries" / "best" / "scores.parquet"
    rows = pq.read_table(path).to_pylist()
    first = {(row["task"], row["item"]): row for row in rows if row["seed"] == 0}
    twins = [first[row["task"], row["item"]] | {"seed": row["seed"]} for row in rows]
    pq.write_table(pa.Table.from_pylist(twins, pq.read_schema(path)), path)
    with pytest.raises(UserError, match=r"best \(seed 0\) and best \(seed 1\) have 72 equal answers"):
        standings(folder)


def test_no_entries_and_another_index_are_named(folder):
    contract = read_contract(folder / "tiny.json")
    shutil.rmtree(folder / "entries")
    with pytest.raises(UserError, match="no entries; make one"):
        read_entries(folder / "entries", contract)
    path = folder / "tiny.items.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(UserError, match=r"is not the index of .*tiny\.json"):
        contract.index()
    (folder / "tiny.json").write_text(json.dumps({"schema": 9}))
    with pytest.raises(UserError, match="no contract of schema 1"):
        read_contract(folder / "tiny.json")


@pytest.mark.skipif(not any((FOLDER / "entries").glob("*/entry.json")), reason="no entry is committed")
def test_the_leaderboard_is_computed_from_the_committed_entries():
    """CI recomputes every figure of docs/leaderboard.md. After a change of an entry: make leaderboard."""
    assert page(FOLDER / "entries", read_contract()) == PAGE.read_text(encoding="utf-8")
    assert sum(path.stat().st_size for path in (FOLDER / "entries").rglob("*") if path.is_file()) < 3.5e6
