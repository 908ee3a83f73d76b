"""ABX on item files against a plain count of triplets, and against answers that are known."""

import math
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechladder.constants import SAMPLE_RATE
from speechladder.io.audio import frame_count
from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.io.tensors import write_tensors
from speechladder.settings import Units
from speechladder.units.diagnostics import abx, abx_items
from speechladder.units.diagnostics.abx_items import COLUMNS, frames_of, item_abx, read_items, write_item_abx

HEAD = " ".join(COLUMNS)
EVERY = {"per_cell": 0, "per_x": 0}


def angle(x: np.ndarray, y: np.ndarray) -> float:
    return math.acos(min(1.0, max(-1.0, float(x @ y / math.sqrt((x @ x) * (y @ y)))))) / math.pi


def warped(x: np.ndarray, y: np.ndarray) -> float:
    """Mean cost along the cheapest path, by recursion; real-valued costs have no ties."""
    best: dict[tuple[int, int], tuple[float, int]] = {}
    for i, j in product(range(len(x)), range(len(y))):
        before = [best[at] for at in ((i - 1, j - 1), (i - 1, j), (i, j - 1)) if at in best]
        total, steps = min(before, default=(0.0, 0))
        best[i, j] = total + angle(x[i], y[j]), steps + 1
    total, steps = best[len(x) - 1, len(y) - 1]
    return total / steps


def counted(tokens: list[abx.Token], frames: dict[int, np.ndarray], speaker: str, context: str) -> float:
    """The error in percent as fastabx defines it, triplet by triplet."""
    cells: dict[tuple[str, ...], list[float]] = {}
    for a, b, x in product(tokens, repeat=3):
        if a is x or a.phone != x.phone or b.phone == x.phone or a.speaker != b.speaker:
            continue
        if (a.speaker == x.speaker) != (speaker == "within"):
            continue
        if context == "within" and not a.context == b.context == x.context:
            continue
        pieces = [frames[t.utterance][t.first : t.last] for t in (a, b, x)]
        near, far = warped(pieces[0], pieces[2]), warped(pieces[1], pieces[2])
        place = a.context if context == "within" else ()
        cells.setdefault((a.phone, b.phone, a.speaker, place, x.speaker), []).append((near > far) + 0.5 * (near == far))
    pooled: dict[tuple[str, ...], list[float]] = {}
    for (p, q, who, _, _), values in cells.items():  # contexts and speakers of X
        pooled.setdefault((p, q, who), []).append(float(np.mean(values)))
    pairs: dict[tuple[str, ...], list[float]] = {}
    for (p, q, _), values in pooled.items():  # speakers of A and B
        pairs.setdefault((p, q), []).append(float(np.mean(values)))
    return 100 * float(np.mean([np.mean(values) for values in pairs.values()]))


@pytest.fixture(scope="module")
def speech() -> tuple[list[abx.Token], dict[int, np.ndarray]]:
    rng = np.random.default_rng(5)
    centre = {phone: rng.normal(size=4) for phone in "aei"}
    frames, tokens = {}, []
    for utterance in range(36):
        phone, speaker = "aei"[utterance % 3], f"s{rng.integers(3)}"
        length = int(rng.integers(1, 5))
        frames[utterance] = centre[phone] + rng.normal(scale=1.2, size=(length + 1, 4))
        context = (str(rng.choice(["p", "t"])), "k")
        tokens.append(abx.Token(utterance, 0, length, phone, context, speaker))
    return tokens, frames


@pytest.mark.parametrize("context", ["within", "any"])
def test_errors_are_those_of_a_count_of_triplets(speech, context):
    tokens, frames = speech
    found = item_abx(tokens, frames, abx.angles, context, **EVERY)
    for speaker in ("within", "across"):
        assert found[speaker] == pytest.approx(counted(tokens, frames, speaker, context), abs=6e-4), speaker
        assert 5 < found[speaker] < 50 and found[f"{speaker}_cells"] > 5
    assert found["items"] == len(tokens) and not any(found["left_out"].values())


def test_what_is_apart_has_no_errors_and_what_is_equal_has_half():
    tokens = [abx.Token(at, 0, 2, "ae"[at % 2], ("p", "k"), f"s{at // 4}") for at in range(8)]
    apart = {at: np.full(2, at % 2) for at in range(8)}
    equal = {at: np.zeros(2, np.int64) for at in range(8)}
    for frames, error in ((apart, 0.0), (equal, 50.0)):
        found = item_abx(tokens, frames, abx.same_or_not, "within")
        assert (found["within"], found["across"]) == (error, error)
        assert (found["within_cells"], found["across_cells"]) == (4, 4)


def test_an_item_has_the_frames_whose_middles_lie_in_it():
    # fastabx's page on slicing: frames at 0.01, 0.03, 0.05 ... s; both ends belong to the item
    assert frames_of(0.2925, 0.4725, 50) == (15, 24)  # 0.31 to 0.47
    assert frames_of(0.01, 0.05, 50) == (0, 3)
    assert frames_of(0.0101, 0.0499, 50) == (1, 2)
    assert frames_of(0.29, 0.31, 50) == (14, 16)  # 0.29 x 50 is 14.499999999999998 as a float
    assert frames_of(0.011, 0.029, 50) == (1, 1)  # no frame
    assert frames_of(0.0, 0.1, 100) == (0, 10)


