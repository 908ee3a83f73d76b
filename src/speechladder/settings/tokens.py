"""The settings of the rungs' alphabets."""

from pydantic import Field, model_validator

from speechladder.settings.section import Section

PAPER_RUNGS = ("text-bpe", "text-raw", "phone-bpe", "phone-raw", "phone-repeat", "speech-hubert")
PHONES = 45  # ids of a phone rung: 39 phones, SIL, the word boundary, 4 specials (rungs.functions.phone_alphabet)
STRESSED_PHONES = PHONES + 45  # and 15 vowels with each of 3 stress digits


class Tokens(Section):
    """The rungs' alphabets. Of these, the paper states only the vocabulary size."""

    text_vocab: int = Field(512, ge=32, le=65_000, description="SentencePiece BPE pieces of text-bpe (paper: 2048).")
    phone_vocab: int = Field(512, ge=32, le=65_000, description="SentencePiece BPE pieces of phone-bpe (paper: 2048).")
    unit_vocab: int = Field(512, ge=32, le=65_000, description="SentencePiece BPE pieces of unit-bpe.")
    stress: bool = Field(
        False, description="Keep the digits of lexical stress on vowels (AH0, AH1), if the aligner knows them."
    )
    silence: bool = Field(
        True,
        description="Keep pauses as SIL in phone-bpe and phone-raw. phone-repeat always keeps them, because its frames must add "
        "up to the duration.",
    )
    text_pauses: bool = Field(
        True,
        description="Put a mark into text-bpe and text-raw where phone-raw has SIL (none with silence: false), so that text and "
        "phones show the same pauses. Without it, phones know more of the sentence ends than text does.",
    )
    word_boundary: bool = Field(
        False, description="Put a symbol for the word boundary between the words of phone-bpe and phone-raw."
    )

    @model_validator(mode="after")
    def _holds_the_phones(self) -> "Tokens":
        least = STRESSED_PHONES if self.stress else PHONES
        if self.phone_vocab < least:
            why = " and vowels with stress" if self.stress else ""
            raise ValueError(f"phone_vocab: {self.phone_vocab} does not hold the phones{why}; at least {least}")
        return self
