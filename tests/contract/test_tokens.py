"""A small corpus through select, pack and items: all rungs have the same utterances, and ids decode to symbols."""

import random
from collections import Counter
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import pytest

from speechladder.benchmarks.tokens import tokenize_items
from speechladder.corpora.cuts import Cut, write_cuts
from speechladder.corpora.phones import ARPABET, SIL
from speechladder.io.audio import encode_flac, frame_count
from speechladder.io.errors import UserError
from speechladder.io.files import read_json, read_jsonl
from speechladder.io.spans import Span, as_rows
from speechladder.io.tables import (
    ALIGNMENT,
    EXTERNAL_UNITS,
    ITEM_TOKENS,
    ITEMS,
    PHONE_UNITS,
    TOKEN_INDEX,
    UNITS,
    UTTERANCES,
    read_table,
    write_table,
)
from speechladder.rungs import registry
from speechladder.rungs.data import TokenData
from speechladder.rungs.pack import _sample_of_train, pack_rung
from speechladder.rungs.registry import Utterance
from speechladder.rungs.tokenizers import BOS, EOS
from speechladder.rungs.utterances import read_utterances, select_utterances
from speechladder.settings import Tokens
from speechladder.units.diagnostics.phone_units import count_phone_units

CLUSTERS = 20
OPTIONS = Tokens(text_vocab=64, phone_vocab=80)
LEXICON = {
    w: random.Random(w).choices(ARPABET, k=len(w)) for w in ["the", "dog", "cat", "sees", "o'clock", "under", "trees"]
}


class Corpus:
    """Two shards of invented utterances, which a test may damage."""

    def __init__(self, folder: Path, per_shard: int = 30) -> None:
        self.folder = folder
        rng = random.Random(0)
        self.cuts, self.aligned, self.units = [], [], []
        for shard in range(2):
            made = [self._utterance(rng, f"u{shard}-{i}", ("train", "train", "valid")[i % 3]) for i in range(per_shard)]
            for rows, column in zip((self.cuts, self.aligned, self.units), zip(*made)):
                rows.append(list(column))

    @staticmethod
    def _utterance(rng: random.Random, name: str, split: str) -> tuple[Cut, dict, dict]:
        words = rng.choices(sorted(LEXICON), k=rng.randint(1, 8))
        spans, said, at = [Span(SIL, 0.0, 0.1)], [], 0.1
        for word in words:
            start = at
            for phone in LEXICON[word]:
                spans.append(Span(phone, at, at := round(at + rng.randint(1, 9) / 100, 2)))
            said.append(Span(word, start, at))
        seconds = at
        units = [rng.randrange(CLUSTERS) for _ in range(frame_count(round(seconds * 16000)))]
        cut = Cut(
            name, name, f"{name}.flac", 0.0, seconds, "s", split, " ".join(words), "", 16000, round(seconds * 16000)
        )
        row = {"id": name, "words": as_rows(said), "phones": as_rows(spans), "seconds": seconds, "aligner": "truth"}
        return cut, row, {"id": name, "units": units}

    def write(self) -> list[list[Path]]:
        paths = [
            [self.folder / f"{k}{s}{e}" for s in range(2)]
            for k, e in (("cuts.", ".jsonl.gz"), ("alignment", ".parquet"), ("units", ".parquet"))
        ]
        for shard in range(2):
            write_cuts(paths[0][shard], self.cuts[shard])
            write_table(paths[1][shard], self.aligned[shard], ALIGNMENT)
            write_table(paths[2][shard], self.units[shard], UNITS)
        return paths

    def select(self, max_rejected: float = 0.5) -> Path:
        out = self.folder / "utterances.parquet"
        select_utterances(*self.write(), out, self.folder / "rejected.jsonl", max_rejected)
        return out

    def pack(self, name: str, clusters: int = CLUSTERS) -> Path:
        out = self.folder / name
        paths, table = self.write(), self.folder / "phone_units.parquet"
        if "confusions" in registry.get(name).needs:
            count_phone_units(*paths, table)
        pack_rung(name, self.folder / "utterances.parquet", *paths, out, OPTIONS, clusters, table)
        return out


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus(tmp_path)


