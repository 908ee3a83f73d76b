"""The same seconds as every representation of the run: sound, words, and the tokens of each rung in time."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from speechladder.alignment.frames import frame_centres
from speechladder.analysis.compare import run_rungs
from speechladder.continuation.sample import rows_of
from speechladder.corpora.cuts import Cut, read_cuts
from speechladder.corpora.phones import SIL
from speechladder.io.audio import AudioError, frame_count, read_audio
from speechladder.io.hashing import stable_hash
from speechladder.io.spans import Span, from_rows
from speechladder.io.tables import ALIGNMENT, EXTERNAL_UNITS, UNITS, UTTERANCES, read_table
from speechladder.report.page.section import Section
from speechladder.report.page.sound import sound, waveform
from speechladder.report.page.spans import HALF, is_unit, token_spans
from speechladder.rungs.data import TokenData
from speechladder.rungs.registry import SPACE, Utterance
from speechladder.rungs.tokenizers import Codec
from speechladder.units.mfcc import log_mel

SHORTEST, LONGEST, BEST = 2.0, 4.0, 3.2  # seconds that are shown
SPLITS = ("test", "valid")  # the held-out ones, the better first
WAVE = 640  # columns of the waveform
BANDS, RANGE = 64, 9.0  # of the spectrogram: mel bands, and nepers between its loudest and its empty points
FINE = 30.0  # tokens per second above which a token has no room for its text


class Cell(NamedTuple):
    """A word or a token on the time axis: its text, its place and width in percent of it, and a hue in degrees."""

    label: str
    left: float
    width: float
    hue: int
    title: str


@dataclass(frozen=True)
class Row:
    """A line of the picture; `rung` is "" for one that is no rung."""

    name: str
    rung: str
    cells: Sequence[Cell]
    labels: Sequence[Cell]  # of a fine row, the text over each run of equal tokens that has room for it
    rate: float
    fine: bool


def section(results: Path) -> Section | None:
    """A stretch of one held-out utterance; None if the run has none with words and tokens."""
    rungs = run_rungs(results)
    path = results / "tokens" / "utterances.parquet"
    chosen = choose(read_table(path, UTTERANCES).to_pylist()) if path.is_file() else None
    if chosen is None:
        return None
    found = read_utterance(results, chosen)
    if found is None:
        return None
    utterance, cut, unit_ends = found
    window = find_window(utterance)
    placed = {rung: rung_spans(results / "tokens" / rung, chosen, utterance, unit_ends) for rung in rungs}
    lines = {"words": utterance.words} | ({} if "phone-raw" in rungs else {"phones": utterance.phones}) | placed
    rows = [make_row(name, rungs, spans, window) for name, spans in lines.items() if spans is not None]
    audio, reason = read_window(results, cut, window)
    seconds = window[1] - window[0]
    context = {
        "id": utterance.id,
        "split": chosen["split"],
        "from_second": window[0],
        "text": " ".join(word.label for word in utterance.words if inside(word, window)),
        "seconds": seconds,
        "ticks": [(100 * t / seconds, f"{t:g}") for t in np.arange(0, seconds, 0.5).tolist()],
        "sound": sound(audio, exact=True),
        "reason": reason,
        "wave": waveform(audio, WAVE) if len(audio) else "",
        "spectrogram": spectrogram(audio),
        "frames": frames_place(frame_count(len(audio)), seconds),
        "rows": rows,
        "unplaced": [rung for rung, spans in placed.items() if spans is None],
    }
    return Section("The same seconds", "moment", "moment.html.j2", context, ("hear.js",))


def choose(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The row of UTTERANCES to show: held out, as near to BEST seconds as there is, but not shorter than SHORTEST.

    Where all are shorter it is the longest; None if nothing is held out.
    """
    for split in SPLITS:
        held = [row for row in rows if row["split"] == split]
        if held:
            enough = [row for row in held if row["seconds"] >= SHORTEST]
            near = min(enough, key=lambda row: (abs(row["seconds"] - BEST), row["id"]), default=None)
            return near or max(held, key=lambda row: row["seconds"])
    return None


def read_utterance(results: Path, row: Mapping[str, Any]) -> tuple[Utterance, Cut, list[float]] | None:
    """An utterance with its alignment and units, its cut, and the end of each unit; None if a file lacks it."""
    id, shard = row["id"], row["shard"]
    cuts, alignment = results / "corpus" / f"cuts.{shard}.jsonl.gz", results / "alignment" / f"{shard}.parquet"
    if not (cuts.is_file() and alignment.is_file()):
        return None
    cut = next((cut for cut in read_cuts(cuts) if cut.id == id), None)
    aligned = rows_of([alignment], ALIGNMENT, [id]).get(id)
    if cut is None or aligned is None or not aligned["words"]:
        return None
    units, ends = read_unit_ends(results / "units" / f"{shard}.parquet", id)
    words, phones = from_rows(aligned["words"]), from_rows(aligned["phones"])
    utterance = Utterance(id, cut.text, words, phones, units, row["frames"], row["seconds"])
    return utterance, cut, ends


def read_unit_ends(path: Path, id: str) -> tuple[np.ndarray | None, list[float]]:
    """The units of an utterance and the second at which each ends, [] if that is not known; None and [] without units.

    Units with durations end after them; others are one frame each. Frames are those at 50 Hz, or `rate` a second of
    the table's metadata (io.tables.EXTERNAL_UNITS).
    """
    if not path.is_file():
        return None, []
    metadata = pq.read_schema(path).metadata or {}
    given = b"rate" in metadata
    row = rows_of([path], EXTERNAL_UNITS if given else UNITS, [id]).get(id)
    if row is None:
        return None, []
    units = np.array(row["units"], np.int64)
    if not given:
        return units, (frame_centres(len(units)) + HALF).tolist()
    rate, lasting = float(metadata[b"rate"]), row["durations"] or [1] * len(units)
    return units, (np.cumsum(lasting) / rate).tolist() if rate else []


