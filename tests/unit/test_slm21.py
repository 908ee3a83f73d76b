"""sLM21: gold tables and their recordings, phones in both notations, and accuracy by zerospeech's rules."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from speechladder.analysis import slm21 as report
from speechladder.analysis.accuracy import read_scored_pairs
from speechladder.analysis.csv_tables import read_csv
from speechladder.benchmarks.gold_phones import detect, spell
from speechladder.benchmarks.slm21 import band, read_slm21
from speechladder.benchmarks.submission import export_slm21
from speechladder.benchmarks.tasks.registry import TASKS
from speechladder.corpora.phones import strip_stress
from speechladder.fetch.archives import open_store
from speechladder.io.errors import UserError
from speechladder.io.rejects import Rejects
from speechladder.io.tables import ITEMS, SCORES, write_table
from speechladder.settings import Analysis
from tests.mini_slm21 import VOICES, WORDS, make, write


def read(path: Path, task: str, splits=("dev",), most: int = 0):
    rejects = Rejects()
    return read_slm21(open_store(path), str(path), TASKS[task].official.part, splits, most, rejects), rejects


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    """A zip with recordings and faults, in a folder inside the zip."""
    mini = make(splits=("dev",), sentences=4)
    return mini, write(mini, tmp_path_factory.mktemp("slm21") / "sLM21.zip", below="sLM21-dataset/")


def test_a_whole_archive_becomes_pairs(spoilt):
    mini, path = spoilt
    found, rejects = read(path, "swuggy")
    assert (
        found.lost == len(rejects.rows) == len(mini.rejected) - 1 == 4
    )  # the broken recording is found when it is read
    assert len(found.voiced) == 2 * len(WORDS) - 4
    good, bad = found.voiced[0]
    assert (good.correct, bad.correct, good.id, good.voice) == (True, False, bad.id, bad.voice)
    row = next(row for row in mini.rows["lexical", "dev"] if f"dev/{row['filename']}" == bad.item)
    assert (bad.text, bad.split, list(bad.phones)) == (row["word"], "dev", row["phones"].split())
    assert 0.2 * 16_000 < len(good.read()) < 3 * 16_000
    assert len({half.item for take in found.voiced for half in take}) == 2 * len(found.voiced)
    assert found.facts["splits"] == {"dev": len(WORDS)}
    assert json.loads(found.metadata["lengths"])["dev/1"] == 4


def test_every_fault_is_listed_with_file_and_row(spoilt):
    mini, path = spoilt
    _, rejects = read(path, "swuggy")
    listed = {row["id"]: row for row in rejects.rows}
    readable = {key: reason for key, reason in mini.rejected.items() if reason != "unreadable audio"}
    assert listed.keys() == readable.keys() != mini.rejected.keys()
    for key, reason in readable.items():
        assert listed[key]["reason"].startswith(reason), key
        assert f"{path}: sLM21-dataset/lexical/dev/gold.csv, row " in listed[key]["source"]
    for name, reason in mini.mentioned.items():
        assert any(m["id"] == name and m["reason"].startswith(reason) for m in rejects.mentions), name


def test_ids_are_unique_within_type_and_subtype(spoilt):
    _, path = spoilt
    found, rejects = read(path, "sblimp")
    assert not rejects.rows and not rejects.mentions
    ids = {take[0].id for take in found.voiced}
    assert len(ids) == 4 and len({id.rsplit("/")[-1] for id in ids}) < 4
    for good, bad in found.voiced:
        assert good.id.split("/")[:2] == ["dev", good.type] and good.text != bad.text and good.phones is None


def test_a_band_includes_its_lower_edge():
    frequencies = [0, 1, 4, 5, 19, 20, 99, 100, 10**6]
    expected = pd.cut(
        pd.Series(frequencies), [0, 1, 5, 20, 100, float("inf")], right=False,
        labels=["oov", "1-5", "6-20", "21-100", ">100"],
    )  # fmt: skip
    assert [band(f) for f in frequencies] == expected.tolist()


def test_pairs_are_chosen_evenly_over_bands_in_every_split(tmp_path):
    path = write(make(speech=False, faults=False), tmp_path / "slm21")
    found, _ = read(path, "swuggy", ("test", "dev"), most=5)
    types = [(take[0].split, take[0].type) for take in found.voiced if take[0].voice == VOICES[0]]
    assert [split for split, _ in types] == ["test"] * 5 + ["dev"] * 5
    for some in (types[:5], types[5:]):
        assert {kind for _, kind in some} == {"oov", "1-5", "6-20", "21-100", ">100"}


def test_non_words_without_letters_are_spelt_and_a_note_says_so(tmp_path):
    path = write(make(splits=("dev",), speech=False, faults=False, spelt=False), tmp_path / "slm21")
    found, rejects = read(path, "swuggy")
    assert not rejects.rows and found.facts["spelt"] == 2 * len(WORDS)
    assert found.voiced[0][1].text == spell(found.voiced[0][1].phones) != ""
    assert any("does not spell 24 non-words" in note for note in found.notes)


def change(mini, part, old: bytes, new: bytes):
    name = f"{part}/dev/gold.csv"
    mini.files[name] = mini.files[name].replace(old, new)


def test_errors_name_the_fault_of_the_archive(tmp_path):
    mini = make(splits=("dev",), speech=False, faults=False)
    path = write(mini, tmp_path / "good")
    with pytest.raises(UserError, match=r"no lexical/test/gold.csv \(gold tables: lexical/dev, syntactic/dev\)"):
        read(path, "swuggy", ("test",))
    change(mini, "lexical", b",phones,", b",phonemes,")
    with pytest.raises(UserError, match=r"lexical/dev/gold.csv: column 'phones' is missing"):
        read(write(mini, tmp_path / "column"), "swuggy")
    mini = make(splits=("dev",), speech=False, faults=False)
    mini.files["syntactic/dev/gold.csv"] = b"\xff\xfe\x00"
    with pytest.raises(UserError, match=r"syntactic/dev/gold.csv: not readable as CSV"):
        read(write(mini, tmp_path / "binary"), "sblimp")


@pytest.mark.parametrize(
    ("text", "phones", "name"),
    [
        ("HH AH0 L OW1", "HH AH0 L OW1", "ARPAbet"),
        ("hh ah l ow", "HH AH L OW", "ARPAbet"),
        ("HH_AX_L_OW", "HH AH L OW", "ARPAbet"),
        ("h ə l ˈ oʊ", "HH AH0 L OW1", "IPA"),
        ("həˈləʊ", "HH AH0 L OW1", "IPA"),
        ("t͡ʃɜːt͡ʃ", "CH ER CH", "IPA"),
        ("bʌtn\u0329", "B AH T AH N", "IPA"),
        ("ˈbʌtər", "B AH1 T ER0", "IPA"),
        ("əˈraʊnd", "AH0 R AW1 N D", "IPA"),
    ],
)
def test_notations(text, phones, name):
    notation = detect([text], "gold.csv")
    assert (" ".join(notation.read(text)), notation.name) == (phones, name)


def test_the_majority_decides_the_notation():
    notation = detect(["b r ɪ k", "b l ɪ k", "b ß ɪ k"], "gold.csv")
    with pytest.raises(ValueError, match="unknown phone: 'ß' in 'b ß ɪ k'"):
        notation.read("b ß ɪ k")
    with pytest.raises(UserError, match=r"gold.csv: column 'phones' is neither .*\('17 4', '9 9'\).*benchmarks.slm21"):
        detect(["17 4", "9 9"], "gold.csv")
    with pytest.raises(UserError, match=r"gold.csv: column 'phones' is empty"):
        detect(["", " "], "gold.csv")


@pytest.mark.shared
def test_wuggys_ipa_is_cmudict(shared_data):
    """Wuggy's file is CMUdict in IPA, so its pronunciations must be among those of CMUdict."""
    import gzip

    with gzip.open(shared_data / "nonwords" / "phonetic_english_cmu.txt.gz", "rt", encoding="utf-8") as handle:
        lines = [line.split("\t")[:2] for line in handle][::20]
    known = set()
    for line in (shared_data / "cmudict" / "cmudict.dict").read_text(encoding="utf-8").splitlines():
        known.add(" ".join(strip_stress(p) for p in line.split("#")[0].split()[1:]))
    notation = detect([whole for whole, _ in lines], "wuggy")
    assert (notation.name, notation.stress) == ("IPA", True)
    found = [[notation.read(text) for text in pair] for pair in lines]
    assert all(whole == syllables for whole, syllables in found)
    hits = np.mean([" ".join(map(strip_stress, whole)) in known for whole, _ in found])
    assert hits > 0.97  # the two files are of different versions of CMUdict


