"""The quality of external units: the figures of diagnostics.quality, for units of any rate."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from speechladder.constants import SAMPLE_RATE
from speechladder.io.audio import frame_count
from speechladder.io.files import write_json
from speechladder.io.tables import EXTERNAL_UNITS, read_table
from speechladder.units.diagnostics.quality import (
    abx_figures,
    deduplicate,
    draw_utterances,
    entropy,
    quality_with_phones,
    same_sentence,
    speaker_leak,
)
from speechladder.units.external.load import codebooks_of, rate_of
from speechladder.units.external.times import at_frames

# Figures by the frame, which are null for units without times.
_OF_FRAMES = ("phone_purity", "cluster_purity", "pnmi", "pnmi_100hz", "frames", "without_silence", "mean_run_frames")


def by_frame(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """(id, (frames,) the unit at the centre of each 50 Hz frame) of an EXTERNAL_UNITS table with a rate.

    Of several codebooks it is the first one's, whose ids are the lowest and in the order of the frames.
    """
    table, (codebooks, size) = read_table(path, EXTERNAL_UNITS), codebooks_of(path)
    rate = rate_of(path) / codebooks
    units, durations = (table[name].combine_chunks() for name in ("units", "durations"))
    for row, (name, seconds) in enumerate(zip(table["id"].to_pylist(), table["seconds"].to_pylist())):
        lasting = durations[row].values.to_numpy() if durations[row].is_valid else None
        values, frames = units[row].values.to_numpy(), frame_count(round(seconds * SAMPLE_RATE))
        if codebooks > 1:
            first = values < size
            values, lasting = values[first], None if lasting is None else lasting[first]
        yield name, at_frames(values, lasting, rate, frames)


def write_external_quality(
    cuts: list[Path],
    alignment: list[Path],
    units: list[Path],
    clusters: int,
    items: dict[str, tuple[Path, Path]],
    out: Path,
    seed: int,
    abx_minutes: float = 0.0,
) -> None:
    """Write units/quality.json as `quality.write_quality` does, and raise the same errors.

    Figures by the frame (purities, runs, ABX, the speaker) use the unit at each 50 Hz frame, so that tokenizers of any
    rate are comparable. They are null if units have no rate. `units_per_second`, `entropy_bits` and `bits_per_second`
    describe the units as they were written. With several codebooks in the stream, figures by the frame are those of the
    first one, and `entropy_bits` is the mean of the codebooks' entropies, because whose turn it is tells nothing.
    """
    rate, (codebooks, size) = rate_of(units[0]), codebooks_of(units[0])
    speakers, tokens = draw_utterances(cuts, units, seed)
    seconds = {}
    for path in units:
        table = read_table(path, EXTERNAL_UNITS, ["id", "seconds"]).to_pydict()
        seconds |= {name: value for name, value in zip(table["id"], table["seconds"]) if name in tokens}
    if rate:
        frames = {name: values for path in units for name, values in by_frame(path) if name in tokens}
        frames = {name: frames[name] for name in tokens}
        figures = quality_with_phones(frames, speakers, alignment, size or clusters, seed, units)
    else:
        figures = _without_times(tokens, speakers, clusters, seed)
    flat, duration = np.concatenate(list(tokens.values())).astype(np.int64), sum(seconds[name] for name in tokens)
    short = np.concatenate([deduplicate(values.astype(np.int64)) for values in tokens.values()])
    counts = [np.bincount(values, minlength=clusters) for values in (flat, short)]
    bits, short_bits = (float(np.mean([entropy(book) for book in found.reshape(codebooks, -1)])) for found in counts)
    if size:
        figures |= {"clusters": clusters, "dead_clusters": int((counts[0] == 0).sum())}
    write_json(
        out,
        {
            "encoder": None,
            "rate": rate,
            **figures,
            "units_per_second": len(flat) / duration,
            "entropy_bits": bits,
            "bits_per_second": len(flat) / duration * bits,
            "dedup": {
                "units_per_second": len(short) / duration,
                "entropy_bits": short_bits,
                "bits_per_second": len(short) / duration * short_bits,
            },
            "empty_clusters_in_sample": None,
            "same_sentence": {task: same_sentence(*paths, seed) for task, paths in items.items()} or None,
            "abx": abx_figures(cuts, alignment, units, None, None, abx_minutes, seed, by_frame) if rate else None,
        },
    )


def _without_times(tokens: dict[str, np.ndarray], speakers: dict[str, str], clusters: int, seed: int) -> dict[str, Any]:
    """The figures of units without times."""
    counts = np.bincount(np.concatenate(list(tokens.values())).astype(np.int64), minlength=clusters)
    return {
        "utterances": len(tokens),
        "clusters": clusters,
        "dead_clusters": int((counts == 0).sum()),
        **dict.fromkeys(_OF_FRAMES),
        "speaker": speaker_leak(list(tokens.values()), [speakers[name] for name in tokens], clusters, seed),
    }
