"""The rungs beside the ladder, against brute force over frames, phones and words."""

from collections import Counter
from dataclasses import replace
from itertools import groupby

import numpy as np
import pytest

from speechladder.alignment.frames import frame_centres
from speechladder.corpora.phones import ARPABET, SIL
from speechladder.io.errors import UserError
from speechladder.io.spans import Span
from speechladder.io.tables import PHONE_UNITS, write_table
from speechladder.lm.curriculum import make_batches, spelled_ids
from speechladder.rungs import causes, registry
from speechladder.rungs.causes import EVEN_FRAMES, STRETCH, TEXT, UNITS
from speechladder.rungs.confusions import Confusions
from speechladder.rungs.registry import SPACE, Utterance
from speechladder.settings import LM, Tokens
from speechladder.units.diagnostics.quality import purities

CLUSTERS = 5
FRAME_RUNGS = {
    *("phone-repeat", "speech-hubert"),
    *("phone-repeat-even", "phone-confused", "unit-vote", "unit-words", "text-units", "random-units"),
}


def utterance(seed: int, split: str | None = "train", **options: bool) -> Utterance:
    """Words of 1 to 3 phones of 0 to 7 frames, with pauses, and units of any kind."""
    rng = np.random.default_rng(seed)
    phones, words, text, at = [Span(SIL, 0.0, 0.05)], [], [], 0.05
    for _ in range(int(rng.integers(1, 30))):
        start = at
        for number, phone in enumerate(rng.choice(ARPABET, int(rng.integers(1, 4)))):
            lasts = int(rng.integers(number == 0, 8)) / 50 + 0.003  # each word has a frame, not each phone
            phones.append(Span(str(phone), at, at := round(at + lasts, 4)))
        text.append("".join(rng.choice([*"abl'"], int(rng.integers(1, 5)))))
        words.append(Span(text[-1], start, at))
        if rng.random() < 0.3:
            phones.append(Span(SIL, at, at := round(at + 0.1, 4)))
    frames = int(at * 50)
    units = rng.integers(0, CLUSTERS, frames).astype(np.uint16)
    return Utterance(f"u{seed}", " ".join(text), words, phones, units, frames, at, Tokens(**options), split=split)


def said(name: str, of: Utterance) -> list[str]:
    return registry.get(name).function(of)


def frames_of(of: Utterance) -> list[list[int]]:
    """The frames of each phone: a frame belongs to the last phone that has begun at its centre."""
    out = [[] for _ in of.phones]
    for frame, centre in enumerate(frame_centres(of.frames)):
        out[max(i for i, p in enumerate(of.phones) if i == 0 or p.start <= centre + 1e-6)].append(frame)
    return out


def vote(units: list[int]) -> int:
    counts = Counter(units)
    return min(unit for unit in counts if counts[unit] == max(counts.values()))


@pytest.mark.parametrize("seed", range(20))
def test_the_unit_of_a_phone_is_the_most_frequent_of_its_frames(seed: int) -> None:
    of = utterance(seed)
    voted, once = said("unit-vote", of), said("unit-phone", of)
    assert len(voted) == of.frames and len(once) == len(of.phones)
    for number, frames in enumerate(frames_of(of)):
        if frames:
            expected = f"u{vote([int(of.units[f]) for f in frames])}"
            assert {voted[f] for f in frames} == {once[number]} == {expected}
    assert any(not frames for seed in range(20) for frames in frames_of(utterance(seed)))  # phones without a frame


def test_a_phone_without_a_frame_has_the_unit_that_follows_or_the_last() -> None:
    phones = [Span("K", 0.0, 0.05), Span("T", 0.05, 0.051), Span("AE1", 0.051, 0.1), Span("P", 0.1, 0.1)]
    of = Utterance("u", "cap", [], phones, np.array([1, 1, 2, 3], np.uint16), 4, 0.1)
    assert frames_of(of) == [[0, 1], [], [2, 3], []]
    assert said("unit-phone", of) == ["u1", "u2", "u2", "u3"]
    assert said("unit-vote", of) == ["u1", "u1", "u2", "u2"]


def test_even_phones_have_no_durations() -> None:
    of = utterance(0)
    runs = said("phone-repeat-even", of)
    assert runs == [p.label for p in of.phones for _ in range(EVEN_FRAMES)]
    assert SIL in runs


def test_bpe_of_units_reads_each_run_once() -> None:
    of = utterance(1)
    assert said("unit-bpe", of) == [unit for unit, _ in groupby(said("speech-hubert", of))]
    assert registry.get("unit-bpe").bpe_size(Tokens(unit_vocab=99)) == 99


