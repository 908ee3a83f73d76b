"""Files of every shard that belong together: a missing one is an error that names the options."""

from pathlib import Path

import pytest

from speechladder.io.errors import UserError, paired
from speechladder.settings import Sweep, Units
from speechladder.units.diagnostics.abx_run import draw_speech
from speechladder.units.diagnostics.run import measure_units
from speechladder.units.diagnostics.sweep import draw_cuts
from speechladder.units.sample import choose_utterances
from speechladder.units.speakers import _of_corpus

ONE, TWO = [Path("0")], [Path("0"), Path("1")]


def test_values_stand_side_by_side():
    assert list(paired(cuts=[1, 2], item_units=[3, 4])) == [(1, 3), (2, 4)]
    with pytest.raises(
        UserError, match=r"--cuts needs --item-units of the same shards.*--cuts has 1, --item-units has 0"
    ):
        paired(cuts=[1], item_units=[])


@pytest.mark.parametrize(
    "stage",
    [
        lambda: _of_corpus(TWO, ONE, 1.0, 0),
        lambda: choose_utterances(TWO, [], Units(), 0),
        lambda: draw_speech(TWO, ONE, 1.0, 0),
        lambda: draw_cuts(ONE, TWO, Sweep().minutes, 0),
        lambda: measure_units(TWO, ONE, TWO, Path("out"), clusters=3),
    ],
)
def test_a_missing_shard_is_an_error_that_names_the_options(stage):
    with pytest.raises(UserError, match=r"--cuts needs --alignment .*of the same shards, in the same order; --cuts"):
        stage()