def test_the_speakers_of_x_are_averaged_with_the_contexts():
    """Speaker x has two contexts and y one. The cells count alike: the error is 1/3, not the mean of 1/2 and 0."""
    heard = {("x", "p"): 1, ("x", "t"): 0, ("y", "p"): 0}  # 1: X sounds like B
    tokens, frames = [], {}

    def add(phone: str, place: str, speaker: str, unit: int) -> None:
        frames[len(tokens)] = np.full(1, unit)
        tokens.append(abx.Token(len(tokens), 0, 1, phone, (place, "k"), speaker))

    for place in "pt":
        add("a", place, "s", 0)
        add("b", place, "s", 1)
    for (speaker, place), unit in heard.items():
        add("a", place, speaker, unit)
    found = item_abx(tokens, frames, abx.same_or_not, **EVERY)
    assert found["across_cells"] == 3 and found["across"] == pytest.approx(100 / 3, abs=1e-3)
    assert found["within"] is None


def test_cells_and_speakers_are_limited_by_a_draw_of_the_seed(speech):
    tokens, frames = speech
    few = [item_abx(tokens, frames, abx.angles, "any", per_cell=2, per_x=1, seed=seed) for seed in (0, 0, 1)]
    assert few[0] == few[1] != few[2]
    every = item_abx(tokens, frames, abx.angles, "any", **EVERY)
    assert few[0]["across_cells"] == every["across_cells"] / 2  # one of two other speakers
    assert few[0] == item_abx(tokens[::-1], frames, abx.angles, "any", per_cell=2, per_x=1, seed=0)


def test_items_that_cannot_be_used_are_counted():
    token = abx.Token(0, 0, 2, "a", ("p", "k"), "s")
    tokens = [token, replace(token, utterance=1), replace(token, last=0), replace(token, last=3)]
    found = item_abx(tokens, {0: np.zeros(2, np.int64)}, abx.same_or_not)
    assert found["items"] == 1 and found["left_out"] == {"no_frames": 1, "too_short": 1, "too_late": 1}
    assert found["within"] is found["across"] is None


def test_an_item_file_is_read(tmp_path):
    path = tmp_path / "t.item"
    path.write_text(f"{HEAD}\nx/u1 0.29 0.31 IH L NG 6295\nu2 0.0 0.1 NG IH K 12\nx/u1 1 2 K NG AH 6295\n")
    files, tokens = read_items(path, 50)
    assert files == ["x/u1", "u2"]
    assert tokens[0] == abx.Token(0, 14, 16, "IH", ("L", "NG"), "6295")
    assert [token.utterance for token in tokens] == [0, 1, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "first line must be '#file onset"),
        ("#file onset offset\n", "first line must be"),
        (f"{HEAD}\n", "no items"),
        (f"{HEAD}\nu 0.1 0.2 A B C\n", "line 2: 6 cells instead of 7"),
        (f"{HEAD}\nu 0.1 x A B C s\n", "line 2: onset '0.1' and offset 'x' must be seconds"),
        (f"{HEAD}\nu 0.1 0.2 A B C s\nu 0.3 0.2 A B C s\n", "line 3: offset 0.2 must be after onset 0.3"),
        (f"{HEAD}\nu nan 0.2 A B C s\n", "line 2: offset 0.2 must be after onset nan"),
    ],
)
def test_item_files_with_mistakes_are_refused(tmp_path, text, message):
    (tmp_path / "t.item").write_text(text)
    with pytest.raises(UserError, match=message):
        read_items(tmp_path / "t.item", 50)
    with pytest.raises(UserError, match="cannot be read"):
        read_items(tmp_path / "other.item", 50)


def test_features_and_units_of_files_are_measured(tmp_path):
    lines = [f"u{at} 0 0.04 {'AE'[at % 2]} P K s{at // 4}" for at in range(8)]
    (tmp_path / "t.item").write_text("\n".join([HEAD, *lines, "u9 0 0.04 A P K s0"]))
    for at in range(8):
        np.save(tmp_path / f"u{at}.npy", np.eye(2)[[at % 2] * 2].astype(np.float32))
    out = tmp_path / "abx.json"
    write_item_abx(tmp_path / "t.item", out, Units(), frames=tmp_path)
    found = read_json(out)
    assert found["features"]["across"] == 0.0 and found["features"]["left_out"]["no_frames"] == 1
    assert (found["item"], found["files"], found["context"]) == ("t.item", 9, "within")
    for at in range(8):
        np.save(tmp_path / f"u{at}.npy", np.zeros(2, np.uint16))
    write_item_abx(tmp_path / "t.item", out, Units(), frames=tmp_path, context="any")
    assert read_json(out)["units"]["within"] == 50.0