def test_units_that_are_no_frames_are_refused() -> None:
    of = replace(utterance(2), units=np.zeros(3, np.uint16))
    for name in ("unit-vote", "unit-phone", "unit-words", "text-units"):
        with pytest.raises(UserError, match=r"'u2': 3 units in .* frames"):
            said(name, of)


# --- confusions ---

PHONES = ["AH", "K", SIL]
COUNTS = np.array([[6, 0, 2, 2], [2, 0, 5, 3], [0, 7, 1, 2]])  # units are AH's, SIL's, K's and K's


def confusions(folder) -> Confusions:
    rows = [
        {"phone": PHONES[p], "unit": int(u), "frames": int(COUNTS[p, u])}
        for p in (1, 0, 2)
        for u in range(4)
        if COUNTS[p, u]
    ]
    write_table(folder / "phone_units.parquet", rows, PHONE_UNITS)
    return Confusions.read(folder / "phone_units.parquet")


def test_a_phone_is_heard_as_its_units_say(tmp_path) -> None:
    found, draws = confusions(tmp_path), 20_000
    for phone, row in zip(PHONES, COUNTS):
        heard = Counter(found.heard(phone, "u", number) for number in range(draws))
        expected = {"AH": row[0], SIL: row[1], "K": row[2] + row[3]}
        for other in PHONES:
            assert heard[other] / draws == pytest.approx(expected[other] / row.sum(), abs=0.015)
    assert found.heard("ZH", 0) == "ZH"


def test_the_share_of_true_phones_is_the_purity_of_the_units(tmp_path) -> None:
    found, draws = confusions(tmp_path), 20_000
    share = COUNTS.sum(axis=1) / COUNTS.sum()
    kept = [np.mean([found.heard(phone, number) == phone for number in range(draws)]) for phone in PHONES]
    assert share @ kept == pytest.approx(purities(COUNTS)["phone_purity"], abs=0.01)


def test_a_confusion_lasts_as_long_as_its_phone(tmp_path) -> None:
    phones = [Span(("K", "AH1", SIL)[i % 3], i / 10, (i + 1) / 10) for i in range(300)]
    of = Utterance("u", "a", [], phones, None, 1499, 30.0, confusions=confusions(tmp_path))
    symbols = said("phone-confused", of)
    assert len(symbols) == of.frames and set(symbols) == {*PHONES}
    assert all(len({symbols[f] for f in frames}) == 1 for frames in frames_of(of))
    assert symbols == said("phone-confused", of) != said("phone-repeat", of)
    assert symbols != said("phone-confused", replace(of, id="other"))
    stressed = said("phone-confused", replace(of, options=Tokens(stress=True)))
    assert set(stressed) <= {*registry.get("phone-confused").alphabet(Tokens(stress=True), 0)}
    assert {"AH0", "AH1"} <= set(stressed)  # heard for a consonant, and heard right


def test_an_empty_table_is_named(tmp_path) -> None:
    write_table(tmp_path / "empty.parquet", [], PHONE_UNITS)
    with pytest.raises(UserError, match=r"empty\.parquet: no frame was counted"):
        Confusions.read(tmp_path / "empty.parquet")


# --- random units ---


def test_random_units_are_uniform_and_know_the_id_and_the_seed_alone() -> None:
    of = Utterance("u", "", [], [], None, 20_000, 400.0, seed=3, clusters=7)
    symbols = said("random-units", of)
    counts = Counter(symbols)
    assert set(counts) == {*registry.get("random-units").alphabet(Tokens(), 7)} and len(symbols) == 20_000
    assert max(abs(count / 20_000 - 1 / 7) for count in counts.values()) < 0.02
    spoken = replace(of, text="a", units=np.zeros(20_000, np.uint16), phones=[Span(SIL, 0.0, 400.0)])
    assert said("random-units", spoken) == symbols
    for change in ({"id": "v"}, {"seed": 4}):
        others = said("random-units", replace(of, **change))
        assert np.mean([a == b for a, b in zip(symbols, others)]) == pytest.approx(1 / 7, abs=0.02)


# --- words ---


@pytest.mark.parametrize("seed", range(10))
def test_a_boundary_follows_each_word_but_the_last(seed: int) -> None:
    of, expected = utterance(seed), []
    ends = [word.end for word in of.words[:-1]]
    for frame, centre in enumerate(frame_centres(of.frames)):
        while ends and ends[0] <= centre + 1e-6:
            expected.append("|")
            ends.pop(0)
        expected.append(f"u{of.units[frame]}")
    assert said("unit-words", of) == [*expected, *("|" for _ in ends)]


