"""A fraction of the training data is nested, has the same utterances on every rung, and leaves validation alone."""

from itertools import pairwise

import numpy as np
import pytest
from toy_rung import write_rung

from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.io.tables import TOKEN_INDEX, read_table, write_table
from speechladder.lm.batches import Batches
from speechladder.rungs.data import TokenData
from speechladder.rungs.fraction import write_fraction


@pytest.fixture(scope="module")
def rung(tmp_path_factory):
    return write_rung(tmp_path_factory.mktemp("rung") / "toy")


def shares(rung, folder, *fractions):
    for fraction in fractions:
        write_fraction(rung, fraction, folder / str(fraction))
    return [TokenData(folder / str(fraction), "train") for fraction in fractions]


def test_a_smaller_fraction_lies_within_a_larger_one(rung, tmp_path):
    found = shares(rung, tmp_path, 0.1, 0.4, 0.8, 1.0)
    whole = TokenData(rung, "train")
    total = whole.seconds.sum()
    for smaller, larger in pairwise(found):
        assert set(smaller.ids) < set(larger.ids)
    for fraction, data in zip((0.1, 0.4, 0.8), found):
        # up to the utterance that reaches it
        assert fraction * total <= data.seconds.sum() <= fraction * total + whole.seconds.max()
    assert found[-1].ids == whole.ids
    assert [name for name in whole.ids if name in set(found[1].ids)] == found[1].ids  # in the order of the corpus


def test_tokens_are_shared_with_the_whole(rung, tmp_path):
    (part,) = shares(rung, tmp_path, 0.4)
    whole = TokenData(rung, "train")
    for number, name in enumerate(part.ids):
        assert np.array_equal(part.utterance(number), whole.utterance(whole.ids.index(name)))
    assert (tmp_path / "0.4" / "train.bin").samefile(rung / "train.bin")
    batches = Batches(part, 0, 64, 2)
    assert batches.tokens_per_pass == part.lengths.sum()
    passed = batches._read(0, batches.tokens_per_pass)
    assert np.array_equal(np.sort(passed), np.sort(np.concatenate([part.utterance(i) for i in range(len(part))])))


def test_validation_and_tokenizer_are_those_of_the_whole(rung, tmp_path):
    write_fraction(rung, 0.2, tmp_path / "part")
    for name in ("valid.bin", "valid.parquet", "tokenizer/tokenizer.json"):
        assert (tmp_path / "part" / name).read_bytes() == (rung / name).read_bytes()
    meta, before = read_json(tmp_path / "part" / "meta.json"), read_json(rung / "meta.json")
    data = TokenData(tmp_path / "part", "train")
    assert meta["tokens"] == {"train": data.lengths.sum(), "valid": before["tokens"]["valid"]}
    assert meta["utterances"]["train"] == len(data)
    assert meta["seconds"]["train"] == pytest.approx(data.seconds.sum())
    assert meta["vocab_size"] == before["vocab_size"]


def test_the_same_utterances_on_every_rung(rung, tmp_path):
    """Another rung has other tokens for the same utterances: half as many here."""
    other = tmp_path / "other"
    write_rung(other, seed=1)
    index, theirs = read_table(rung / "train.parquet", TOKEN_INDEX), read_table(other / "train.parquet", TOKEN_INDEX)
    seconds = index.column("seconds")
    at = theirs.schema.get_field_index("seconds")
    write_table(other / "train.parquet", theirs.set_column(at, TOKEN_INDEX.field(at), seconds), TOKEN_INDEX)
    write_fraction(rung, 0.3, tmp_path / "a")
    write_fraction(other, 0.3, tmp_path / "b")
    one, two = TokenData(tmp_path / "a", "train"), TokenData(tmp_path / "b", "train")
    assert one.ids == two.ids
    assert not np.array_equal(one.lengths, two.lengths)


def test_a_damaged_fraction_is_refused(rung, tmp_path):
    write_fraction(rung, 0.5, tmp_path / "part")
    path = tmp_path / "part" / "train.bin"
    content = path.read_bytes()
    path.unlink()  # the link, not the file
    path.write_bytes(content[:-2])
    with pytest.raises(UserError, match=r"train\.bin.*take_fraction again"):
        TokenData(tmp_path / "part", "train")


@pytest.mark.parametrize("fraction", [0, -0.1, 1.5])
def test_a_fraction_outside_its_range_is_refused(rung, tmp_path, fraction):
    with pytest.raises(UserError, match="above 0, at most 1"):
        write_fraction(rung, fraction, tmp_path / "part")


def test_a_fraction_of_a_fraction_is_refused(rung, tmp_path):
    write_fraction(rung, 0.5, tmp_path / "part")
    with pytest.raises(UserError, match="of the whole"):
        write_fraction(tmp_path / "part", 0.5, tmp_path / "quarter")
