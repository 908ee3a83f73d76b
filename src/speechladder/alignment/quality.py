"""How far an alignment can be trusted: against a reference where there is one, plain statistics where there is none."""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from speechladder.alignment.pocketsphinx import Aligner, AlignmentError
from speechladder.alignment.textgrid import read_textgrid
from speechladder.corpora.cuts import Cut, read_cuts
from speechladder.corpora.phones import SIL, strip_stress
from speechladder.corpora.text import normalise
from speechladder.io.audio import AudioError, read_audio
from speechladder.io.columns import SpanColumn
from speechladder.io.errors import UserError
from speechladder.io.files import read_jsonl
from speechladder.io.progress import progress
from speechladder.io.spans import Span, from_rows
from speechladder.io.tables import ALIGNMENT, read_table
from speechladder.settings import Alignment

AUDIO = (".wav", ".flac")


def match(reference: list[str], hypothesis: list[str]) -> tuple[list[tuple[int, int]], int]:
    """Align two label sequences by edit distance: (index pairs of equal labels, number of edits)."""
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


def compare(pairs: Iterable[tuple[list[Span], list[Span]]]) -> dict[str, Any]:
    """Figures of (reference phones, hypothesis phones), summed over utterances.

    Labels are compared without stress and without pauses, which aligners place as they like; a boundary is the start
    of a phone that both sequences have, hypothesis minus reference. Times in ms, shares in [0, 1], None for no data.
    """
    errors: list[float] = []
    phones = edits = utterances = 0
    for spans in pairs:
        reference, hypothesis = ([s for s in side if s.label != SIL] for side in spans)
        same, wrong = match(*([strip_stress(s.label) for s in side] for side in (reference, hypothesis)))
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


