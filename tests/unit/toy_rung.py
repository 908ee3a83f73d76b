"""A tiny rung in the schemas of the artefacts, for tests of the readers of tokens/{rung}."""

from pathlib import Path

import numpy as np

from speechladder.io.files import write_json
from speechladder.io.tables import TOKEN_INDEX, write_table

VOCAB = 20


def toy_document(rng: np.random.Generator, longest: int = 40) -> list[int]:
    """`<s>` tokens `</s>`. The next token is the last plus 1 or 2, so there is something to learn."""
    ids, token = [], int(rng.integers(4, VOCAB))
    for _ in range(int(rng.integers(3, longest))):
        ids.append(token)
        token = 4 + (token - 4 + int(rng.integers(1, 3))) % (VOCAB - 4)
    return [1, *ids, 2]


def write_rung(folder: Path, train: int = 60, valid: int = 12, seed: int = 0, noise: bool = False) -> Path:
    """Write tokens/{rung} with toy documents; `noise` makes validation documents differ from training ones."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    meta = {"rung": "toy", "vocab_size": VOCAB, "pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3}
    meta |= {"tokens_per_second": 10.0, "tokens": {}, "seconds": {}, "utterances": {}}
    for split, count in (("train", train), ("valid", valid)):
        documents = [toy_document(rng) for _ in range(count)]
        if noise and split == "valid":
            documents = [[1, *rng.integers(4, VOCAB, len(d) - 2).tolist(), 2] for d in documents]
        rows, offset = [], 0
        for i, ids in enumerate(documents):
            rows.append({"id": f"{split}-{i}", "offset": offset, "length": len(ids), "seconds": len(ids) / 10})
            offset += len(ids)
        np.concatenate(documents).astype(np.uint16).tofile(folder / f"{split}.bin")
        write_table(folder / f"{split}.parquet", rows, TOKEN_INDEX)
        meta["tokens"][split], meta["utterances"][split] = offset, count
        meta["seconds"][split] = sum(row["seconds"] for row in rows)
    write_json(folder / "meta.json", meta)
    words = ["<pad>", "<s>", "</s>", "<unk>", *(f"t{i}" for i in range(4, VOCAB))]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = dict(zip(("pad_token", "bos_token", "eos_token", "unk_token"), words))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder / "tokenizer")
    return folder
