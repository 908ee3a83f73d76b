"""A stage's function as a command line."""

from pathlib import Path

import pytest

from speechladder.command import parse


def stage(out: Path, folders: dict[str, Path] | None = None, level: int | None = None) -> None:
    """Do nothing.

    Args:
        out: a file to write
        folders: a folder for each name
    """


@pytest.mark.parametrize(
    ("words", "folders", "level"),
    [
        ([], None, None),
        (["--folders"], {}, None),
        (["--folders", "a=x", "b=y=z", "--level", "3"], {"a": Path("x"), "b": Path("y=z")}, 3),
    ],
)
def test_options_that_may_be_none(words, folders, level):
    assert parse(stage, ["--out", "o", *words]) == {"out": Path("o"), "folders": folders, "level": level}


def test_a_word_without_a_value_is_refused(capsys):
    with pytest.raises(SystemExit):
        parse(stage, ["--out", "o", "--folders", "a"])
    assert "'a' is not NAME=VALUE" in capsys.readouterr().err
