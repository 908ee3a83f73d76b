"""What the user's own units keep of the phones, and what of the speaker -> units/quality.json, as units.quality."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from speechladder.constants import SAMPLE_RATE
from speechladder.io.audio import frame_count
from speechladder.io.files import write_json
from speechladder.io.tables import GIVEN_UNITS, read_table
from speechladder.units.diagnostics.quality import (
    abx_figures,
    drawn,
    entropy,
    runs,
    same_sentence,
    speaker_leak,
    with_phones,
)
from speechladder.units.external.load import rate_of
from speechladder.units.external.times import at_frames

# Of units that have no times, nothing can be said by the frame.
_OF_FRAMES = ("phone_purity", "cluster_purity", "pnmi", "frames", "without_silence", "mean_run_frames")


def sounding(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """(id, (frames,) the unit at the centre of each 50 Hz frame) of a GIVEN_UNITS table with a rate."""
    table, rate = read_table(path, GIVEN_UNITS), rate_of(path)
    units, durations = (table[name].combine_chunks() for name in ("units", "durations"))
    for row, (name, seconds) in enumerate(zip(table["id"].to_pylist(), table["seconds"].to_pylist())):
        lasting = durations[row].values.to_numpy() if durations[row].is_valid else None
        frames = frame_count(round(seconds * SAMPLE_RATE))
        yield name, at_frames(units[row].values.to_numpy(), lasting, rate, frames)


def write_given_quality(
    cuts: list[Path],
    alignments: list[Path],
    units: list[Path],
    clusters: int,
    items: dict[str, tuple[Path, Path]],
    out: Path,
    seed: int,
    abx_minutes: float = 0.0,
) -> None:
    """Write units/quality.json as `quality.write_quality` does. Raises UserError.

    What is counted by the frame (purities, runs, ABX, the speaker) is counted on the unit that sounds at each 50 Hz
    frame, so that tokenizers of any rate compare; null where units have no rate. `entropy_bits` and `bits_per_second`
    are of the units as they were written, of which there are `units_per_second`.
    """
    rate = rate_of(units[0])
    speakers, tokens = drawn(cuts, units, seed)
    seconds = {}
    for path in units:
        table = read_table(path, GIVEN_UNITS, ["id", "seconds"]).to_pydict()
        seconds |= {name: value for name, value in zip(table["id"], table["seconds"]) if name in tokens}
    if rate:
        said = {name: values for path in units for name, values in sounding(path) if name in tokens}
        figures = with_phones({name: said[name] for name in tokens}, speakers, alignments, clusters, seed, units)
    else:
        figures = _without_times(tokens, speakers, clusters, seed)
    flat, lasting = np.concatenate(list(tokens.values())).astype(np.int64), sum(seconds[name] for name in tokens)
    short = np.concatenate([runs(values.astype(np.int64)) for values in tokens.values()])
    bits, short_bits = (entropy(np.bincount(values, minlength=clusters)) for values in (flat, short))
    write_json(
        out,
        {
            "encoder": None,
            "rate": rate,
            **figures,
            "units_per_second": len(flat) / lasting,
            "entropy_bits": bits,
            "bits_per_second": len(flat) / lasting * bits,
            "dedup": {
                "units_per_second": len(short) / lasting,
                "entropy_bits": short_bits,
                "bits_per_second": len(short) / lasting * short_bits,
            },
            "empty_clusters_in_sample": None,
            "same_sentence": {task: same_sentence(*paths, seed) for task, paths in items.items()} or None,
            "abx": abx_figures(cuts, alignments, units, None, None, abx_minutes, seed, sounding) if rate else None,
        },
    )


def _without_times(tokens: dict[str, np.ndarray], speakers: dict[str, str], clusters: int, seed: int) -> dict[str, Any]:
    counts = np.bincount(np.concatenate(list(tokens.values())).astype(np.int64), minlength=clusters)
    return {
        "utterances": len(tokens),
        "clusters": clusters,
        "dead_clusters": int((counts == 0).sum()),
        **dict.fromkeys(_OF_FRAMES),
        "speaker": speaker_leak(list(tokens.values()), [speakers[name] for name in tokens], clusters, seed),
    }
