"""A corpus as tokens of one rung: uint16 memmaps, their index, the tokenizer and its figures."""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pyarrow.compute as pc

from speechladder.corpora.cuts import SPLITS
from speechladder.io.errors import UserError
from speechladder.io.files import atomic_folder, write_json
from speechladder.io.progress import progress
from speechladder.io.tables import TOKEN_INDEX, UTTERANCES, read_table, write_table
from speechladder.rungs import registry, tokenizers
from speechladder.rungs.registry import Rung, Utterance
from speechladder.rungs.tokenizers import BOS, EOS, PAD, UNK, Codec
from speechladder.rungs.utterances import read_utterances
from speechladder.settings import VERSIONS, Tokens

BPE_SAMPLE = 200_000  # train utterances that BPE learns from at most, evenly spread; far above 50 h


def pack(
    name: str,
    utterances: str | Path,
    cuts: Sequence[str | Path],
    alignments: Sequence[str | Path],
    units: Sequence[str | Path],
    out: str | Path,
    options: Tokens,
    clusters: int,
) -> None:
    """Write the folder tokens/{rung}: {split}.bin (uint16, each utterance `<s> tokens </s>`), {split}.parquet
    (TOKEN_INDEX, offsets and lengths in tokens), tokenizer/ and meta.json; whole or not at all.

    Every utterance of `utterances` is in it, in that order. Holds one shard in memory (and the BPE sample).
    Raises UserError when the rung meets a symbol outside its alphabet or the ids do not fit uint16.
    """
    rung = registry.get(name)
    table = read_table(utterances, UTTERANCES)
    train = table.filter(pc.equal(table.column("split"), "train"))
    shards = (cuts, alignments, units, rung.needs, options)

    def train_symbols() -> Iterator[list[str]]:
        kept = train.take(list(range(0, len(train), -(-len(train) // BPE_SAMPLE)))) if rung.bpe else train
        return (rung.function(u) for _, u in read_utterances(kept, *shards))

    total = pc.sum(table.column("seconds")).as_py() or 0
    pack_utterances(rung, lambda: read_utterances(table, *shards), train_symbols, total, out, options, clusters)


def pack_utterances(
    rung: Rung,
    utterances: Callable[[], Iterable[tuple[str, Utterance]]],
    train_symbols: Callable[[], Iterable[list[str]]],
    seconds: float,
    out: str | Path,
    options: Tokens,
    clusters: int = 0,
) -> None:
    """Write a folder as `pack` does from (split, utterance) in their order; `seconds` is what all last, for progress.

    `train_symbols()` gives what BPE, or an alphabet that is not declared, is learnt from.
    """
    with atomic_folder(out) as folder, ExitStack() as stack:
        alphabet = rung.alphabet(options, clusters) if rung.alphabet else tokenizers.learn_alphabet(train_symbols())
        tokenizers.build(rung, alphabet, options, train_symbols(), folder / "tokenizer")
        codec = Codec(folder / "tokenizer")
        files = {split: stack.enter_context((folder / f"{split}.bin").open("wb")) for split in SPLITS}
        index: dict[str, list[dict[str, object]]] = {split: [] for split in SPLITS}
        tokens = dict.fromkeys(SPLITS, 0)
        meter = stack.enter_context(progress(f"tokenize {rung.name}", seconds, "h of speech per h"))
        for split, utterance, ids in _encode_all(rung, codec, utterances()):
            row = array("H", [BOS, *ids, EOS])
            row.tofile(files[split])
            fields = {"id": utterance.id, "offset": tokens[split], "length": len(row), "seconds": utterance.seconds}
            index[split].append(fields)
            tokens[split] += len(row)
            meter.advance(utterance.seconds)
        for split in SPLITS:
            write_table(folder / f"{split}.parquet", index[split], TOKEN_INDEX)
        lasting = {split: sum(row["seconds"] for row in index[split]) for split in SPLITS}
        counts = {split: len(index[split]) for split in SPLITS}
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
            "version": VERSIONS["tokens"],
        }
        write_json(folder / "meta.json", meta)


def _encode_all(
    rung: Rung, codec: Codec, utterances: Iterable[tuple[str, Utterance]]
) -> Iterator[tuple[str, Utterance, list[int]]]:
    """Ids of each utterance; raises UserError, after all of them, when some hold a symbol without an id."""
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