# --- accuracy and submission --------------------------------------------------------------------------------------

SEEDS, ANALYSIS = (0, 3), Analysis(resamples=100)


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """An archive without sound, and scores of two models with many ties, in the three voices of 24 and 20 pairs."""
    root = tmp_path_factory.mktemp("scored")
    rng, results = np.random.default_rng(2), root / "results"
    mini = make(words=[*WORDS, *((w + "er", n + "er", f) for w, n, f in WORDS)], sentences=20, speakers=3, speech=False)
    path = write(mini, root / "slm21.zip")
    for task in ("swuggy", "sblimp"):
        found, _ = read(path, task, ("dev", "test"))
        rows, items = [], []
        for half in (half for take in found.voiced for half in take):
            keys = ("item", "id", "voice", "correct", "type", "split")
            row = {key: getattr(half, key) for key in keys}
            items.append(row | {"text": half.text, "words": [], "phones": [], "seconds": 1.0, "audio": b""})
            for seed in SEEDS:
                numbers = {"nll": float(rng.integers(1, 6)), "tokens": int(rng.integers(1, 4))}
                span = {f"span_{name}": value for name, value in numbers.items()}
                rows.append(row | numbers | span | {"seed": seed, "layer_nll": []})
        write_table(results / "benchmarks" / task / "items.parquet", items, ITEMS, **found.metadata)
        write_table(results / "scores" / "phone-raw" / f"{task}.parquet", rows, SCORES)
    report.write_slm21(results, ["phone-raw"], ["dev", "test"], 0, ANALYSIS)
    return mini, path, results


