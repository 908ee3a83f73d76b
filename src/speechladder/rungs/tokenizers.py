"""Symbols -> ids, as a folder that transformers.AutoTokenizer loads.

Ids 0-3 are <pad> <s> </s> <unk>. A rung without BPE has one id per symbol. BPE is trained by the SentencePiece
library over one character per symbol (a letter is its own character, a phone takes one of Unicode's private use area)
and converted to a `tokenizers` BPE. The ids equal those of SentencePiece, whose model lies beside it as
`sentencepiece.model`. Text pieces stay within words; only the rung's `isolated` symbols bound pieces of other symbols.
"""

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from speechladder.io.errors import UserError
from speechladder.io.files import read_json, write_json
from speechladder.rungs.registry import SPACE, Rung
from speechladder.settings import Tokens

PAD, BOS, EOS, UNK = range(4)
SPECIALS = ("<pad>", "<s>", "</s>", "<unk>")
MAX_VOCAB = 2**16  # ids are stored as uint16
MAX_PIECE = 16  # symbols in the longest BPE piece; the default of SentencePiece


def as_characters(alphabet: Sequence[str]) -> dict[str, str]:
    """Each symbol -> one character: letters of a text themselves, others of private use (BMP, then plane 15)."""
    if SPACE in alphabet:
        return {symbol: symbol for symbol in alphabet}
    return dict(zip(alphabet, map(chr, [*range(0xE000, 0xF900), *range(0xF0000, 0xFFFFE)])))


def learn_alphabet(train: Iterable[list[str]]) -> list[str]:
    """The symbols of the train split, sorted."""
    return sorted({symbol for symbols in train for symbol in symbols})


def build(rung: Rung, alphabet: Sequence[str], options: Tokens, train: Iterable[list[str]], folder: str | Path) -> None:
    """Write the tokenizer of `rung` into `folder`; `train` (symbols per train utterance) is read only for BPE.

    Raise UserError if a symbol is not usable, if the alphabet does not fit the vocabulary, or if that exceeds uint16.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = SPACE in alphabet
    bad = [s for s in alphabet if s.split() != [s] or s in SPECIALS or (text and len(s) > 1)]
    if bad or len(set(alphabet)) != len(alphabet):
        raise UserError(
            f"rung {rung.name}: symbols must be distinct, without white space, and single letters beside {SPACE!r}; "
            f"these are not: {bad[:5]}"
        )
    size = rung.bpe_size(options)
    wanted = max(size or 0, len(SPECIALS) + len(alphabet))
    if wanted > MAX_VOCAB:
        raise UserError(f"rung {rung.name}: {wanted} ids do not fit uint16; lower its vocabulary (units.clusters)")
    if size is None:
        tokenizer = _symbol_tokenizer(alphabet)
    else:
        if wanted > size:
            raise UserError(
                f"tokens.{rung.bpe}: {size} is too small for rung {rung.name}, whose symbols and specials alone "
                f"are {wanted}; raise it"
            )
        model = train_bpe(train, alphabet, rung.isolated, size)
        (folder / "sentencepiece.model").write_bytes(model)
        tokenizer = _bpe_tokenizer(model, alphabet, rung.isolated)
    _finish(tokenizer, folder)
    write_json(folder / "symbols.json", {"symbols": list(alphabet), "bpe": size is not None})


def train_bpe(train: Iterable[list[str]], alphabet: Sequence[str], isolated: Iterable[str], size: int) -> bytes:
    """Train SentencePiece BPE and return the bytes of its model file.

    It is deterministic: one thread, nothing shuffled or sampled. `size` counts specials; a corpus with fewer pieces
    gives a smaller vocabulary.
    """
    import sentencepiece

    characters, text, model = as_characters(alphabet), SPACE in alphabet, io.BytesIO()
    isolated = [characters[s] for s in alphabet if s in set(isolated)]
    strings = ("".join(map(characters.__getitem__, symbols)) for symbols in train)
    # SentencePiece gives ids only to characters that it sees, so it sees each one of the alphabet once, alone
    once = (c for c in characters.values() if c not in isolated)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(s for s in chain(strings, once) if s),
        model_writer=model,
        model_type="bpe",
        vocab_size=size,
        hard_vocab_limit=False,
        user_defined_symbols=isolated,
        character_coverage=1.0,
        normalization_rule_name="identity",
        add_dummy_prefix=text,
        remove_extra_whitespaces=text,
        split_by_unicode_script=False,
        split_by_number=False,
        max_sentencepiece_length=MAX_PIECE,
        max_sentence_length=2**24,  # bytes; longer lines would be dropped silently
        num_threads=1,
        shuffle_input_sentence=False,
        pad_id=PAD,
        bos_id=BOS,
        eos_id=EOS,
        unk_id=UNK,
        minloglevel=2,
    )
    return model.getvalue()


def _bpe_tokenizer(model: bytes, alphabet: Sequence[str], isolated: Iterable[str]):
    """The model of SentencePiece as a `tokenizers` BPE.

    SentencePiece merges the neighbours that form the earliest learnt piece, the leftmost first; `tokenizers` merges
    pairs by rank, the leftmost first. So each split of a piece into two pieces becomes a merge, in the order of pieces.
    """
    import sentencepiece
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
    vocab = {pieces.id_to_piece(i): i for i in range(pieces.vocab_size())}
    characters, text = as_characters(alphabet), SPACE in alphabet
    single = {characters[s] for s in isolated if s in characters}
    known = {p for p in vocab if p not in single and p not in SPECIALS}
    merges = [
        (piece[:cut], piece[cut:])
        for piece in sorted((p for p in known if len(p) > 1), key=lambda p: (-pieces.get_score(vocab[p]), vocab[p]))
        for cut in range(1, len(piece))
        if piece[:cut] in known and piece[cut:] in known
    ]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True))
    if text:
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Replace(Regex("^ +| +$"), ""), normalizers.Replace(Regex(" {2,}"), " ")]
        )
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always", split=True)
        tokenizer.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme="always", split=True)
        return tokenizer
    # "HH AH SIL" in and out: symbols become characters (the longest first, so that N does not split NG) and back
    longest = sorted(characters.items(), key=lambda kv: -len(kv[0]))
    swaps = [normalizers.Replace(s, c) for s, c in longest if s != c]
    tokenizer.normalizer = normalizers.Sequence([*swaps, normalizers.Replace(Regex(r"\s+"), "")])
    if single:
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(f"[{''.join(sorted(single))}]"), "isolated")
    spaced = [decoders.Replace(c, f"{s} ") for s, c in characters.items()]
    tokenizer.decoder = decoders.Sequence([*spaced, decoders.Fuse(), decoders.Strip(" ", 0, 1)])
    return tokenizer


def _symbol_tokenizer(alphabet: Sequence[str]):
    """One id per symbol: characters of a text, or symbols separated by spaces."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    vocab = {symbol: i for i, symbol in enumerate([*SPECIALS, *alphabet])}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    if SPACE in alphabet:
        tokenizer.normalizer = normalizers.Replace(" ", SPACE)
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        tokenizer.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.Fuse()])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def _finish(tokenizer, folder: Path) -> None:
    """Mark the specials, start each sequence with <s>, and write the files that AutoTokenizer reads."""
    from tokenizers import AddedToken, processors

    tokenizer.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in SPECIALS])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", BOS)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    named = dict(zip(("pad_token", "bos_token", "eos_token", "unk_token"), SPECIALS))
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", **named, "clean_up_tokenization_spaces": False},
    )


