"""The submission: zerospeech's lines, every recording once, ties kept, missing recordings listed."""

import numpy as np
import pytest

from speechladder.benchmarks.submission import export_slm21
from speechladder.io.errors import UserError
from speechladder.io.tables import SCORES, write_table
from tests.mini_slm21 import WORDS, make, write


@pytest.fixture
def archive(tmp_path):
    """sLM21 with two words and two sentences in one voice, and scores of all its items."""
    mini = make(splits=("dev",), words=WORDS[:2], sentences=2, speakers=1, speech=False, faults=False)
    path, scores = write(mini, tmp_path / "slm21"), []
    for task, part in (("swuggy", "lexical"), ("sblimp", "syntactic")):
        rows = [
            {"item": f"dev/{row['filename']}", "seed": 4, "nll": 1 / 3 + n // 2, "tokens": 3, "layer_nll": []}
            for n, row in enumerate(mini.rows[part, "dev"])
        ]
        scores.append(tmp_path / f"{task}.parquet")
        write_table(scores[-1], rows, SCORES)
    return mini, path, scores


def test_lines_have_zerospeechs_form(archive, tmp_path, capsys):
    mini, path, scores = archive
    assert export_slm21(path, *scores, tmp_path / "out", ["dev"], 4) == 0
    for part in ("lexical", "syntactic"):
        text = (tmp_path / "out" / part / "dev.txt").read_text()
        lines = [line.split(" ") for line in text.removesuffix("\n").split("\n")]
        assert sorted(name for name, _ in lines) == sorted(row["filename"] for row in mini.rows[part, "dev"])
        values = [score for _, score in lines]
        assert len(set(values)) == len(values) // 2  # only ties have equal scores
        assert {float(v) for v in values} == {-(1 / 3 + n) for n in range(len(values) // 2)}
    assert (tmp_path / "out" / "missing.tsv").read_text() == "part\tsplit\tfilename\n"
    assert "warning" not in capsys.readouterr().err


def test_the_mean_is_per_token(archive, tmp_path):
    _, path, scores = archive
    export_slm21(path, *scores, tmp_path / "out", ["dev"], 4, "mean")
    values = sorted(float(line.split(" ")[1]) for line in (tmp_path / "out/lexical/dev.txt").read_text().splitlines())
    assert np.allclose(values, sorted(-(1 / 3 + n // 2) / 3 for n in range(4)), rtol=1e-15)


def test_recordings_without_a_score_are_listed(archive, tmp_path, capsys):
    _, path, scores = archive
    (path / "syntactic" / "dev" / "Unscored.wav").touch()
    assert export_slm21(path, *scores, tmp_path / "out", ["dev"], 4) == 1
    assert "1 recordings have no score (syntactic/dev/Unscored)" in capsys.readouterr().err
    assert (tmp_path / "out" / "missing.tsv").read_text().splitlines()[1] == "syntactic\tdev\tUnscored"
    assert "Unscored" not in (tmp_path / "out" / "syntactic" / "dev.txt").read_text()


def test_a_seed_without_scores_is_refused_and_leaves_no_files(archive, tmp_path):
    _, path, scores = archive
    with pytest.raises(UserError, match=r"swuggy.parquet: model seed 7 is not scored"):
        export_slm21(path, *scores, tmp_path / "out", ["dev"], 7)
    assert not (tmp_path / "out").exists()
