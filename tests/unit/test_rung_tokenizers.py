"""Tokenizers: the ids of SentencePiece, loading by AutoTokenizer, fixed alphabets."""

import gzip
import random
import string
from pathlib import Path

import pytest

from speechladder.corpora.phones import ARPABET, SIL
from speechladder.corpora.text import normalise
from speechladder.corpora.world import documents
from speechladder.io.errors import UserError
from speechladder.rungs import registry, tokenizers
from speechladder.rungs.functions import PAUSE_MARK, characters, phone_alphabet
from speechladder.rungs.registry import SPACE
from speechladder.rungs.tokenizers import BOS, UNK, Codec
from speechladder.settings import Tokens

OPTIONS = Tokens(text_vocab=200, phone_vocab=200)
LETTERS = string.ascii_lowercase


def made_up_text(seed: int, lines: int) -> list[str]:
    """Lines of frequent and rare invented words, some with apostrophes."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("etaoinshrdlu'", k=rng.randint(1, 8))).strip("'") or "a" for _ in range(150)]
    return [" ".join(rng.choices(words, range(150, 0, -1), k=rng.randint(1, 12))) for _ in range(lines)]


def made_up_phones(seed: int, lines: int) -> list[list[str]]:
    rng = random.Random(seed)
    words = [rng.choices(ARPABET, k=rng.randint(1, 6)) for _ in range(100)] + [[SIL]] * 20
    return [[p for word in rng.choices(words, k=rng.randint(1, 15)) for p in word] for _ in range(lines)]


def built(tmp_path: Path, name: str, train: list[list[str]], clusters: int = 50, options: Tokens = OPTIONS) -> Path:
    rung = registry.get(name)
    tokenizers.build(rung, rung.alphabet(options, clusters), options, train, tmp_path / name)
    return tmp_path / name


def both(folder: Path):
    import sentencepiece
    from tokenizers import Tokenizer

    ours = Tokenizer.from_file(str(folder / "tokenizer.json"))
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(folder / "sentencepiece.model"))
    return lambda s: ours.encode(s, add_special_tokens=False).ids, theirs.encode, theirs


def as_symbols(text: str) -> list[str]:
    return list(text.replace(" ", SPACE))


def check_text(folder: Path, lines: list[str]) -> None:
    ours, theirs, _ = both(folder)
    codec = Codec(folder)
    rng = random.Random(1)
    odd = [
        "",
        " ",
        "a",
        "'",
        "  two  spaces ",
        "café",
        "xé漢é y",
        "\tA b",
        "zzqx qqq jjvw",
        "aaaaaaaaaaaaa",
        "abababababa",
    ]
    noise = ["".join(rng.choices(LETTERS + " '", k=rng.randint(1, 60))) for _ in range(1000)]
    few = ["".join(rng.choices("et ", k=rng.randint(1, 40))) for _ in range(1000)]
    strange = ["".join(rng.choices(LETTERS + "  '\u00e9\u6f22\U0001f600Z9", k=rng.randint(1, 40))) for _ in range(500)]
    for text in [*lines, *odd, *noise, *few, *strange]:
        assert ours(text) == theirs(text), text
    clean = [" ".join(text.split()) for text in [*lines, *noise, *few]]
    assert list(codec.encode(map(as_symbols, clean))) == [theirs(text) for text in clean]


def test_text_ids_equal_those_of_sentencepiece(tmp_path: Path) -> None:
    folder = built(tmp_path, "text-bpe", [as_symbols(t) for t in made_up_text(0, 400)])
    assert both(folder)[2].vocab_size() == Codec(folder).vocab_size == 200
    check_text(folder, made_up_text(1, 400))


def test_a_pause_in_text_is_one_piece_and_never_merges(tmp_path: Path) -> None:
    rng = random.Random(3)
    lines = [
        " ".join(w for word in t.split() for w in [word, "#"][: 1 + (rng.random() < 0.2)]) for t in made_up_text(0, 400)
    ]
    lines = [f"# {line}" for line in lines]
    folder = built(tmp_path, "text-bpe", [as_symbols(t) for t in lines])
    check_text(folder, lines[:100])
    pieces = both(folder)[2]
    marked = [p for i in range(4, pieces.vocab_size()) if PAUSE_MARK in (p := pieces.id_to_piece(i))]
    assert sorted(marked) == [PAUSE_MARK, SPACE + PAUSE_MARK]
    for line, ids in zip(lines, Codec(folder).encode(map(as_symbols, lines))):
        assert ids.count(pieces.piece_to_id(SPACE + PAUSE_MARK)) == line.count(PAUSE_MARK)


def check_prose(folder: Path, lines: list[str]) -> None:
    """A tokenizer of one half of the lines, on the other half."""
    half = len(lines) // 2
    built(folder, "text-bpe", [as_symbols(t) for t in lines[:half]], options=Tokens(text_vocab=2048))
    check_text(folder / "text-bpe", lines[half:])


def test_text_ids_equal_those_of_sentencepiece_on_english(tmp_path: Path) -> None:
    """The documents of the world, which are the same everywhere."""
    lines = [n for d in documents(0, 40_000) for s in d.sentences if (n := normalise(s))]
    assert sum(map(len, lines)) > 100_000
    check_prose(tmp_path, lines)


@pytest.mark.shared
def test_text_ids_equal_those_of_sentencepiece_on_a_book(tmp_path: Path, shared_data: Path) -> None:
    book = gzip.decompress(sorted((shared_data / "gutenberg_text").glob("*.gz"))[0].read_bytes()).decode()
    check_prose(tmp_path, [n for line in book[20_000:400_000].split("\n\n") if (n := normalise(line))])


def test_phone_ids_equal_those_of_sentencepiece(tmp_path: Path) -> None:
    folder = built(tmp_path, "phone-bpe", made_up_phones(0, 400))
    _, theirs, pieces = both(folder)
    ours = both(folder)[0]
    signs = tokenizers.as_characters(phone_alphabet(OPTIONS, 0))
    lines = made_up_phones(1, 500) + [random.Random(i).choices(list(signs), k=40) for i in range(500)]
    for symbols, ids in zip(lines, Codec(folder).encode(lines)):
        assert ids == theirs("".join(map(signs.__getitem__, symbols))) == ours(" ".join(symbols))
    silence = pieces.piece_to_id(signs[SIL])
    alone = [pieces.id_to_piece(i) for i in range(4, pieces.vocab_size()) if signs[SIL] in pieces.id_to_piece(i)]
    assert alone == [signs[SIL]] and silence > UNK  # a pause never merges
    assert max(len(pieces.id_to_piece(i)) for i in range(4, pieces.vocab_size())) > 2  # phones do


@pytest.mark.parametrize("name", ["text-bpe", "text-raw", "phone-bpe", "phone-raw", "speech-hubert"])
def test_transformers_loads_and_decodes(tmp_path: Path, name: str) -> None:
    from transformers import AutoTokenizer

    if name.startswith("text"):
        texts = made_up_text(2, 100)
        lines = [as_symbols(t) for t in texts]
    elif name.startswith("phone"):
        lines = made_up_phones(2, 100)
        texts = [" ".join(line) for line in lines]
    else:
        lines = [[f"u{i * j % 50}" for i in range(9)] for j in range(100)]
        texts = [" ".join(line) for line in lines]
    folder = built(tmp_path, name, lines)
    tokenizer, codec = AutoTokenizer.from_pretrained(folder), Codec(folder)
    assert [tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id] == [
        0,
        1,
        2,
        3,
    ]
    assert len(tokenizer) == codec.vocab_size
    for text, ids in zip(texts, codec.encode(lines)):
        assert tokenizer(text)["input_ids"] == [BOS, *ids]
        assert tokenizer.decode(ids) == text
        assert UNK not in ids


def test_training_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (built(tmp_path / str(i), "phone-bpe", made_up_phones(0, 200)) for i in (1, 2))
    for file in first.iterdir():
        assert file.read_bytes() == (second / file.name).read_bytes(), file.name


def test_a_small_corpus_gives_a_smaller_vocabulary_with_the_whole_alphabet(tmp_path: Path) -> None:
    folder = built(tmp_path, "text-bpe", [as_symbols("a cat sat")], options=Tokens(text_vocab=1000))
    codec = Codec(folder)
    assert codec.vocab_size < 100
    (ids,) = codec.encode([as_symbols("quiz o'clock")])
    assert UNK not in ids
    codec = Codec(built(tmp_path, "phone-raw", []))
    assert [UNK not in ids for ids in codec.encode([[SIL, *ARPABET], ["XX"]])] == [True, False]


def test_an_unusable_vocabulary_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"tokens\.phone_vocab: 40 is too small"):
        built(tmp_path, "phone-bpe", [["AH"]], options=OPTIONS.model_copy(update={"phone_vocab": 40}))
    with pytest.raises(UserError, match="uint16"):
        built(tmp_path, "speech-hubert", [], clusters=65_535)
    with pytest.raises(UserError, match="white space"):
        tokenizers.build(registry.get("text-raw"), ["a b"], OPTIONS, [], tmp_path / "bad")
    assert len(characters(OPTIONS, 0)) == 29  # a to z, apostrophe, space, pause
    assert len(characters(Tokens(text_pauses=False), 0)) == 28