class Codec:
    """Symbols -> ids and back by a tokenizer folder, faster than through strings.

    The ids are those that `AutoTokenizer.from_pretrained(folder)` returns for the string of the symbols, without
    specials.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        description = read_json(folder / "symbols.json")
        self.bpe: bool = description["bpe"]
        self.symbols: list[str] = description["symbols"]
        if not (folder / "tokenizer.json").is_file():
            raise UserError(f"{folder}: no tokenizer.json; delete the folder and run tokenize_rung again")
        if self.bpe:
            from tokenizers import Tokenizer, normalizers

            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._tokenizer.normalizer = normalizers.Sequence([])  # symbols are already normalised characters
            self._characters = as_characters(self.symbols)
            self.vocab_size: int = self._tokenizer.get_vocab_size()
            symbol_of = {character: symbol for symbol, character in self._characters.items()}
            pieces = {i: self._tokenizer.id_to_token(i) for i in range(len(SPECIALS), self.vocab_size)}
            self._pieces = {i: [symbol_of[character] for character in piece] for i, piece in pieces.items()}
        else:
            vocab = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
            self._ids = {symbol: vocab[symbol] for symbol in self.symbols}
            self._pieces = {i: [symbol] for symbol, i in self._ids.items()}
            self.vocab_size = len(vocab)

    def encode(self, utterances: Iterable[list[str]]) -> Iterator[list[int]]:
        """Yield the ids of each utterance's symbols; UNK for symbols outside the alphabet."""
        if not self.bpe:
            for symbols in utterances:
                yield [self._ids.get(symbol, UNK) for symbol in symbols]
            return
        for symbols in utterances:
            # U+FFFF is in no alphabet, so it becomes <unk>
            string = "".join(self._characters.get(symbol, "\uffff") for symbol in symbols)
            yield self._tokenizer.encode(string, add_special_tokens=False).ids

    def pieces(self, ids: Iterable[int]) -> list[list[str]]:
        """The symbols of each of `ids`; specials have none."""
        return [self._pieces.get(i, []) for i in ids]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """The symbols of `ids`, the inverse of `encode`; specials are dropped.

        Encoding puts a space before BPE of a text, so one at the start is dropped. The continuation of a prompt is
        therefore `decode(prompt + more)[len(decode(prompt)):]`, which keeps the space before a new word.
        """
        symbols = list(chain.from_iterable(self.pieces(ids)))
        return symbols[1:] if self.bpe and symbols[:1] == [SPACE] else symbols
