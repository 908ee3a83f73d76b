"""Babble: the bigram model's distribution, and the part of the train split that it counts."""

import numpy as np

from speechladder.continuation.babble import Bigrams, train_tokens
from speechladder.io.files import write_json
from speechladder.io.tables import TOKEN_INDEX, write_table
from speechladder.rungs.data import TokenData
from speechladder.rungs.tokenizers import BOS, EOS


def test_the_next_token_is_drawn_by_the_counts_of_pairs():
    # after 4: 5 three times, 65535 once, the end once; after 6: nothing but the end
    text = np.array([BOS, 4, 5, 4, 5, 4, 5, 4, 65535, 4, EOS, BOS, 6, EOS], np.uint16)
    model = Bigrams(text)
    even = (np.arange(4000) + 0.5) / 4000
    found = np.unique([model.babble(4, [number])[0] for number in even], return_counts=True)
    assert [part.tolist() for part in found] == [[5, 65535], [3000, 1000]]
    assert model.babble(5, [0.0, 0.999999]) == [4, 65535]  # each token follows the one that was drawn
    unseen = {model.babble(last, [number])[0] for number in even for last in (6, 99)}
    assert unseen == {4, 5, 6, 65535}  # by frequency alone


def test_utterances_are_counted_evenly_up_to_a_limit(tmp_path):
    ids = np.concatenate([[BOS, 10 + n, EOS] for n in range(10)]).astype(np.uint16)
    ids.tofile(tmp_path / "train.bin")
    index = [{"id": str(n), "offset": 3 * n, "length": 3, "seconds": 1.0} for n in range(10)]
    write_table(tmp_path / "train.parquet", index, TOKEN_INDEX)
    write_json(tmp_path / "meta.json", {})
    data = TokenData(tmp_path, "train")
    assert train_tokens(data).tolist() == ids.tolist()
    assert [i for i in train_tokens(data, most=12) if i > EOS] == [10, 13, 16, 19]
