"""The diagnosis of units: distances, word forms and times with known answers, the probe, and what the page says."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from speechladder.alignment.frames import frame_labels
from speechladder.analysis import diagnosis
from speechladder.io.audio import frame_count, read_audio
from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.io.spans import Span, as_rows, from_rows
from speechladder.io.tables import ALIGNMENT, EXTERNAL_UNITS, ITEMS, UNITS, read_table, write_table
from speechladder.report.diagnosis.sections import sections
from speechladder.report.diagnosis.verdict import verdict
from speechladder.report.page.build import write
from speechladder.settings import Analysis, load
from speechladder.settings.diagnosis import Diagnosis
from speechladder.units.diagnostics.invariance import changes, share_changed
from speechladder.units.diagnostics.probe import make_probe, sentences
from speechladder.units.diagnostics.timed import Timed, read_timed
from speechladder.units.diagnostics.words import expected_forms, read_words, word_figures
from speechladder.workflow.inputs import Inputs

HOME = Path(__file__).resolve().parents[2]
SPEECH = {"corpus": "world", "hours": 0.1, "abx_minutes": 5.0, "variability": 3}


def sequence(*units):
    return np.array(units, dtype=np.int64)


@pytest.mark.parametrize(
    ("a", "b", "share"),
    [
        ((1, 2, 3), (1, 2, 3), 0.0),
        ((1, 2, 3, 4), (1, 9, 3, 4), 0.25),
        ((1, 2), (1, 5, 6, 2), 0.5),
        ((1, 2), (), 1.0),
        ((), (), 0.0),
    ],
)
def test_the_share_that_changes_is_of_the_longer_sequence(a, b, share):
    assert share_changed(sequence(*a), sequence(*b)) == share == share_changed(sequence(*b), sequence(*a))


@pytest.mark.parametrize(
    ("counts", "drawn", "forms"),
    [((10,), 10, 1.0), ((1,) * 10, 10, 10.0), ((1, 1), 2, 2.0), ((5, 5), 2, 1 + 5 / 9), ((3, 1), 2, 1.5)],
)
def test_the_number_of_forms_among_drawn_tokens(counts, drawn, forms):
    assert expected_forms(np.array(counts), drawn) == pytest.approx(forms)


def test_too_few_tokens_have_no_number_of_forms():
    assert np.isnan(expected_forms(np.array([3, 2]), 10))


def test_forms_of_words():
    words = {
        "a": [sequence(1, 2), sequence(1, 2), sequence(1, 3)],
        "b": [sequence(1, 2), sequence(4, 4)],
        "once": [sequence(7)],
    }
    found = word_figures(words)
    assert found.same.tolist() == pytest.approx([1 / 3, 0])  # of three pairs of a, one is equal
    assert found.shared.tolist() == pytest.approx([2 / 3, 1 / 2])  # (1, 2) is a form of both
    assert found.distance[1] == 1.0
    assert len(found.same) == 2, "a word with one token is not counted"


def test_units_of_a_span_are_those_with_their_middle_in_it():
    timed = Timed(sequence(5, 6, 7), np.array([0.1, 0.2, 0.3]))
    assert timed.between(0.1, 0.3).tolist() == [5, 6]
    assert timed.between(0.15, 0.4).tolist() == [6, 7]
    assert timed.between(0.5, 0.6).tolist() == []
    assert Timed(sequence(5), None).between(0, 1) is None


def external(path, rows, **metadata):
    columns = {name: [row.get(name) for row in rows] for name in EXTERNAL_UNITS.names}
    schema = EXTERNAL_UNITS.with_metadata(metadata)
    pq.write_table(pa.table(columns, schema=schema), path)
    return dict(read_timed(path))


def test_times_of_units_of_every_kind(tmp_path):
    path = tmp_path / "units.parquet"
    write_table(path, [{"id": "a", "units": [1, 2]}], UNITS, clusters="3")
    assert dict(read_timed(path))["a"].centres == pytest.approx([0.0125, 0.0325])
    row = {"id": "a", "units": [1, 2, 3], "durations": None, "seconds": 0.12}
    assert external(path, [row], rate="25", clusters="5")["a"].centres == pytest.approx([0.02, 0.06, 0.10])
    lasting = row | {"durations": [1, 4, 1]}
    assert external(path, [lasting], rate="50", clusters="5")["a"].centres == pytest.approx([0.01, 0.06, 0.11])
    assert external(path, [row], rate="0", clusters="5")["a"].centres is None
    books = {"id": "a", "units": [1, 6, 2, 7], "durations": None, "seconds": 0.16}
    centres = external(path, [books], rate="25", clusters="10", codebooks="2")["a"].centres
    assert centres == pytest.approx([0.04, 0.04, 0.12, 0.12])  # 12.5 frames a second, two ids of each
    lasting = books | {"durations": [1, 1, 1, 1]}
    assert external(path, [lasting], rate="25", clusters="10", codebooks="2")["a"].centres is None


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    """A probe of four sentences; of a seed above 100, since seed 0 is for figures."""
    folder = tmp_path_factory.mktemp("probe")
    make_probe(folder / "items.parquet", folder / "about.json", Diagnosis(sentences=4), seed=101)
    return folder


@pytest.fixture(scope="module")
def said(probe):
    return {(row["id"], row["type"]): row for row in read_table(probe / "items.parquet", ITEMS).to_pylist()}


def samples(row):
    return read_audio(row["audio"])


def test_the_probe_changes_one_thing(said):
    base = said["000", "base"]
    assert base["audio"] == said["000", "again"]["audio"]
    for kind in ("room", "noise", "telephone"):
        other = said["000", kind]
        assert (other["words"], other["phones"]) == (base["words"], base["phones"]), kind
        assert len(samples(other)) == len(samples(base)) and not np.allclose(samples(other), samples(base)), kind
    for kind in ("voice", "accent", "rate", "pitch"):
        assert said["000", kind]["text"] == base["text"] and said["000", kind]["audio"] != base["audio"], kind
    assert said["000", "voice"]["voice"] != base["voice"] == said["000", "noise"]["voice"]
    assert (
        said["000", "rate"]["seconds"] < base["seconds"]
        and said["001", "rate"]["seconds"] > said["001", "base"]["seconds"]
    )
    texts = {row["text"] for row in said.values()}
    assert len(texts) == 4 == len(set(sentences(4, 101)))


def test_a_shift_moves_samples_and_phones(said):
    base, later = said["000", "base"], said["000", "shift-5ms"]
    assert np.array_equal(samples(later), np.roll(samples(base), 80))
    starts = [[span["start"] for span in row["phones"]] for row in (base, later)]
    assert starts[1][1:] == pytest.approx([start + 0.005 for start in starts[0][1:]])
    assert later["phones"][0]["start"] == 0.0 and later["phones"][-1]["end"] == pytest.approx(later["seconds"])


def test_the_sentence_stands_unchanged_in_its_context(probe, said):
    windows = read_json(probe / "about.json")["context"]
    for number in ("000", "003"):
        base, row = said[number, "base"], said[number, "context"]
        start, seconds = windows[row["item"]]
        first = round(start * 16000)
        assert first % 1280 == 0 and seconds == base["seconds"]
        assert np.array_equal(samples(row)[first : first + len(samples(base))], samples(base))
        phones = from_rows(row["phones"])
        assert phones[0].start == 0.0 and phones[-1].end == pytest.approx(row["seconds"])
        assert all(a.end == pytest.approx(b.start) for a, b in pairwise(phones))


def truth(said, noise=0):
    """The true phone at each frame of each item as its unit: the best tokenizer. `noise` adds it to items in noise."""
    rows, codes = [], {}
    for row in said.values():
        labels = frame_labels(from_rows(row["phones"]), frame_count(len(samples(row))))
        units = [codes.setdefault(label.rstrip("012"), len(codes)) for label in labels]
        rows.append({"id": row["item"], "units": [u + noise * (row["type"] == "noise") for u in units]})
    return rows


def test_phones_as_units_change_as_phones_do(probe, said, tmp_path):
    write_table(tmp_path / "units.parquet", truth(said), UNITS)
    found = changes(probe / "items.parquet", probe / "about.json", tmp_path / "units.parquet")
    for kind, change in found.items():
        assert np.array_equal(change.units, change.phones) and np.array_equal(change.dedup, change.phones_dedup), kind
    for kind in ("again", "noise", "room", "telephone", "context"):
        assert found[kind].units.max() == 0, kind
    assert found["rate"].units.min() > 0 and found["rate"].dedup.max() < 0.2 < found["other"].dedup.min()
    assert len(found["other"].units) == 4


def test_a_tokenizer_of_noise_is_found(probe, said, tmp_path):
    write_table(tmp_path / "units.parquet", truth(said, noise=100), UNITS)
    found = changes(probe / "items.parquet", probe / "about.json", tmp_path / "units.parquet")
    assert found["noise"].units.tolist() == [1.0] * 4 and found["room"].units.max() == 0


def test_units_without_times_have_no_context(probe, said, tmp_path):
    rows = [row | {"durations": None, "seconds": 1.0} for row in truth(said)]
    external(tmp_path / "units.parquet", rows, rate="0", clusters="50")
    found = changes(probe / "items.parquet", probe / "about.json", tmp_path / "units.parquet")
    assert found["context"] is None and found["noise"].units.max() == 0


def test_an_item_without_units_is_named(probe, said, tmp_path):
    write_table(tmp_path / "units.parquet", truth(said)[1:], UNITS)
    with pytest.raises(UserError, match=r"item '000\|base\|.*' of .* is missing"):
        changes(probe / "items.parquet", probe / "about.json", tmp_path / "units.parquet")


@pytest.fixture
def corpus(tmp_path):
    """Twelve utterances that say 'a b', whose units are those of the words, and their alignment."""
    spans = [Span("a", 0.0, 0.1), Span("b", 0.1, 0.2)]
    phones = as_rows([Span("AH0", 0.0, 0.1), Span("B", 0.1, 0.2)])
    about = {"words": as_rows(spans), "phones": phones, "seconds": 0.2, "aligner": "truth"}
    write_table(tmp_path / "alignment.parquet", [{"id": f"u{n}"} | about for n in range(12)], ALIGNMENT)
    rows = [{"id": f"u{n}", "units": [1, 1, 1, 1, 1, 2, 2, 2, 2 + n % 2]} for n in range(12)]
    write_table(tmp_path / "0.parquet", rows, UNITS)
    return tmp_path


def test_words_are_cut_at_their_edges(corpus):
    found = read_words([corpus / "0.parquet"], [corpus / "alignment.parquet"], 0)
    assert found.tokens == 24 and found.without_units == 0
    assert {tuple(token.tolist()) for token in found.units["a"]} == {(1, 1, 1, 1, 1)}
    assert {tuple(token.tolist()) for token in found.units["b"]} == {(2, 2, 2, 2), (2, 2, 2, 3)}


@pytest.fixture
def whole(probe, said, corpus):
    """The content of diagnosis.json, of true phones as units of the probe and of a small corpus."""
    rates = {"entropy_bits": 4.0, "bits_per_second": 200.0}
    quality = rates | {"dedup": rates | {"units_per_second": 20.0}, "pnmi": 0.6, "pnmi_100hz": 0.58, "clusters": 50}
    quality["abx"] = {"units": {"symbols": {"within": 6.0, "across": 8.0}}}
    (corpus / "quality.json").write_text(json.dumps(quality))
    write_table(corpus / "probe_units.parquet", truth(said, noise=100), UNITS)

    def make(tokenizer=None, resynthesis=None):
        files = (corpus / "quality.json", probe / "items.parquet", probe / "about.json", corpus / "probe_units.parquet")
        tables = ([corpus / "0.parquet"], [corpus / "alignment.parquet"], HOME / "data" / "published")
        return diagnosis.diagnose(*files, *tables, Analysis(resamples=200), resynthesis, tokenizer or {}, SPEECH, 0)

    return make


def test_the_figures_of_a_diagnosis(whole):
    found = whole()
    assert list(found) == [
        *("schema", "tokenizer", "conditions", "rates", "quality", "abx", "invariance", "speaker", "shift", "words"),
        *("resynthesis", "prediction", "neighbours", "reasons"),
    ]
    assert found["invariance"]["again"]["units"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert found["invariance"]["noise"]["above_phones"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert found["invariance"]["other"]["of_other"]["value"] == 1.0
    assert found["rates"]["units_per_second"] == 50
    assert found["words"]["units"]["forms"]["value"] == pytest.approx((1 + 2) / 2, abs=0.01)
    assert found["resynthesis"] is None and "50 Hz frame" in found["reasons"]["resynthesis"]
    assert found["prediction"]["measured"] is False and len(found["neighbours"]) == 5
    assert found["prediction"]["low"] < found["prediction"]["value"] < found["prediction"]["high"]
    json.dumps(found, allow_nan=False)


def test_the_first_paragraph_names_the_loss(whole):
    found = whole()
    text = " ".join(verdict(found, {}))
    said = "Of what changes the sound of a sentence, noise changes most of its units: 100.0 % [100.0, 100.0]"
    assert f"{said}, and 0.0 % of its phones" in text
    assert "No loss shows from another voice" in text and "hubert-micro" not in text


def test_it_is_set_beside_hubert_micro_where_its_diagnosis_is_at_hand(whole):
    found, default = whole({"layer": 2}), whole()
    default["invariance"]["noise"]["dedup"] = {"value": 0.2, "low": 0.1, "high": 0.3}
    text = " ".join(verdict(found, {"hubert-micro": default}))
    assert (
        "No figure with an interval is clearly apart from those of hubert-micro." in text
    )  # units as they are are equal
    default["invariance"]["noise"]["units"] = {"value": 0.2, "low": 0.1, "high": 0.3}
    text = " ".join(verdict(found, {"hubert-micro": default}))
    assert (
        "It loses most against hubert-micro in changes by noise: 100.0 % [100.0, 100.0], and hubert-micro has" in text
    )
    assert "Its PNMI is 0.580 where that of hubert-micro is 0.580." in text
    less = {"value": -0.3, "low": -0.4, "high": -0.2}
    for kind in ("units", "dedup"):
        for of, name in (("invariance", "room"), ("invariance", "pitch")):
            default[of][name][kind] = less
        default["words"][kind] |= {"shared": less, "same": less}
    text = " ".join(verdict(found, {"hubert-micro": default}))
    assert (
        "It also loses in changes by another pitch and a room, and in tokens whose form another word has too." in text
    )
    assert "It is better in two tokens of a word with the same form." in text


def test_the_page_needs_nothing_beside_it_and_calls_a_prediction_one(whole, tmp_path):
    write(tmp_path / "page.html", sections(whole({"layer": 2}), {}), {}, "a page")
    page = (tmp_path / "page.html").read_text()
    assert "Diagnosis of layer 2" in page and "Predicted, not measured" in page and "extrapolation" in page
    assert 'src="http' not in page and '<link rel="stylesheet' not in page and "<audio" not in page


def test_the_tokenizer_is_told_without_folders(tmp_path):
    given = {"source": "external", "path": str(tmp_path / "mine.jsonl"), "rate": 25.0, "clusters": 500}
    found = json.loads(Inputs(load({"units": given}), HOME).tokenizer(None))
    assert found == given | {"path": "mine.jsonl"}
    assert json.loads(Inputs(load({}), HOME).tokenizer(None)) == {}


@pytest.mark.parametrize("text", ["", "[1]", "{layer: 2}"])
def test_what_is_no_mapping_is_refused(text):
    with pytest.raises(UserError, match=r"--tokenizer: .* is no JSON mapping"):
        diagnosis.parse_json(text, "--tokenizer")
