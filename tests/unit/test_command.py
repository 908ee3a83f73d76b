"""A stage's function as a command line."""

import os
import sys
from pathlib import Path

import pytest

from speechladder.command import main, parse


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


def test_texts_are_words_or_one_list_as_the_settings_write_it():
    def stage(names: list[str] | None = None, files: list[Path] = ()) -> None:
        """Do nothing."""

    for words, names in (([], None), (["--names", "a", "b"], ["a", "b"]), (["--names", '["a", "b"]'], ["a", "b"])):
        assert parse(stage, words)["names"] == names
    assert parse(stage, ["--names", "[]", "--files", "[x]"]) == {"names": [], "files": [Path("[x]")]}


def test_words_without_an_option_are_those_of_a_positional_parameter(monkeypatch, tmp_path):
    script = tmp_path / "positional.py"
    script.write_text(
        "from pathlib import Path\n"
        "def join(runs: list[Path], /, out: Path) -> None:\n"
        "    out.write_text(' '.join(map(str, runs)))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", ["join.py", "a/results", "b/results", "--out", str(tmp_path / "said")])
    main("positional:join")
    assert (tmp_path / "said").read_text() == "a/results b/results"
    monkeypatch.setattr(sys, "argv", ["join.py", "--out", "x"])
    with pytest.raises(SystemExit):
        main("positional:join")


def test_a_word_without_a_value_is_refused(capsys):
    with pytest.raises(SystemExit):
        parse(stage, ["--out", "o", "--folders", "a"])
    assert "'a' is not NAME=VALUE" in capsys.readouterr().err


def say_threads() -> None:
    """Write the variables that say how many threads there are."""
    sys.stdout.write(" ".join([os.environ["OMP_NUM_THREADS"], os.environ["TOKENIZERS_PARALLELISM"]]))


@pytest.mark.parametrize("given", [{}, {"OMP_NUM_THREADS": "3", "TOKENIZERS_PARALLELISM": "true"}])
def test_a_script_computes_with_one_thread_unless_it_is_told(given, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["say_threads.py"])
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "TOKENIZERS_PARALLELISM")}
    monkeypatch.setattr(os, "environ", environment | given)
    monkeypatch.setattr("speechladder.command.die_with_runner", lambda: None)
    main(f"{__name__}:say_threads")
    assert capsys.readouterr().out == " ".join(given.values() or ("1", "false"))