def zerospeech(mini, folder: Path, part: str, split: str) -> dict[str, tuple[int, float, float]]:
    """Group -> n, mean, std by zerospeech's published rules, from the gold table and a submission only."""
    gold = pd.DataFrame(mini.rows[part, split]).drop_duplicates("filename")
    text = (folder / part / f"{split}.txt").read_text()
    lines = pd.DataFrame([line.split(" ") for line in text.splitlines()], columns=["filename", "score"])
    assert lines["filename"].is_unique
    data = gold.merge(lines.astype({"score": float}), on="filename")
    place = ["id"] if part == "lexical" else ["type", "subtype", "id"]
    halves = [data[data["correct"] == flag] for flag in ("1", "0")]
    pairs = halves[0].merge(halves[1], on=[*place, "voice"], suffixes=("", "_bad"))
    right = (pairs["score"] > pairs["score_bad"]) + 0.5 * (pairs["score"] == pairs["score_bad"])
    by_pair = pairs.assign(right=right).groupby(place).agg({"right": "mean"} | _first(part))
    out = {"all": by_pair["right"]}
    if part == "lexical":
        labels = ["oov", "1-5", "6-20", "21-100", ">100"]
        frequency = by_pair["frequency"].astype(float)
        bands = pd.cut(frequency, [0, 1, 5, 20, 100, float("inf")], labels=labels, right=False)
        out |= {label: by_pair["right"][bands == label] for label in labels}
        out["in-vocabulary"] = by_pair["right"][frequency >= 1]
        out |= {f"length {n}": by_pair["right"][by_pair["length"] == n] for n in by_pair["length"].unique()}
    else:
        out |= {f"type {kind}": group["right"] for kind, group in by_pair.groupby("type")}
    return {group: (len(values), values.mean(), values.std()) for group, values in out.items()}


def _first(part: str) -> dict[str, str]:
    return {"frequency": "first", "length": "first"} if part == "lexical" else {}


@pytest.mark.parametrize("norm", ["sum", "mean"])
def test_accuracy_equals_zerospeechs(scored, tmp_path, norm):
    mini, path, results = scored
    scores = [results / "scores" / "phone-raw" / f"{task}.parquet" for task in ("swuggy", "sblimp")]
    expected: dict[tuple, list] = {}
    for seed in SEEDS:
        export_slm21(path, *scores, tmp_path / str(seed), ["dev", "test"], seed, norm)
        for task, part in (("swuggy", "lexical"), ("sblimp", "syntactic")):
            for split in ("dev", "test"):
                for group, values in zerospeech(mini, tmp_path / str(seed), part, split).items():
                    expected.setdefault((task, split, group), []).append(values)
    rows = {(r["task"], r["split"], r["group"]): r for r in read_csv(results / "slm21.csv") if r["norm"] == norm}
    assert rows.keys() == expected.keys() and len(rows) > 40
    for key, values in expected.items():
        n, mean, std = np.mean(values, axis=0)
        found = rows[key]
        assert int(found["n"]) == n, key
        assert float(found["score"]) == pytest.approx(100 * mean, abs=0.0051), key
        assert float(found["low"]) <= float(found["score"]) <= float(found["high"])
        assert found["std"] == "" if n == 1 else float(found["std"]) == pytest.approx(100 * std, abs=0.0051), key
    assert len({row["score"] for row in rows.values()}) > 10  # with few distinct scores any method would agree
    halves = [v for take in expected.values() for v in take]
    assert any(0 < mean < 1 for _, mean, _ in halves)


def test_scores_are_read_by_split(scored):
    _, _, results = scored
    path = results / "scores" / "phone-raw" / "swuggy.parquet"
    by_split = {s: read_scored_pairs(path, s).outcomes("sum").values.mean() for s in ("dev", "test")}
    rows = {r["split"]: r for r in read_csv(results / "slm21.csv") if (r["task"], r["norm"]) == ("swuggy", "sum")
            and r["group"] == "all"}  # fmt: skip
    assert {s: f"{100 * v:.2f}" for s, v in by_split.items()} == {s: r["score"] for s, r in rows.items()}
    assert by_split["dev"] != by_split["test"]
    assert len(read_scored_pairs(path).ids) == sum(len(read_scored_pairs(path, s).ids) for s in by_split)


def test_an_empty_band_has_empty_cells(tmp_path):
    groups = dict(report.groups("lexical", {"dev/1": "oov"}, {"dev/1": 4}))
    assert groups["in-vocabulary"] == groups[">100"] == set() and groups["length 4"] == {"dev/1"}


def test_items_of_another_benchmark_are_refused(tmp_path):
    write_table(tmp_path / "items.parquet", [], ITEMS)
    with pytest.raises(UserError, match="not the items of sLM21"):
        report.read_lengths(tmp_path / "items.parquet")


def test_other_items_are_no_slm21(tmp_path):
    write_table(tmp_path / "items.parquet", [], ITEMS)
    with pytest.raises(UserError, match="not the items of sLM21"):
        report.read_lengths(tmp_path / "items.parquet")