def test_every_rung_sees_the_same_utterances(corpus: Corpus) -> None:
    del corpus.aligned[0][4], corpus.units[1][7]  # an utterance that an earlier stage left out is left out everywhere
    selected = read_table(corpus.select(), UTTERANCES)
    ids = selected.column("id").to_pylist()
    assert len(ids) == 58 and "u0-4" not in ids and "u1-7" not in ids
    assert ids == sorted(ids, key=lambda i: (i[1], int(i[3:])))  # as in the cuts
    frames = dict(zip(ids, selected.column("frames").to_pylist()))
    for name in registry.names():
        folder = corpus.pack(name)
        seen = []
        for split in ("train", "valid", "test"):
            data = TokenData(folder, split)
            seen += data.ids
            for number, utterance in enumerate(data.ids):
                tokens = data.utterance(number)
                assert tokens[0] == BOS and tokens[-1] == EOS and not set(tokens[1:-1]) & set(range(4))
                if name in ("phone-repeat", "speech-hubert"):
                    assert len(tokens) - 2 == frames[utterance]
        assert sorted(seen) == sorted(ids)
        meta = read_json(folder / "meta.json")
        assert sum(meta["utterances"].values()) == 58
        assert meta["tokens"]["train"] == len(TokenData(folder, "train").tokens)
        assert meta["seconds"]["train"] == pytest.approx(TokenData(folder, "train").seconds.sum())


@pytest.mark.parametrize("name", ["text-bpe", "phone-bpe", "speech-hubert"])
def test_tokens_decode_to_the_utterance(corpus: Corpus, name: str) -> None:
    from tokenizers import Tokenizer

    corpus.select()
    folder = corpus.pack(name)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer" / "tokenizer.json"))
    data = TokenData(folder, "valid")
    expected = {
        "text-bpe": {c.id: f"# {c.text}" for cuts in corpus.cuts for c in cuts},
        "phone-bpe": {a["id"]: " ".join(p["label"] for p in a["phones"]) for rows in corpus.aligned for a in rows},
        "speech-hubert": {u["id"]: " ".join(f"u{x}" for x in u["units"]) for rows in corpus.units for u in rows},
    }[name]
    for number, utterance in enumerate(data.ids):
        assert tokenizer.decode(data.utterance(number).tolist()) == expected[utterance]


def test_packing_twice_gives_the_same_bytes(corpus: Corpus) -> None:
    corpus.select()
    before = {p: p.read_bytes() for p in corpus.pack("phone-bpe").rglob("*") if p.is_file()}
    after = {p: p.read_bytes() for p in corpus.pack("phone-bpe").rglob("*") if p.is_file()}
    assert before == after and len(before) == 11