@pytest.mark.parametrize("options", [{}, {"text_pauses": False}])
@pytest.mark.parametrize("seed", range(20))
def test_stretches_of_text_and_units_make_the_utterance(seed: int, options: dict[str, bool]) -> None:
    of = utterance(seed, **options)
    symbols, raw = said("text-units", of), "".join(said("text-raw", of)).replace(SPACE, "|")
    marks = [i for i, symbol in enumerate(symbols) if symbol in (TEXT, UNITS)]
    assert marks[0] == 0
    assert [a != b for a, b in zip([symbols[i] for i in marks], [symbols[i] for i in marks[1:]])] == [True] * (
        len(marks) - 1
    )
    # each stretch, by brute force over the number of its words
    starts = [0, *(next((f for f, c in enumerate(frame_centres(of.frames)) if w.start <= c + 1e-6), of.frames)
                   for w in of.words[1:]), of.frames]  # fmt: skip
    word, letters = 0, 0
    for begin, end in zip(marks, [*marks[1:], len(symbols)]):
        stretch, fits = symbols[begin + 1 : end], []
        for more in range(1, min(STRETCH, len(of.words) - word) + 1):
            last = word + more == len(of.words)
            chars = len("|".join(of.text.split()[: word + more])) + (not last)
            pauses = raw.startswith("#")  # the mark at the start has no word before it
            text = raw[letters:] if last else raw[letters : chars + pauses]
            units = [f"u{u}" for u in of.units[starts[word] : starts[word + more]]]
            if stretch == (units if symbols[begin] == UNITS else [*text]):
                fits.append((more, len(raw) if last else chars + pauses))
        assert fits
        more, letters = fits[-1]
        word += more
    assert word == len(of.words)


def test_both_kinds_come_first_and_lengths_differ() -> None:
    found = [said("text-units", utterance(seed)) for seed in range(40)]
    assert {symbols[0] for symbols in found} == {TEXT, UNITS}
    alphabet = registry.get("text-units").alphabet(Tokens(), CLUSTERS)
    assert {symbol for symbols in found for symbol in symbols} <= {*alphabet} and len(set(alphabet)) == len(alphabet)


@pytest.mark.parametrize("split", ["valid", "test", None])
def test_items_and_validation_are_units_only(split: str | None) -> None:
    of = utterance(3, split=split)
    assert said("text-units", of) == [UNITS, *said("speech-hubert", of)]


def test_text_of_other_words_is_named() -> None:
    of = replace(utterance(4, text_pauses=False), text="one")
    with pytest.raises(UserError, match=r"'u4': 1 words of text, \d+ in the alignment"):
        said("text-units", of)


# --- the curriculum ---


def test_the_curriculum_is_for_rungs_with_a_token_per_frame() -> None:
    assert {name for name in registry.names() if registry.get(name).per_frame} == FRAME_RUNGS
    beside = {name for name in registry.names() if registry.get(name).function.__module__ == causes.__name__}
    assert len(beside) == 8 and not any(registry.get(name).transcribed_as for name in beside)


class Data:
    """Documents of the rung text-units: <s> <text> a l l | <units> u0 u0 u0 u1 u1 </s>."""

    def __init__(self) -> None:
        symbols = [TEXT, *"all", "|", UNITS, "u0", "u0", "u0", "u1", "u1"]
        alphabet = registry.get("text-units").alphabet(Tokens(), CLUSTERS)
        self.meta = {"settings": {"tokens": Tokens().model_dump(), "clusters": CLUSTERS}}
        self.tokens = np.array([1, *(4 + alphabet.index(s) for s in symbols), 2], np.uint16)
        self.lengths, self.offsets = np.array([len(self.tokens)]), np.array([0])
        self.names = ["<pad>", "<s>", "</s>", "<unk>", *alphabet]


def test_the_curriculum_keeps_double_letters() -> None:
    data = Data()
    spelled = {data.names[i] for i in spelled_ids(data, registry.get("text-units"))}
    assert spelled == {*"abcdefghijklmnopqrstuvwxyz'#|"}
    assert not len(spelled_ids(data, registry.get("unit-words")))
    batches = make_batches(data, "text-units", 0, LM(window=8, run_curriculum=0.3))
    once, halved, _ = (" ".join(data.names[i] for i in phase._document(0)) for phase in batches.phases)
    assert once == "<s> <text> a l l | <units> u0 u1 </s>"
    assert halved == "<s> <text> a l l | <units> u0 u0 u1 </s>"
