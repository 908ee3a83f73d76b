"""What the recogniser and the vocoder learn from: bounded, drawn by hash, whatever the shards."""

from dataclasses import replace

from speechladder.continuation.sample import rows_of, train_sample
from speechladder.corpora.cuts import Cut, write_cuts
from speechladder.io.tables import UNITS, write_table

CUT = Cut("", "r", "r.flac", 0.0, 1.0, "s", "train", "a cow", "A cow.", 16_000, 16_000)


def test_sample_is_of_train_bounded_and_the_same_in_any_shards(tmp_path):
    cuts = [replace(CUT, id=f"c{n}", split="train" if n % 4 else "valid") for n in range(40)]
    write_cuts(tmp_path / "all.jsonl.gz", cuts)
    write_cuts(tmp_path / "b.jsonl.gz", cuts[:11])
    write_cuts(tmp_path / "a.jsonl.gz", cuts[11:])
    drawn = [c.id for c in train_sample([tmp_path / "all.jsonl.gz"], 0, "x", most=7)]
    assert len(drawn) == 7 and all(int(i[1:]) % 4 for i in drawn)
    assert drawn == [c.id for c in train_sample([tmp_path / "a.jsonl.gz", tmp_path / "b.jsonl.gz"], 0, "x", most=7)]
    assert drawn != [c.id for c in train_sample([tmp_path / "all.jsonl.gz"], 1, "x", most=7)]
    assert len(train_sample([tmp_path / "all.jsonl.gz"], 0, "x")) == 30


def test_rows_by_id_over_tables(tmp_path):
    for name, ids in (("0", "ab"), ("1", "cd")):
        write_table(tmp_path / f"{name}.parquet", [{"id": i, "units": [ord(i)]} for i in ids], UNITS)
    found = rows_of([tmp_path / "0.parquet", tmp_path / "1.parquet"], UNITS, ["d", "a", "nobody"])
    assert {i: row["units"] for i, row in found.items()} == {"a": [97], "d": [100]}
