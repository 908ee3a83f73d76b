"""Rates and durations of phones, which need no reference."""

from array import array
from collections import Counter
from typing import Any

import numpy as np

from speechladder.corpora.phones import SIL, strip_stress
from speechladder.io.columns import SpanColumn


class PhoneStatistics:
    """Sums over phones, and a rate for each utterance; the memory needed is 8 bytes for each utterance."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.rates, self.total = array("d"), 0.0

    def add(self, phones: SpanColumn) -> None:
        """Add the phones of a column of utterances."""
        rows, spans = len(phones.lengths), len(phones.starts)
        codes, durations = phones.labels.indices.to_numpy(), phones.ends - phones.starts
        names = phones.labels.dictionary.to_pylist()
        for name, seconds, count in zip(names, np.bincount(codes, durations, len(names)), np.bincount(codes)):
            self.seconds[strip_stress(name)] += float(seconds)
            self.counts[strip_stress(name)] += int(count)
        last = np.cumsum(phones.lengths)[phones.lengths > 0] - 1
        self.total += float(phones.ends[last].sum())
        spoken = np.array([name != SIL for name in names], bool)[codes] if spans else np.zeros(0, bool)
        of = np.repeat(np.arange(rows), phones.lengths)[spoken]
        number = np.bincount(of, minlength=rows)
        seconds = np.bincount(of, durations[spoken], rows)
        self.rates.frombytes((number[seconds > 0] / seconds[seconds > 0]).tobytes())

    def figures(self) -> dict[str, Any]:
        """The figures that need no reference, which are not accuracies: rates and durations of phones."""
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
