"""A corpus as tokens of one rung: uint16 memmaps, their index, the tokenizer and figures."""

import functools
import os
import shutil
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from speechladder.corpora.cuts import SPLITS
from speechladder.io.columns import GrowingTable, batches, growing_table
from speechladder.io.errors import UserError
from speechladder.io.files import atomic_folder, write_json
from speechladder.io.progress import progress
from speechladder.io.tables import TOKEN_INDEX, UTTERANCES, read_table
from speechladder.rungs import registry, tokenizers
from speechladder.rungs.confusions import Confusions
from speechladder.rungs.registry import Rung, Utterance
from speechladder.rungs.tokenizers import BOS, EOS, PAD, UNK, Codec
from speechladder.rungs.utterances import read_utterances
from speechladder.settings import STAGES, Settings, Tokens, Units

BPE_SAMPLE = 200_000  # the most train utterances that BPE learns from, evenly spread; far above 50 h
CONFUSIONS = "phone_units.parquet"  # the copy in the folder of a rung that needs confusions
WAITING = 10_000  # rows of an index that are collected before they become columns


def pack_rung(
    rung: str,
    utterances: Path,
    cuts: list[Path],
    alignment: list[Path],
    units: list[Path],
    out: Path,
    options: Tokens,
    clusters: int = Units().clusters,
    confusions: Path | None = None,
    seed: int = Settings().seed,
) -> None:
    """Write a corpus as tokens of one rung: tokenizer, uint16 tokens per split, their index and figures.

    The folder holds {split}.bin (uint16, each utterance `<s> tokens </s>`), {split}.parquet (TOKEN_INDEX, offsets and
    lengths in tokens), tokenizer/ and meta.json; it is written whole or not at all. It has every utterance of
    `utterances`, in that order. One shard is in memory at a time (and the BPE sample). The folder of a rung that needs
    confusions has a copy of their table, from which items are tokenised. Raise UserError if the rung returns a symbol
    outside its alphabet, if the ids do not fit uint16, or if the rung needs confusions and gets none.

    Args:
        rung: name of a registered rung
        utterances: tokens/utterances.parquet
        cuts: corpus/cuts.{shard}.jsonl.gz, all shards in order
        alignment: alignment/{shard}.parquet, in the same order
        units: units/{shard}.parquet, in the same order
        out: folder tokens/{rung} to write
        clusters: units.clusters, the size of the codebook
        confusions: units/phone_units.parquet, for a rung that needs confusions
        seed: the run's seed, for a rung that needs it
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    chosen = registry.get(rung)
    if "confusions" in chosen.needs and confusions is None:
        raise UserError(f"rung {rung}: --confusions is missing; give units/phone_units.parquet")
    table = confusions if "confusions" in chosen.needs else None
    shards, common = (cuts, alignment, units, chosen.needs, options), common_fields(chosen, table, seed, clusters)

    def train_symbols() -> Iterator[list[str]]:
        kept = _sample_of_train(utterances) if chosen.bpe else utterances
        return (chosen.function(u) for split, u in read_utterances(kept, *shards, **common) if split == "train")

    total = pc.sum(read_table(utterances, UTTERANCES, ["seconds"]).column("seconds")).as_py() or 0
    read = functools.partial(read_utterances, utterances, *shards, **common)
    pack_utterances(chosen, read, train_symbols, total, out, options, clusters, table, seed)


def common_fields(rung: Rung, confusions: Path | None, seed: int | None, clusters: int) -> dict[str, Any]:
    """The fields of Utterance that all utterances and items of a run share, of those that the rung needs."""
    found: dict[str, Any] = {"confusions": Confusions.read(confusions)} if confusions else {}
    return found | ({"seed": seed, "clusters": clusters} if "seed" in rung.needs else {})


def _sample_of_train(utterances: str | Path) -> pa.Table:
    """At most BPE_SAMPLE rows of the train split, evenly spread."""
    train = pc.equal(read_table(utterances, UTTERANCES, ["split"]).column("split"), "train")
    step, first, parts = max(1, -(-(pc.sum(train).as_py() or 0) // BPE_SAMPLE)), 0, []
    for part in batches(utterances, UTTERANCES, UTTERANCES.names):
        at = np.flatnonzero(pc.equal(part.column("split"), "train"))
        chosen = at[-first % step :: step]
        parts.append(part.take(pa.array(chosen)))
        first += len(at)
    return pa.Table.from_batches(parts, UTTERANCES)


def pack_utterances(
    rung: Rung,
    utterances: Callable[[], Iterable[tuple[str, Utterance]]],
    train_symbols: Callable[[], Iterable[list[str]]],
    seconds: float,
    out: str | Path,
    options: Tokens,
    clusters: int = 0,
    confusions: Path | None = None,
    seed: int = Settings().seed,
) -> None:
    """Write a folder like `pack_rung` from (split, utterance) in their order; `seconds` is their total, for progress.

    `confusions` is a table that is copied into the folder. `seed` is noted for a rung that needs it.
    `train_symbols()` returns the symbols from which BPE, or an alphabet that is not declared, is learnt.
    """
    with atomic_folder(out) as folder, ExitStack() as stack:
        alphabet = rung.alphabet(options, clusters) if rung.alphabet else tokenizers.learn_alphabet(train_symbols())
        tokenizers.build(rung, alphabet, options, train_symbols(), folder / "tokenizer")
        codec = Codec(folder / "tokenizer")
        files = {split: stack.enter_context((folder / f"{split}.bin").open("wb")) for split in SPLITS}
        index = {s: _Index(stack.enter_context(growing_table(folder / f"{s}.parquet", TOKEN_INDEX))) for s in SPLITS}
        meter = stack.enter_context(progress(f"tokenize {rung.name}", seconds, "h of speech per h"))
        for split, utterance, ids in _encode_all(rung, codec, utterances()):
            row = array("H", [BOS, *ids, EOS])
            row.tofile(files[split])
            index[split].add(utterance, len(row))
            meter.advance(utterance.seconds)
        for of_split in index.values():
            of_split.flush()
        tokens, counts, lasting = ({s: getattr(index[s], what) for s in SPLITS} for what in _Index.TOTALS)
        spoken = tokens["train"] - 2 * counts["train"]  # without <s> and </s>
        meta = {
            "rung": rung.name,
            "vocab_size": codec.vocab_size,
            "pad_id": PAD,
            "bos_id": BOS,
            "eos_id": EOS,
            "unk_id": UNK,
            "tokens_per_second": spoken / lasting["train"] if lasting["train"] else 0.0,
            "tokens": tokens,
            "seconds": lasting,
            "utterances": counts,
            "settings": {"tokens": options.model_dump(mode="json"), "clusters": clusters},
            "version": STAGES["tokenize_rung"].version,
        }
        if "seed" in rung.needs:
            meta["settings"]["seed"] = seed
        if confusions:
            shutil.copyfile(confusions, folder / CONFUSIONS)
        write_json(folder / "meta.json", meta)


class _Index:
    """The TOKEN_INDEX of a split, written while it grows; `tokens`, `utterances` and `seconds` are its totals."""

    TOTALS = ("tokens", "utterances", "seconds")

    def __init__(self, table: GrowingTable) -> None:
        self._table = table
        self._waiting: list[tuple[str, int, int, float]] = []
        self.tokens, self.utterances, self.seconds = 0, 0, 0

    def add(self, utterance: Utterance, length: int) -> None:
        self._waiting.append((utterance.id, self.tokens, length, utterance.seconds))
        self.tokens += length
        self.utterances += 1
        self.seconds += utterance.seconds
        if len(self._waiting) >= WAITING:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            self._table.append(dict(zip(TOKEN_INDEX.names, map(list, zip(*self._waiting)))))
        self._waiting = []


def _encode_all(
    rung: Rung, codec: Codec, utterances: Iterable[tuple[str, Utterance]]
) -> Iterator[tuple[str, Utterance, list[int]]]:
    """Yield the ids of each utterance. Raise UserError, after all of them, if some hold a symbol without an id."""
    unknown: Counter[str] = Counter()
    first, count, known = "", 0, {*codec.symbols}
    for split, utterance in utterances:
        symbols = rung.function(utterance)
        (ids,) = codec.encode([symbols])
        if UNK in ids:
            unknown.update(s for s in symbols if s not in known)
            first, count = first or utterance.id, count + 1
        yield split, utterance, ids
    if count:
        most = ", ".join(f"{s!r} ({n})" for s, n in unknown.most_common(5))
        raise UserError(
            f"rung {rung.name}: {count} utterances hold symbols outside its alphabet of {len(known)}: {most}; "
            f"first {first!r}; extend the rung's alphabet (units: units.clusters must be the codebook's)"
        )