def find_window(utterance: Utterance) -> tuple[float, float]:
    """From second to second: the whole utterance if it is short enough, else a stretch of it.

    The stretch reaches from pause to pause and is as near to BEST seconds as there is, the earliest of equals; without
    such pauses it begins and ends between words.
    """
    if utterance.seconds <= LONGEST:
        return 0.0, utterance.seconds
    inner = [p for p in utterance.phones if p.label == SIL and p.start > 0 and p.end < utterance.seconds]
    for places in ([(p.start + p.end) / 2 for p in inner], [word.end for word in utterance.words]):
        places = [0.0, *places, utterance.seconds]
        found = [(a, b) for a in places for b in places if SHORTEST <= b - a <= LONGEST]
        if found:
            return min(found, key=lambda ends: (round(abs(ends[1] - ends[0] - BEST), 6), ends))
    return 0.0, LONGEST


def read_pieces(folder: Path, row: Mapping[str, Any]) -> list[list[str]] | None:
    """The symbols of each token of an utterance, <s> and </s> left out; None if the rung's files lack it."""
    if not (folder / f"{row['split']}.bin").is_file():
        return None
    data = TokenData(folder, row["split"])
    if row["id"] not in data.ids:
        return None
    tokens = data.utterance(data.ids.index(row["id"])).tolist()
    return Codec(folder / "tokenizer").pieces(tokens[1:-1])


def rung_spans(
    folder: Path, row: Mapping[str, Any], utterance: Utterance, unit_ends: Sequence[float]
) -> list[Span] | None:
    """The tokens of a rung in time; None without its files, or if its tokens have no times."""
    pieces = read_pieces(folder, row)
    return token_spans(pieces, utterance, unit_ends) if pieces else None


def inside(span: Span, window: tuple[float, float]) -> bool:
    """Whether the middle of a span lies in the window."""
    return window[0] <= (span.start + span.end) / 2 < window[1]


def make_row(name: str, rungs: Sequence[str], spans: Sequence[Span], window: tuple[float, float]) -> Row:
    """A line of the picture, of the spans whose middle lies in the window."""
    kept = [span for span in spans if inside(span, window)]
    seconds = window[1] - window[0]
    rate = len(kept) / seconds
    fine = rate > FINE or any(is_unit(span.label) for span in kept)
    cells = [make_cell(span, window) for span in kept]
    return Row(name, name if name in rungs else "", cells, run_labels(cells, seconds) if fine else [], rate, fine)


def make_cell(span: Span, window: tuple[float, float]) -> Cell:
    """A span on the time axis, cut off at its ends."""
    begin, end = window
    start, stop = max(span.start, begin), min(span.end, end)
    scale = 100 / (end - begin)
    text = span.label.replace(SPACE, "\N{OPEN BOX}")
    title = f"{text}, {start - begin:.2f} to {stop - begin:.2f} s"
    return Cell(text, round((start - begin) * scale, 3), round((stop - start) * scale, 3), hue(span.label), title)


def hue(label: str) -> int:
    """The hue of a label, in degrees: always the same one; of units neighbouring numbers are far apart."""
    if is_unit(label):
        return int(int(label[1:]) * 137.508) % 360
    return stable_hash("hue", label) % 360


def run_labels(cells: Sequence[Cell], seconds: float) -> list[Cell]:
    """A cell over each run of equal cells that has room for its text: 2 frames for each of its characters."""
    found: list[Cell] = []
    for cell in cells:
        if found and found[-1].label == cell.label.removeprefix("u"):
            found[-1] = found[-1]._replace(width=round(cell.left + cell.width - found[-1].left, 3))
        else:
            found.append(cell._replace(label=cell.label.removeprefix("u")))
    return [cell for cell in found if cell.width * seconds / 100 > 0.011 + 0.018 * len(cell.label)]


def read_window(results: Path, cut: Cut, window: tuple[float, float]) -> tuple[np.ndarray, str]:
    """The samples of the window and "", or none and the reason.

    A path that is not absolute is relative to the folder of the run, in which `results` lies.
    """
    start, seconds = cut.start + window[0], window[1] - window[0]
    try:
        return read_audio(str(results.parent / cut.path), start, seconds), ""
    except AudioError as error:
        return np.zeros(0, np.float32), str(error)


def frames_place(frames: int, seconds: float) -> tuple[float, float]:
    """Where 50 Hz frames begin and how wide they are together, in percent, if each is drawn around its centre."""
    return round(100 * (frame_centres(1)[0] - HALF) / seconds, 3), round(200 * HALF * frames / seconds, 3)


def spectrogram(samples: np.ndarray) -> str:
    """(n,) samples as a PNG, a data: address: its alpha is the energy in mel bands over time; "" without samples."""
    from matplotlib.image import imsave  # a heavy import

    energies = log_mel(samples, BANDS)
    if not energies.size:
        return ""
    alpha = np.clip((energies - energies.max()) / RANGE + 1, 0, 1)
    picture = np.zeros((BANDS, len(alpha), 4), np.float32)
    picture[..., 3] = alpha.T[::-1]
    buffer = io.BytesIO()
    imsave(buffer, picture, format="png", metadata={"Software": None})
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