class PhoneStatistics:
    """Sums over phones and a rate per utterance, of as many utterances as there may be."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.rates, self.total = array("d"), 0.0

    def add(self, phones: SpanColumn) -> None:
        """Count a column of utterances."""
        rows, spans = len(phones.lengths), len(phones.starts)
        codes, lasting = phones.labels.indices.to_numpy(), phones.ends - phones.starts
        names = phones.labels.dictionary.to_pylist()
        for name, seconds, count in zip(names, np.bincount(codes, lasting, len(names)), np.bincount(codes)):
            self.seconds[strip_stress(name)] += float(seconds)
            self.counts[strip_stress(name)] += int(count)
        last = np.cumsum(phones.lengths)[phones.lengths > 0] - 1
        self.total += float(phones.ends[last].sum())
        spoken = np.array([name != SIL for name in names], bool)[codes] if spans else np.zeros(0, bool)
        of = np.repeat(np.arange(rows), phones.lengths)[spoken]
        number = np.bincount(of, minlength=rows)
        heard = np.bincount(of, lasting[spoken], rows)
        self.rates.frombytes((number[heard > 0] / heard[heard > 0]).tobytes())

    def figures(self) -> dict[str, Any]:
        """What can be said without a reference, which is not accuracy: rates and durations of phones."""
        rates, silence = np.frombuffer(self.rates), self.seconds.get(SIL, 0.0)
        means = {k: self.seconds[k] / n for k, n in sorted(self.counts.items()) if k != SIL}
        return {
            "utterances": len(rates),
            "hours": round(self.total / 3600, 4),
            "silence_share": round(silence / self.total, 4) if self.total else None,
            "phones_per_second": dict(zip(("p5", "median", "p95"), np.percentile(rates, [5, 50, 95]).round(2).tolist()))
            if len(rates)
            else None,
            "mean_phone_ms": {k: round(1000 * mean, 1) for k, mean in means.items()},
        }


def sample(cuts: Iterable[Cut], number: int) -> list[Cut]:
    """`number` cuts, evenly over the test split in order of id, topped up from the validation split."""
    splits: dict[str, list[Cut]] = {"test": [], "valid": []}
    for cut in cuts:
        if number and cut.split in splits:
            splits[cut.split].append(cut)
    chosen: list[Cut] = []
    for name in ("test", "valid"):
        pool, wanted = sorted(splits[name], key=lambda c: c.id), number - len(chosen)
        if pool and wanted > 0:
            places = np.linspace(0, len(pool) - 1, min(wanted, len(pool))).round().astype(int)
            chosen += [pool[k] for k in places]
    return chosen


def _phones(tables: Iterable[Path], ids: set[str] | None = None) -> dict[str, list[Span]]:
    """Phones by utterance, of `ids` where given."""
    found = {}
    for path in tables:
        table = read_table(path, ALIGNMENT, ["id", "phones"])
        for name, row in zip(table["id"].to_pylist(), range(len(table))):
            if ids is None or name in ids:
                found[name] = from_rows(table["phones"][row].as_py())
    return found


def _reasons(reasons: Iterable[str]) -> dict[str, int]:
    """Counts of reasons, each without what follows its colon."""
    return dict(sorted(Counter(r.split(":")[0] for r in reasons).items()))


def alignment_quality(
    cuts: list[Path], truth: list[Path], alignment: list[Path], rejected: list[Path], settings: Alignment
) -> dict[str, Any]:
    """What goes into alignment/quality.json.

    With truth (the world): on `settings.sample_utterances` held-out utterances, PocketSphinx against it, aligned here
    when the run itself uses the truth, else the run's own aligner. Without: no reference, statistics only.
    """
    read, reasons = Counter(), _reasons(row["reason"] for path in rejected for row in read_jsonl(path))
    chosen = sample(_counted(cuts, read), settings.sample_utterances if truth else 0)
    run = {
        "aligner": settings.aligner,
        "utterances": read["cuts"],
        "rejected": sum(reasons.values()),
        "rejected_share": round(sum(reasons.values()) / read["cuts"], 4) if read["cuts"] else None,
        "reasons": reasons,
    }
    if not truth:
        found = PhoneStatistics()
        for path in alignment:
            found.add(SpanColumn(read_table(path, ALIGNMENT, ["phones"]).column("phones")))
        return {
            "reference": None,
            "note": "no reference for this corpus: rates and durations, not accuracy",
            "aligner": settings.aligner,
            "run": run,
            "statistics": found.figures(),
        }
    if not chosen:
        raise UserError(f"{cuts[0]}: no utterance in the test and valid splits; raise corpus.hours or test_fraction")
    ids = {cut.id for cut in chosen}
    reference = _phones(truth, ids)
    missing = sorted(ids - set(reference))
    if missing:
        raise UserError(f"{truth[0]} and its like have no row for {missing[0]} of {cuts[0]}; build the corpus again")
    if settings.aligner != "truth":
        found = _phones(alignment, ids)
        reasons = [r["reason"] for path in rejected for r in read_jsonl(path) if r["id"] in ids]
    else:
        found, reasons = _align(chosen, Aligner(settings.beam))
    return {
        "reference": "truth",
        "aligner": "pocketsphinx" if settings.aligner == "truth" else settings.aligner,
        **compare((reference[c.id], found[c.id]) for c in chosen if c.id in found),
        "rejected": len(chosen) - len(found),
        "rejected_share": round(1 - len(found) / len(chosen), 4),
        "reasons": _reasons(reasons),
        "run": run,
    }


def _counted(paths: Iterable[Path], read: Counter[str]) -> Iterator[Cut]:
    """The cuts of all shards, counted in `read`."""
    for path in paths:
        for cut in read_cuts(path):
            read["cuts"] += 1
            yield cut


def _align(cuts: list[Cut], aligner: Aligner) -> tuple[dict[str, list[Span]], list[str]]:
    found, reasons = {}, []
    with progress("alignment sample", sum(c.duration for c in cuts), "h of speech per h") as meter:
        for cut in cuts:
            try:
                found[cut.id] = aligner.align(cut.samples(), cut.text)[1]
            except (AudioError, AlignmentError) as error:
                reasons.append(str(error))
            meter.advance(cut.duration)
    return found, reasons


def compare_textgrids(
    textgrids: Path, audio: Path, text: Path | None, aligner: Aligner, pattern: str = "*.TextGrid"
) -> dict[str, Any]:
    """PocketSphinx against the TextGrids in a folder.

    The recording of `name.TextGrid` or `name.variant.TextGrid` is `name.wav` or `name.flac` in `audio`; its text is a
    line `name|text` of the file `text`, or else `name.lab` or `name.txt` beside the recording.
    Raises UserError naming what is missing.
    """
    lines = {}
    if text is not None:
        if not text.is_file():
            raise UserError(f"{text}: no such file")
        lines = dict(line.split("|", 1) for line in text.read_text().splitlines() if "|" in line)
    files = sorted(textgrids.glob(pattern))
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
        words = normalise(lines[name] if name in lines else label.read_text())
        try:
            pairs.append((read_textgrid(file)[1], aligner.align(read_audio(recording), words)[1]))
        except (AudioError, AlignmentError) as error:
            reasons[file.name] = str(error)
    share = round(len(reasons) / len(files), 4)
    figures = compare(pairs)
    return {
        "reference": str(textgrids),
        "aligner": aligner.name,
        **figures,
        "rejected": len(reasons),
        "rejected_share": share,
        "reasons": reasons,
    }