class Loudness:
    """An encoder whose frames say whether they are loud."""

    @property
    def provenance(self) -> dict[str, object]:
        return {"sha256": "0", "layer": 1, "dim": 2, "normalise": False}

    def encode(self, waves: list[np.ndarray]) -> list[np.ndarray]:
        return [np.eye(2, dtype=np.float32)[[int(np.abs(wave).max() > 0.3)] * frame_count(len(wave))] for wave in waves]


def test_recordings_are_encoded_and_their_units_measured(tmp_path, monkeypatch):
    (tmp_path / "deep").mkdir()
    for at in range(4):
        sine = np.sin(np.arange(1600) / 10) * (0.1, 0.8)[at % 2]
        soundfile.write(tmp_path / "deep" / f"u{at}.{('wav', 'flac')[at // 2]}", sine, SAMPLE_RATE)
    (tmp_path / "deep" / "u5.wav").write_bytes(b"no audio")
    lines = [f"u{at} 0 0.04 {'AE'[at % 2]} P K s" for at in range(6)]
    (tmp_path / "t.item").write_text("\n".join([HEAD, *lines]))
    monkeypatch.setattr(abx_items, "open_encoder", lambda units: Loudness())
    book, centroids = tmp_path / "book", {"centroids": np.array([[1.0, 0.9], [0.9, 1.0]], np.float32)}
    words = (tmp_path / "t.item", tmp_path / "out.json", Units())
    for other, message in (
        ({"layer": 2}, "set units.encoder and units.layer"),
        ({"normalisation": "speaker"}, "alike"),
    ):
        write_tensors(book, centroids, Loudness().provenance | other)
        with pytest.raises(UserError, match=message):
            write_item_abx(*words, audio=tmp_path, codebook=book)
    write_tensors(book, centroids, Loudness().provenance)
    write_item_abx(*words, audio=tmp_path, codebook=book)
    found = read_json(tmp_path / "out.json")
    for kind in ("features", "units", "centroids"):
        assert found[kind]["within"] == 0.0
        assert found[kind]["items"] == 4 and found[kind]["left_out"]["no_frames"] == 2  # u4 is missing, u5 is no audio


def save(folder: Path, values: np.ndarray) -> Path:
    (folder / "t.item").write_text(f"{HEAD}\nu 0 0.04 A P K s\nv 0 0.04 A P K s\n")
    np.save(folder / "u.npy", values)
    return folder / "t.item"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((2, 2, 2), np.float32), "u.npy: float32 with 3 dimensions; features are floats"),
        (np.zeros(2, np.float32), "u.npy: float32 with 1 dimensions"),
        (np.full((2, 2), np.nan), "u.npy: has values that are not finite"),
        (np.array([{"a": 1}]), "u.npy: not readable as a NumPy array"),
    ],
)
def test_arrays_that_cannot_be_used_are_refused(tmp_path, values, message):
    with pytest.raises(UserError, match=message):
        write_item_abx(save(tmp_path, values), tmp_path / "out.json", Units(), frames=tmp_path)


def test_options_that_do_not_fit_are_refused(tmp_path):
    item = save(tmp_path, np.zeros((2, 2), np.float32))
    out = tmp_path / "out.json"
    with pytest.raises(UserError, match="either --frames"):
        write_item_abx(item, out, Units())
    with pytest.raises(UserError, match="either --frames"):
        write_item_abx(item, out, Units(), frames=tmp_path, audio=tmp_path)
    with pytest.raises(UserError, match="--frequency 25: encoders have 50"):
        write_item_abx(item, out, Units(), audio=tmp_path, frequency=25)
    with pytest.raises(UserError, match="--frequency must be above 0"):
        write_item_abx(item, out, Units(), frames=tmp_path, per_x=-1)
    with pytest.raises(UserError, match=r"none of the 2 files of .* is there, first 'u'"):
        write_item_abx(item, out, Units(), frames=tmp_path / "empty")
    np.save(tmp_path / "v.npy", np.zeros(2, np.int64))
    with pytest.raises(UserError, match="of another size, or units: units, 2; give one kind"):
        write_item_abx(item, out, Units(), frames=tmp_path)
    np.save(tmp_path / "v.npy", np.zeros((2, 3), np.float32))
    with pytest.raises(UserError, match="of another size, or units: 2, 3; give one kind"):
        write_item_abx(item, out, Units(), frames=tmp_path)
    write_tensors(tmp_path / "book", {"centroids": np.zeros((4, 5), np.float32)}, {})
    words = {"frames": tmp_path, "codebook": tmp_path / "book"}
    (tmp_path / "v.npy").unlink()
    with pytest.raises(UserError, match="features of 2 dimensions, but the codebook has 5"):
        write_item_abx(item, out, Units(), **words)
    np.save(tmp_path / "u.npy", np.array([0, 4]))
    with pytest.raises(UserError, match=r"u.npy: units 0 to 4, but the codebook has 4"):
        write_item_abx(item, out, Units(), **words)
    assert not out.exists()
