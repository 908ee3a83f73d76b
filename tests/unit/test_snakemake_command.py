"""Targets behind --config, which Snakemake itself would read as settings."""

import pytest

from speechladder.snakemake_command import targets_last


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ("--config a=1 results/t.csv", "--config a=1 -- results/t.csv"),
        ("-C a=1 b=2 x y --cores 2", "-C a=1 b=2 --cores 2 -- x y"),
        ("--config a=1 --cores all results/t.csv", "--config a=1 --cores all results/t.csv"),
        ("--config a=1 -- results/t.csv", "--config a=1 -- results/t.csv"),
        ("--cores 2 results/t.csv", "--cores 2 results/t.csv"),
    ],
)
def test_examples(argv, expected):
    assert targets_last(argv.split()) == expected.split()