def test_bpe_learns_from_an_even_sample_of_train(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    path = corpus.select()
    train = [row["id"] for row in read_table(path, UTTERANCES).to_pylist() if row["split"] == "train"]
    for most, step in ((1000, 1), (39, 2), (20, 2), (13, 4), (1, 40)):
        monkeypatch.setattr("speechladder.rungs.pack.BPE_SAMPLE", most)
        assert len(train) == 40 and _sample_of_train(path).column("id").to_pylist() == train[::step]


def test_rows_out_of_the_order_of_shards_are_refused(corpus: Corpus) -> None:
    table = read_table(corpus.select(), UTTERANCES)
    read = read_utterances(table.take(list(range(len(table)))[::-1]), *corpus.write(), ["units"], OPTIONS)
    with pytest.raises(UserError, match="not in the order of the shards"):
        list(read)
    with pytest.raises(UserError, match="names shard 1, but 1 shards were given"):
        list(read_utterances(table, *(paths[:1] for paths in corpus.write()), ["units"], OPTIONS))


def test_one_function_and_one_line_are_a_rung(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "RUNGS", dict(registry.RUNGS))

    @registry.rung("unit-pairs", needs="units", bpe=60)
    def unit_pairs(utterance: Utterance) -> list[str]:
        return [f"{a}+{b}" for a, b in pairwise(utterance.units // 8)]

    corpus.select()
    data = TokenData(corpus.pack("unit-pairs"), "train")
    assert data.meta["vocab_size"] == 60 and data.meta["tokens_per_second"] > 0
    items, units = write_items(corpus.folder)
    assert tokenize_items(corpus.folder / "unit-pairs", items, units, corpus.folder / "out.parquet") == 4


def write_items(folder: Path, word: str = "dog") -> tuple[Path, Path]:
    rows, units = [], []
    for voice in ("a", "b"):
        for correct in (True, False):
            said = word if correct else "dgo"
            phones = [Span(p, i / 10, (i + 1) / 10) for i, p in enumerate(random.Random(said).choices(ARPABET, k=5))]
            name = f"1|{'good' if correct else 'bad'}|{voice}"
            rows.append(
                {
                    "item": name, "id": "1", "voice": voice, "correct": correct, "type": "t", "text": said,
                    "words": as_rows([Span(said, 0, 0.5)]), "phones": as_rows(phones), "seconds": 0.5,
                    "audio": encode_flac(np.zeros(8000, np.float32)),
                }
            )  # fmt: skip
            units.append({"id": name, "units": [3] * frame_count(8000)})
    write_table(folder / "items.parquet", rows, ITEMS)
    write_table(folder / "item_units.parquet", units, UNITS)
    return folder / "items.parquet", folder / "item_units.parquet"


def test_items_are_tokenized_as_the_corpus_is(corpus: Corpus) -> None:
    corpus.select()
    items, units = write_items(corpus.folder)
    out = corpus.folder / "out.parquet"
    for name, length in (("text-raw", 3), ("phone-raw", 5), ("phone-repeat", 24), ("speech-hubert-dedup", 1)):
        assert tokenize_items(corpus.pack(name), items, units, out) == 4
        tokens = dict(zip(*read_table(out, ITEM_TOKENS).to_pydict().values()))
        assert list(tokens) == ["1|good|a", "1|bad|a", "1|good|b", "1|bad|b"]
        assert all(row[0] == BOS and len(row) == 1 + length and EOS not in row for row in tokens.values())
    items, units = write_items(corpus.folder, "d0g")
    with pytest.raises(UserError, match=r"2 of 4 items cannot be said on rung text-raw.*'0' \(2\)"):
        tokenize_items(corpus.folder / "text-raw", items, units, out)
    write_table(units, [{"id": "1|good|a", "units": [3] * 23}], UNITS)
    with pytest.raises(UserError, match="23 frames of units, its audio has 24 frames"):
        tokenize_items(corpus.folder / "speech-hubert-dedup", items, units, out)


def test_phones_and_units_are_counted_over_the_train_split(corpus: Corpus) -> None:
    corpus.aligned[0][0]["phones"][1]["label"] = "AH1"
    del corpus.aligned[1][1]
    count_phone_units(*corpus.write(), corpus.folder / "phone_units.parquet")
    expected = Counter()
    for cuts, aligned, units in zip(corpus.cuts, corpus.aligned, corpus.units):
        phones, encoded = (
            {row["id"]: row[key] for row in rows} for rows, key in ((aligned, "phones"), (units, "units"))
        )
        for cut in (c for c in cuts if c.split == "train" and c.id in phones):
            for frame, unit in enumerate(encoded[cut.id]):
                centre = (320 * frame + 200) / 16000 + 1e-6
                label = [p["label"] for p in phones[cut.id] if p["start"] <= centre][-1]
                expected[label.rstrip("012"), unit] += 1
    rows = read_table(corpus.folder / "phone_units.parquet", PHONE_UNITS).to_pylist()
    assert [tuple(row.values()) for row in rows] == sorted((*pair, frames) for pair, frames in expected.items())
    for cuts in corpus.cuts:
        cuts[:] = [Cut(**{**vars(cut), "split": "valid"}) for cut in cuts]
    with pytest.raises(UserError, match="no train utterance is both in"):
        count_phone_units(*corpus.write(), corpus.folder / "none.parquet")


def test_units_of_segments_are_counted_by_the_frame(corpus: Corpus) -> None:
    cuts, aligned, units = corpus.write()
    count_phone_units(cuts, aligned, units, corpus.folder / "frames.parquet")
    for path in units:
        rows = read_table(path, UNITS).to_pylist()
        for row in rows:
            runs = [(unit, len(list(run))) for unit, run in groupby(row["units"])]
            row |= {"seconds": (320 * len(row["units"]) + 80) / 16000} | dict(zip(("units", "durations"), zip(*runs)))
        write_table(path, rows, EXTERNAL_UNITS, rate="50", segments="phone")
    count_phone_units(cuts, aligned, units, corpus.folder / "segments.parquet")
    frames, segments = (read_table(corpus.folder / f"{name}.parquet", PHONE_UNITS) for name in ("frames", "segments"))
    assert segments.to_pylist() == frames.to_pylist()


def test_items_are_confused_by_the_table_of_the_corpus(corpus: Corpus) -> None:
    corpus.select()
    folder, out = corpus.pack("phone-confused"), corpus.folder / "out.parquet"
    (corpus.folder / "phone_units.parquet").unlink()  # the folder has its own
    assert tokenize_items(folder, *write_items(corpus.folder), out) == 4
    assert all(len(row) == 1 + 24 for row in read_table(out, ITEM_TOKENS).column("tokens").to_pylist())
    with pytest.raises(UserError, match="phone-confused: --confusions is missing"):
        pack_rung("phone-confused", corpus.folder / "utterances.parquet", *corpus.write(), folder, OPTIONS)


def test_items_are_drawn_by_the_seed_of_the_corpus(corpus: Corpus) -> None:
    corpus.select()
    items, drawn, files = write_items(corpus.folder), {}, corpus.write()
    for seed in (0, 1):
        folder = corpus.folder / f"seed{seed}"
        pack_rung("random-units", corpus.folder / "utterances.parquet", *files, folder, OPTIONS, CLUSTERS, seed=seed)
        assert read_json(folder / "meta.json")["settings"]["seed"] == seed
        tokenize_items(folder, *items, corpus.folder / "out.parquet")
        drawn[seed] = read_table(corpus.folder / "out.parquet", ITEM_TOKENS).column("tokens").to_pylist()
        data = TokenData(folder, "train")
        assert len(data.utterance(0)) - 2 == frame_count(round(data.seconds[0] * 16000))
    assert [len(row) for row in drawn[0]] == [len(row) for row in drawn[1]] and drawn[0] != drawn[1]
    assert "seed" not in read_json(corpus.pack("speech-hubert") / "meta.json")["settings"]


def test_utterances_whose_parts_differ_are_rejected_with_the_reason(corpus: Corpus) -> None:
    corpus.units[0][0]["units"] += [0] * 5
    corpus.aligned[0][1]["seconds"] += 1
    corpus.aligned[0][2]["phones"][1]["label"] = "XX"
    corpus.cuts[1][0] = Cut(**{**vars(corpus.cuts[1][0]), "text": "caf\u00e9"})
    corpus.cuts[1].append(corpus.cuts[1][5])
    ids = read_table(corpus.select(), UTTERANCES).column("id").to_pylist()
    reasons = {row["id"]: row["reason"] for row in read_jsonl(corpus.folder / "rejected.jsonl")}
    assert len(ids) == len(set(ids)) == 56
    for name, reason in (
        ("u0-0", "frames of units, but the audio has"),
        ("u0-1", "alignment of"),
        ("u0-2", "phones that phone rungs lack: XX"),
        ("u1-0", "characters that text rungs lack: \u00e9"),
        ("u1-5", "duplicate id"),
    ):
        assert reason in reasons[name]
    with pytest.raises(UserError, match=r"corpus\.max_rejected"):
        corpus.select(max_rejected=0.01)


def test_an_empty_split_names_the_setting(corpus: Corpus) -> None:
    corpus.cuts = [[Cut(**{**vars(c), "split": "train"}) for c in cuts] for cuts in corpus.cuts]
    with pytest.raises(UserError, match=r"split 'valid'.*corpus\.valid_fraction"):
        corpus.select()


def test_mistakes_are_named(corpus: Corpus) -> None:
    corpus.select()
    with pytest.raises(UserError, match=r"outside its alphabet of 10.*units\.clusters"):
        corpus.pack("speech-hubert", clusters=10)
    assert not (corpus.folder / "speech-hubert").exists()
    folder = corpus.pack("text-raw")
    path = folder / "train.bin"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(UserError, match=r"train\.bin.*truncated"):
        TokenData(folder, "train")
    path.unlink()
    with pytest.raises(UserError, match=r"train\.bin: no such file"):
        TokenData(folder, "train")
    corpus.cuts.reverse()
    with pytest.raises(UserError, match="missing; give the shards in order"):
        corpus.pack("text-raw")


def test_index_says_where_utterances_lie(corpus: Corpus) -> None:
    corpus.select()
    folder = corpus.pack("text-raw")
    index = read_table(folder / "valid.parquet", TOKEN_INDEX).to_pylist()
    texts = {c.id: c.text for cuts in corpus.cuts for c in cuts}
    at = 0
    for row in index:
        assert (row["offset"], row["length"]) == (at, len("#" + texts[row["id"]]) + 2)
        at += row["length"]
    assert (folder / "valid.bin").stat().st_size == 2 * at
