"""The quality of an alignment: errors against a reference if there is one, otherwise rates and durations of phones."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from speechladder.alignment.base import AlignmentError
from speechladder.alignment.phone_statistics import PhoneStatistics
from speechladder.alignment.pocketsphinx import UtteranceAligner
from speechladder.alignment.textgrid import read_textgrid
from speechladder.corpora.cuts import Cut, read_cuts
from speechladder.corpora.phones import SIL, strip_stress
from speechladder.corpora.text import TextError, normalise
from speechladder.io.audio import AudioError, read_audio
from speechladder.io.columns import SpanColumn
from speechladder.io.errors import UserError
from speechladder.io.files import is_left_alone, read_jsonl, write_json
from speechladder.io.progress import progress
from speechladder.io.spans import Span, from_rows
from speechladder.io.tables import ALIGNMENT, read_table
from speechladder.io.text import text_lines
from speechladder.settings import Alignment

AUDIO = (".wav", ".flac")


def match_labels(reference: list[str], hypothesis: list[str]) -> tuple[list[tuple[int, int]], int]:
    """Match two label sequences by edit distance: (index pairs of equal labels, number of edits)."""
    n, m = len(reference), len(hypothesis)
    cost = np.zeros((n + 1, m + 1), np.int32)
    cost[:, 0], cost[0] = np.arange(n + 1), np.arange(m + 1)
    codes = {label: k for k, label in enumerate(dict.fromkeys(reference + hypothesis))}
    other = np.array([codes[h] for h in hypothesis], np.int32)
    steps = np.arange(m + 1, dtype=np.int32)
    for i, label in enumerate(reference, 1):
        row = cost[i]
        row[1:] = np.minimum(cost[i - 1, :-1] + (other != codes[label]), cost[i - 1, 1:] + 1)
        row[:] = np.minimum.accumulate(row - steps) + steps  # insertions, along the row
    pairs, i, j = [], n, m
    while i and j:
        same = reference[i - 1] == hypothesis[j - 1]
        if cost[i, j] == cost[i - 1, j - 1] + (not same):
            i, j = i - 1, j - 1
            if same:
                pairs.append((i, j))
        elif cost[i, j] == cost[i - 1, j] + 1:
            i -= 1
        else:
            j -= 1
    return pairs[::-1], int(cost[n, m])


def compare_phones(pairs: Iterable[tuple[list[Span], list[Span]]]) -> dict[str, Any]:
    """The errors of an alignment from (reference phones, hypothesis phones) of utterances, over all of them.

    Labels are compared without stress. Pauses are left out, because aligners place them differently. A boundary is the
    start of a phone that both sequences have; its error is hypothesis minus reference. Times are in ms, shares in [0,
    1]; None means no data.
    """
    errors: list[float] = []
    phones = edits = utterances = 0
    for spans in pairs:
        reference, hypothesis = ([s for s in side if s.label != SIL] for side in spans)
        same, wrong = match_labels(*([strip_stress(s.label) for s in side] for side in (reference, hypothesis)))
        errors += [hypothesis[j].start - reference[i].start for i, j in same]
        phones, edits, utterances = phones + len(reference), edits + wrong, utterances + 1
    off = np.array(errors)
    figures = {
        "within_20ms": np.mean(np.abs(off) <= 0.020 + 1e-9) if errors else None,
        "within_50ms": np.mean(np.abs(off) <= 0.050 + 1e-9) if errors else None,
        "median_absolute_ms": 1000 * np.median(np.abs(off)) if errors else None,
        "median_signed_ms": 1000 * np.median(off) if errors else None,
        "phone_error_rate": edits / phones if phones else None,
    }
    counts = {"utterances": utterances, "phones": phones, "boundaries": len(errors)}
    return {k: None if v is None else round(float(v), 4) for k, v in figures.items()} | counts


def sample_cuts(cuts: Iterable[Cut], number: int) -> list[Cut]:
    """`number` cuts of the test split, evenly spaced in the order of ids; the valid split supplies what is lacking."""
    splits: dict[str, list[Cut]] = {"test": [], "valid": []}
    for cut in cuts:
        if number and cut.split in splits:
            splits[cut.split].append(cut)
    chosen: list[Cut] = []
    for name in ("test", "valid"):
        pool, wanted = sorted(splits[name], key=lambda c: c.id), number - len(chosen)
        if pool and wanted > 0:
            rows = np.linspace(0, len(pool) - 1, min(wanted, len(pool))).round().astype(int)
            chosen += [pool[k] for k in rows]
    return chosen


def _phones(tables: Iterable[Path], ids: set[str] | None = None) -> dict[str, list[Span]]:
    """The phones of each utterance, or of those in `ids`."""
    found = {}
    for path in tables:
        table = read_table(path, ALIGNMENT, ["id", "phones"])
        for name, row in zip(table["id"].to_pylist(), range(len(table))):
            if ids is None or name in ids:
                found[name] = from_rows(table["phones"][row].as_py())
    return found


def _reasons(reasons: Iterable[str]) -> dict[str, int]:
    """Counts of reasons, without the details that follow a colon."""
    return dict(sorted(Counter(r.split(":")[0] for r in reasons).items()))


def write_quality(
    out: Path,
    settings: Alignment,
    cuts: Sequence[Path] = (),
    truth: Sequence[Path] = (),
    alignment: Sequence[Path] = (),
    rejected: Sequence[Path] = (),
    reference: Path | None = None,
    audio: Path | None = None,
    text: Path | None = None,
    pattern: str = "*.TextGrid",
) -> None:
    """Measure the quality of a run's alignment, or of PocketSphinx against a folder of TextGrids.

    Give --cuts, --alignment and --rejected for a run, and --truth if there is one. Give --reference and --audio for a
    folder. Raises UserError if neither is given, or as `alignment_quality` and `compare_textgrids` do.

    Args:
        out: the figures to write, as JSON (alignment/quality.json of a run)
        cuts: a run's corpus/cuts.{shard}.jsonl.gz
        truth: a run's corpus/truth.{shard}.parquet (world)
        alignment: a run's alignment/{shard}.parquet
        rejected: a run's alignment/rejected.{shard}.jsonl
        reference: folder with TextGrids, in place of a run
        audio: folder with .wav or .flac files of the same names
        text: file with lines name|text; without it the text is name.lab or name.txt beside the audio
        pattern: which TextGrids of the folder
    """
    if reference and audio:
        figures = compare_textgrids(reference, audio, text, UtteranceAligner(settings.beam), pattern)
    elif cuts and not reference:
        figures = alignment_quality(cuts, truth, alignment, rejected, settings)
    else:
        raise UserError("give --cuts and --alignment of a run, or --reference and --audio")
    write_json(out, figures)


def alignment_quality(
    cuts: Sequence[Path],
    truth: Sequence[Path],
    alignment: Sequence[Path],
    rejected: Sequence[Path],
    settings: Alignment,
) -> dict[str, Any]:
    """The figures of alignment/quality.json.

    If there is truth (the world), `settings.sample_utterances` held-out utterances are compared with it: as the run's
    own aligner aligned them, or as PocketSphinx aligns them here if the run uses the truth. If there is none, the
    figures are statistics without a reference. Raises UserError if there is no held-out utterance, or no truth for one.
    """
    read, lost = Counter(), _reasons(row["reason"] for path in rejected for row in read_jsonl(path))
    chosen = sample_cuts(_counted(cuts, read), settings.sample_utterances if truth else 0)
    run = {
        "aligner": settings.aligner,
        "utterances": read["cuts"],
        "rejected": sum(lost.values()),
        "rejected_share": round(sum(lost.values()) / read["cuts"], 4) if read["cuts"] else None,
        "reasons": lost,
    }
    if not truth:
        statistics = PhoneStatistics()
        for path in alignment:
            statistics.add(SpanColumn(read_table(path, ALIGNMENT, ["phones"]).column("phones")))
        return {
            "reference": None,
            "note": "no reference for this corpus: rates and durations, not accuracy",
            "aligner": settings.aligner,
            "run": run,
            "statistics": statistics.figures(),
        }
    if not chosen:
        raise UserError(f"{cuts[0]}: no utterance in the test and valid splits; raise corpus.hours or test_fraction")
    ids = {cut.id for cut in chosen}
    reference = _phones(truth, ids)
    missing = sorted(ids - set(reference))
    if missing:
        raise UserError(f"no row for {missing[0]} of {cuts[0]} in {truth[0]} or other tables; build the corpus again")
    if settings.aligner != "truth":
        found = _phones(alignment, ids)
        reasons = [r["reason"] for path in rejected for r in read_jsonl(path) if r["id"] in ids]
    else:
        found, reasons = _align(chosen, UtteranceAligner(settings.beam))
    return {
        "reference": "truth",
        "aligner": "pocketsphinx" if settings.aligner == "truth" else settings.aligner,
        **compare_phones((reference[c.id], found[c.id]) for c in chosen if c.id in found),
        "rejected": len(chosen) - len(found),
        "rejected_share": round(1 - len(found) / len(chosen), 4),
        "reasons": _reasons(reasons),
        "run": run,
    }


def _counted(paths: Iterable[Path], read: Counter[str]) -> Iterator[Cut]:
    """The cuts of all shards; `read` counts them."""
    for path in paths:
        for cut in read_cuts(path):
            read["cuts"] += 1
            yield cut


def _align(cuts: list[Cut], aligner: UtteranceAligner) -> tuple[dict[str, list[Span]], list[str]]:
    found, reasons = {}, []
    with progress("alignment sample", sum(c.duration for c in cuts), "h of speech per h") as meter:
        for cut in cuts:
            try:
                found[cut.id] = aligner.align(cut.samples(), cut.text)[1]
            except (AudioError, AlignmentError) as error:
                reasons.append(str(error))
            meter.advance(cut.duration)
    return found, reasons


def _words(text: str, problem: str | None) -> str:
    if problem:
        raise TextError(problem)
    return normalise(text)


def _last(line: str) -> str:
    """The last column of a line that is not empty."""
    return line.partition("|")[2].rstrip("| ").rpartition("|")[2]


def _said(label: Path) -> str:
    """The words of a .lab or .txt; raises TextError if they cannot be read or spelt."""
    rows = list(text_lines(label))
    return _words(" ".join(row.text for row in rows), next((row.problem for row in rows if row.problem), None))


def compare_textgrids(
    textgrids: Path, audio: Path, text: Path | None, aligner: UtteranceAligner, pattern: str = "*.TextGrid"
) -> dict[str, Any]:
    """The errors of PocketSphinx against the TextGrids in a folder.

    The recording of `name.TextGrid` or `name.variant.TextGrid` is `name.wav` or `name.flac` in `audio`. Its text is the
    last column of a line `name|text` or `name|raw|text` (LJSpeech) of the file `text`, or else the file `name.lab` or
    `name.txt` beside the recording. Raises UserError with the name of a recording or a text that is missing.
    """
    lines = {}
    if text is not None:
        if not text.is_file():
            raise UserError(f"{text}: no such file")
        lines = {row.text.partition("|")[0]: row for row in text_lines(text) if "|" in row.text}
    files = sorted(path for path in textgrids.glob(pattern) if not is_left_alone(path.name))
    if not files:
        raise UserError(f"{textgrids}: no {pattern} in it")
    pairs, reasons = [], {}
    for file in files:
        name = file.name.split(".")[0]
        recording = next((audio / (name + s) for s in AUDIO if (audio / (name + s)).is_file()), None)
        if recording is None:
            raise UserError(f"{file}: no {name}.wav or {name}.flac in {audio}")
        label = next((audio / (name + s) for s in (".lab", ".txt") if (audio / (name + s)).is_file()), None)
        if name not in lines and label is None:
            raise UserError(f"{file}: no line '{name}|...' in {text} and no {name}.lab beside {recording}")
        try:
            words = _words(_last(lines[name].text), lines[name].problem) if name in lines else _said(label)
            pairs.append((read_textgrid(file)[1], aligner.align(read_audio(recording), words)[1]))
        except (AudioError, AlignmentError, TextError) as error:
            reasons[file.name] = str(error)
    share = round(len(reasons) / len(files), 4)
    return {
        "reference": str(textgrids),
        "aligner": aligner.name,
        **compare_phones(pairs),
        "rejected": len(reasons),
        "rejected_share": share,
        "reasons": reasons,
    }
