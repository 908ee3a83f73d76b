"""UNITS= of make diagnose and make entry: what each form means, and what is said of a wrong one."""

import pytest

from speechladder.io.errors import UserError
from speechladder.settings.tokenizer import parse_units

EXTERNAL = "{source: external, path: F, items_path: G, rate: 25, clusters: 500}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{layer: 2, clusters: 50}", {"layer": 2, "clusters": 50}),
        ("layer: 2", {"layer": 2}),
        ("{}", {}),  # the default units
        (" {'clusters': 50} ", {"clusters": 50}),
        (EXTERNAL, {"source": "external", "path": "F", "items_path": "G", "rate": 25, "clusters": 500}),
        ("{s3prl_python: null}", {"s3prl_python": None}),
        ("{s3prl_python: 'null'}", {"s3prl_python": None}),
        ("hubert-micro", {"encoder": "hubert-micro"}),
        ("facebook/hubert-base-ls960", {"encoder": "facebook/hubert-base-ls960"}),
    ],
)
def test_settings_and_names_of_encoders(text, found):
    assert parse_units(text) == found


def test_what_is_on_disk(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "a.jsonl").write_text('{"id": "a", "units": [1]}\n')
    monkeypatch.setenv("PWD", str(tmp_path))  # where the command was typed; make and --directory do not change it
    assert parse_units("model") == {"encoder": "model"}
    assert parse_units(str(tmp_path / "model")) == {"encoder": str(tmp_path / "model")}
    assert parse_units("made") == {"source": "external", "path": "made"}
    assert parse_units("made/a.jsonl") == {"source": "external", "path": "made/a.jsonl"}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["UNITS is empty", "UNITS='{layer: 2, clusters: 50}'"]),
        ("  ", ["UNITS is empty"]),
        ("[2, 50]", ["UNITS=[2, 50]: is no mapping"]),
        ("{layer: 2", ["no YAML"]),
        ("{layer:2}", ["layer:2: YAML needs a space after the colon"]),
        ("{units: {layer: 2}}", ["leave out units:"]),
        ("{layr: 2}", ["units.layr: unknown key", "did you mean 'units.layer'"]),
        ("{layer: two}", ["units.layer: 'two' is not allowed; allowed: a whole number, at least 0"]),
        ("{layer: 0}", ["units.layer: 0 is a hidden state of source: s3prl"]),
        ("{clusters: 1}", ["units.clusters: 1 is not allowed"]),
        ("{clusters: 70000}", ["units.clusters: 70000 is not allowed"]),
        ("{rate: 25}", ["units.rate: would not be read, since source is auto; write source: external"]),
        ("{source: external}", ["units.path: source: external needs the file or folder"]),
        ("{source: extern, path: F}", ["units.source: 'extern' is not allowed; did you mean 'external'?"]),
        ("{layer: -1, clusters: 1}", ["2 mistakes", "units.layer: -1", "units.clusters: 1"]),
        ("hubert-mico", ["UNITS=hubert-mico: no such file or folder", "did you mean 'hubert-micro'?"]),
        ("units/mine.jsonl", ["UNITS=units/mine.jsonl: no such file or folder"]),
        ("7", ["UNITS=7: no such file or folder"]),
        ("/no/such/folder", ["UNITS=/no/such/folder: no such file or folder"]),
    ],
)
def test_a_mistake_is_named(text, parts):
    with pytest.raises(UserError) as error:
        parse_units(text)
    for part in parts:
        assert part in str(error.value)
