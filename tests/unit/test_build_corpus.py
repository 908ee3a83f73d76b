"""The choice of the corpus's own function, and the inputs that each corpus needs."""

from pathlib import Path

import pytest

from speechladder.corpora.build import build_shard
from speechladder.corpora.cuts import read_cuts
from speechladder.io.audio import encode_flac
from speechladder.io.errors import UserError
from speechladder.settings import Corpus
from tests.mini_corpora import synthetic


def test_a_folder_of_recordings(tmp_path: Path) -> None:
    chapter = tmp_path / "in" / "s" / "c"
    chapter.mkdir(parents=True)
    said = synthetic(1, 3)
    for number, one in enumerate(said):
        (chapter / f"u{number}.flac").write_bytes(encode_flac(one.samples))
    lines = (f"u{number} {one.text}" for number, one in enumerate(said))
    (chapter / "c.trans.txt").write_text("\n".join(lines) + "\n")
    out = tmp_path / "cuts.jsonl.gz", tmp_path / "rejected.jsonl"
    build_shard(Corpus(name="local", path=str(tmp_path / "in"), shards=1), 0, *out)
    assert {cut.id for cut in read_cuts(out[0])} == {"u0", "u1", "u2"}


@pytest.mark.parametrize(
    ("corpus", "message"),
    [
        (Corpus(), "--audio, --truth: the world needs"),
        (Corpus(name="libriheavy", manifests=["m"], source="/nowhere"), "--manifest, --indexes: libriheavy needs"),
    ],
)
def test_an_input_that_is_not_given_is_named(corpus: Corpus, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        build_shard(corpus, 0, tmp_path / "cuts.jsonl.gz", tmp_path / "rejected.jsonl")
    assert not list(tmp_path.iterdir())
