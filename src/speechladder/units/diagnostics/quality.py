"""How much units tell about phones and about the speaker: units/quality.json."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from speechladder.alignment.frames import frame_centres, hundredths, labels_at
from speechladder.constants import FRAME_RATE
from speechladder.corpora.cuts import read_cuts
from speechladder.corpora.draw import Draw, hash_order
from speechladder.corpora.phones import SIL, strip_stress
from speechladder.io.errors import UserError
from speechladder.io.files import read_json, write_json
from speechladder.io.spans import from_rows
from speechladder.io.tables import ALIGNMENT, ITEMS, UNITS, read_table
from speechladder.units.codebook import load_codebook
from speechladder.units.diagnostics import abx_run

FRAMES = 300_000  # most frames that are measured: 100 minutes, enough for the third digit of each figure
SENTENCES = 200  # most sentences of a task that are measured
SHUFFLES = 5
ReadUnits = Callable[[Path], Iterator[tuple[str, np.ndarray]]]  # reads a shard's units by 50 Hz frame


def entropy(counts: np.ndarray) -> float:
    """Entropy in bits of the distribution given by `counts`."""
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum())


def joint_counts(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """How often each pair of indices occurs together: an int64 array of `shape`."""
    flat = rows.astype(np.int64) * shape[1] + columns
    return np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape)


def mutual_information(joint: np.ndarray) -> float:
    """Mutual information I(row; column), in bits, of a table of counts."""
    return entropy(joint.sum(axis=1)) + entropy(joint.sum(axis=0)) - entropy(joint.ravel())


def purities(joint: np.ndarray) -> dict[str, float]:
    """Phone purity, cluster purity and PNMI of a table (phones, units) of frame counts.

    They are defined in section IV-C of the HuBERT paper (Hsu et al. 2021, arXiv 2106.07447). Phone purity: the share of
    frames that have the most frequent phone of their unit. Cluster purity: the share of frames that have the most
    frequent unit of their phone. PNMI: I(phone; unit) / H(phone), the share of the phone's uncertainty that the unit
    removes; it is null if there is a single phone.
    """
    total, phones = joint.sum(), entropy(joint.sum(axis=1))
    return {
        "phone_purity": float(joint.max(axis=0).sum() / total),
        "cluster_purity": float(joint.max(axis=1).sum() / total),
        "pnmi": mutual_information(joint) / phones if phones else None,
        "frames": int(total),
    }


def deduplicate(units: np.ndarray) -> np.ndarray:
    """Map units (frames,) to (runs,): the first unit of each run of equal ones."""
    return units[np.flatnonzero(np.diff(units, prepend=-1))] if len(units) else units


def edit_distance(a: np.ndarray, b: np.ndarray) -> int:
    """Levenshtein distance of two sequences of integers."""
    steps = np.arange(len(b) + 1)
    row = steps.copy()
    for i, symbol in enumerate(a, 1):
        best = np.concatenate([[i], np.minimum(row[1:] + 1, row[:-1] + (b != symbol))])
        row = np.minimum.accumulate(best - steps) + steps  # insertions, from left to right
    return int(row[-1])


def _distance(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float | None:
    """Mean edit distance as a share of the longer length; null without pairs."""
    shares = [edit_distance(a, b) / max(len(a), len(b)) for a, b in pairs if len(a) and len(b)]
    return float(np.mean(shares)) if shares else None


def speaker_leak(units: list[np.ndarray], speakers: list[str], clusters: int, seed: int) -> dict[str, Any] | None:
    """Mutual information of unit and speaker over frames; null with fewer than two speakers.

    A finite sample shows some information even if there is none, and so do the words of an utterance.
    `mi_shuffled_bits` is therefore the same figure with the speakers shuffled over the utterances, and `mi_excess_bits`
    is the difference. `share` and `share_excess` are divided by the entropy of the speaker.
    """
    names, index = np.unique(speakers, return_inverse=True)
    if len(names) < 2:
        return None
    flat, lengths = np.concatenate(units), np.array([len(u) for u in units])

    def information(of: np.ndarray) -> tuple[float, float]:
        joint = joint_counts(np.repeat(of, lengths), flat, (len(names), clusters))
        return mutual_information(joint), entropy(joint.sum(axis=1))

    bits, uncertainty = information(index)
    rng = np.random.default_rng([seed, 1])
    shuffled = float(np.mean([information(rng.permutation(index))[0] for _ in range(SHUFFLES)]))
    excess = bits - shuffled
    return {
        "speakers": len(names),
        "speaker_entropy_bits": uncertainty,
        "mi_bits": bits,
        "mi_shuffled_bits": shuffled,
        "mi_excess_bits": excess,
        "share": bits / uncertainty if uncertainty else None,
        "share_excess": excess / uncertainty if uncertainty else None,
    }


def same_sentence(items: Path, units: Path, seed: int) -> dict[str, Any] | None:
    """How much the units of a sentence differ between the voices that say it; null with one voice.

    The figures are edit distances of de-duplicated units, as a share of the longer length. The distance of phones is a
    lower reference: what the voices really say differently. The distance between different sentences of one voice is an
    upper reference.
    """
    table = read_table(items, ITEMS, columns=["item", "voice", "text", "phones"])
    spoken = dict(zip(*read_table(units, UNITS, UNITS.names).to_pydict().values(), strict=True))
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in table.to_pylist():
        groups[row["text"]].append(row)
    chosen = [sorted(g, key=lambda r: r["item"]) for g in groups.values() if len({r["voice"] for r in g}) > 1]
    chosen = hash_order(chosen, "quality", seed, name=lambda g: g[0]["text"])[:SENTENCES]
    if not chosen:
        return None
    codes: dict[str, int] = {}

    def unit_runs(row: dict[str, Any]) -> np.ndarray:
        if row["item"] not in spoken:
            raise UserError(f"{units}: item '{row['item']}' of {items} is missing; run the units of the items again")
        return deduplicate(np.array(spoken[row["item"]], dtype=np.int64))

    def phones(row: dict[str, Any]) -> np.ndarray:
        labels = (strip_stress(span["label"]) for span in row["phones"])
        return np.array([codes.setdefault(label, len(codes)) for label in labels if label != SIL], dtype=np.int64)

    voices = [(a, b) for group in chosen for a, b in combinations(group, 2) if a["voice"] != b["voice"]]
    by_voice: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for group in chosen:
        for row in group:
            by_voice[row["voice"]].append(row)
    others = [(a, b) for rows in by_voice.values() for a, b in pairwise(rows) if a["text"] != b["text"]]
    return {
        "sentences": len(chosen),
        "pairs": len(voices),
        "units_changed": _distance([(unit_runs(a), unit_runs(b)) for a, b in voices]),
        "phones_changed": _distance([(phones(a), phones(b)) for a, b in voices]),
        "units_changed_other_sentence": _distance([(unit_runs(a), unit_runs(b)) for a, b in others]),
    }


def by_frame(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """(id, (frames,) units at 50 Hz) of each utterance in a UNITS table."""
    table = read_table(path, UNITS, UNITS.names)
    values = table["units"].combine_chunks()
    for row, name in enumerate(table["id"].to_pylist()):
        yield name, values[row].values.to_numpy()


def draw_utterances(cuts: list[Path], units: list[Path], seed: int) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """(speakers, units) of utterances by id, in the order of a seeded hash of the id, up to FRAMES frames."""
    drawn: Draw[tuple[str, np.ndarray]] = Draw(FRAMES, "quality", seed)
    for path in units:
        for name, values in by_frame(path):
            drawn.add(name, len(values), (name, values))
    found = dict(drawn.items())
    return {cut.id: cut.speaker for path in cuts for cut in read_cuts(path) if cut.id in found}, found


def frame_phones(
    alignment: list[Path], lengths: dict[str, int], times: Callable[[int], np.ndarray] = frame_centres
) -> dict[str, list[str]]:
    """The phone without stress at the `times` of the frames of each utterance; `lengths` has the frames by id."""
    out: dict[str, list[str]] = {}
    for path in alignment:
        table = read_table(path, ALIGNMENT, columns=["id", "phones"])
        for at, name in enumerate(table["id"].to_pylist()):
            if name in lengths:
                spans = [s._replace(label=strip_stress(s.label)) for s in from_rows(table["phones"][at].as_py())]
                out[name] = labels_at(spans, times(lengths[name]))
    return out


def phones_of(alignment: list[Path], lengths: dict[str, int]) -> dict[str, tuple[list[str], list[str]]]:
    """The phones at the centres of the frames of each utterance, and at the hundredths of a second (twice as many)."""
    centres, fine = (frame_phones(alignment, lengths, times) for times in (frame_centres, hundredths))
    return {name: (labels, fine[name]) for name, labels in centres.items()}


def joint_of(units: Sequence[np.ndarray], labels: Sequence[list[str]], clusters: int) -> tuple[np.ndarray, np.ndarray]:
    """(phones,) the names in order, and (phones, clusters) how often a phone and a unit are at the same place."""
    phones, index = np.unique(np.concatenate([np.array(row, dtype=str) for row in labels]), return_inverse=True)
    return phones, joint_counts(index, np.concatenate(units).astype(np.int64), (len(phones), clusters))


def pnmi_100hz(units: Sequence[np.ndarray], labels: Sequence[list[str]], clusters: int) -> float | None:
    """PNMI by the convention of published figures; None if there is a single phone.

    Each 50 Hz unit is repeated, and meets the labels of the two hundredths of a second that begin with its frame
    (`alignment.frames.hundredths`). One lies 7.5 ms before the centre of the frame's window and one 2.5 ms after it.
    `pnmi` takes the label at the centre, which reads higher. SpidR (Poli et al. 2025, arXiv 2512.20308) publishes units
    and labels from which this gives its own figures.
    """
    _, joint = joint_of([np.repeat(row, 2) for row in units], labels, clusters)
    return purities(joint)["pnmi"]


def quality(
    units: list[np.ndarray], labels: list[tuple[list[str], list[str]]], speakers: list[str], clusters: int, seed: int
) -> dict[str, Any]:
    """The figures of utterances: units (frames,) at 50 Hz, phones as `phones_of` gives them, and who speaks."""
    centres, fine = zip(*labels, strict=True)
    flat = np.concatenate(units).astype(np.int64)
    phones, joint = joint_of(units, centres, clusters)
    voiced = joint[phones != SIL]
    counts, short = joint.sum(axis=0), [deduplicate(u.astype(np.int64)) for u in units]
    dedup = np.concatenate(short)
    bits, dedup_bits = entropy(counts), entropy(np.bincount(dedup, minlength=clusters))
    dedup_rate = FRAME_RATE * len(dedup) / len(flat)
    return {
        "utterances": len(units),
        "clusters": clusters,
        "dead_clusters": int((counts == 0).sum()),
        **purities(joint),
        "pnmi_100hz": pnmi_100hz(units, fine, clusters),
        "without_silence": purities(voiced) if voiced.sum() else None,
        "entropy_bits": bits,
        "bits_per_second": FRAME_RATE * bits,
        "mean_run_frames": len(flat) / len(dedup),
        "dedup": {
            "units_per_second": dedup_rate,
            "entropy_bits": dedup_bits,
            "bits_per_second": dedup_rate * dedup_bits,
        },
        "speaker": speaker_leak(units, speakers, clusters, seed),
    }


def abx_figures(
    cuts: list[Path],
    alignment: list[Path],
    units: list[Path],
    centroids: np.ndarray | None,
    features: Path | None,
    minutes: float,
    seed: int,
    read: ReadUnits = by_frame,
) -> dict[str, Any] | None:
    """ABX of the units, and of the features, which features_abx measured on the same speech; None for no minutes."""
    if not minutes:
        return None
    speech = abx_run.draw_speech(cuts, alignment, minutes, seed)
    index = {cut.id: at for at, cut in enumerate(speech.cuts)}
    spoken: dict[int, np.ndarray] = {}
    for path in units:
        spoken |= {index[name]: values for name, values in read(path) if name in index}
    of_features = read_json(features)["features"] if features else None
    return {**speech.counts, "features": of_features, "units": abx_run.units_abx(speech, spoken, centroids)}


def write_quality(
    cuts: list[Path],
    alignment: list[Path],
    units: list[Path],
    codebook: Path,
    items: dict[str, tuple[Path, Path]],
    out: Path,
    seed: int,
    abx_minutes: float = 0.0,
    features_abx: Path | None = None,
) -> None:
    """Write units/quality.json. `items` maps a task to its items and their units.

    `features_abx` is what `abx_run.write_features_abx` wrote; without `abx_minutes` there is no ABX. Raise UserError if
    no utterance has both units and an alignment, or if items have no units.
    """
    book = load_codebook(codebook)
    speakers, spoken = draw_utterances(cuts, units, seed)
    figures = quality_with_phones(spoken, speakers, alignment, len(book.centroids), seed, units)
    voices = {task: same_sentence(*paths, seed) for task, paths in items.items()}
    write_json(
        out,
        {
            "encoder": {key: book.provenance[key] for key in ("encoder", "sha256", "layer")},
            **figures,
            "empty_clusters_in_sample": book.provenance["empty_clusters"],
            "same_sentence": voices or None,
            "abx": abx_figures(cuts, alignment, units, book.centroids, features_abx, abx_minutes, seed),
        },
    )


def quality_with_phones(
    spoken: dict[str, np.ndarray],
    speakers: dict[str, str],
    alignment: list[Path],
    clusters: int,
    seed: int,
    units: list[Path],
) -> dict[str, Any]:
    """`quality` of the drawn utterances that are aligned. Raise UserError if none is."""
    labels = phones_of(alignment, {name: len(values) for name, values in spoken.items()})
    names = [name for name in spoken if len(spoken[name]) and name in labels]
    if not names:
        raise UserError(f"no utterance is both in {units[0]} (...) and in {alignment[0]} (...); run the stages again")
    each = ([of[name] for name in names] for of in (spoken, labels, speakers))
    return quality(*each, clusters, seed)
