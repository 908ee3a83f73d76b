"""continuation/judged.parquet and quality.json: all that was said, judged in one process; what each path loses."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from speechladder.continuation.judge.run import WORDS_PER_SECOND, Normalise, as_read
from speechladder.continuation.perplexity import REFERENCE_ROWS, TRUE, Speech, shuffled, statistics
from speechladder.io import tables as schemas
from speechladder.io.errors import UserError
from speechladder.io.files import read_json, write_json
from speechladder.io.progress import progress
from speechladder.io.tables import HEARD, JUDGED, PROMPTS, read_table, write_table
from speechladder.settings import Continuation

UNHEARD = 0.6  # WER of resynthesis from which a perplexity says more of the vocoder than of the model
MISHEARD = 0.3  # word error rate of natural speech from which the ASR itself is the story

Wer = Callable[[Sequence[str], Sequence[str], Normalise], float]


class Told(NamedTuple):
    """Texts of the prompts and of their true continuations by id, and how long the latter last in seconds."""

    prompts: dict[str, str]
    true: dict[str, str]
    seconds: dict[str, float]


class Said(NamedTuple):
    """One continuation as text."""

    rung: str
    path: str
    id: str
    seed: int
    sample: int
    text: str


def read_prompts(path: Path, normalise: Normalise) -> Told:
    """Read prompts.parquet; the true continuation are the words of `whole` after those of `prompt`, then normalised."""
    parts: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for row in read_table(path, PROMPTS, ["id", "part", "text", "seconds"]).to_pylist():
        parts[row["part"]][row["id"]] = row
    first, whole = parts["prompt"], parts["whole"]
    if not first or first.keys() != whole.keys():
        raise UserError(f"{path}: not every prompt has the rows prompt and whole; delete it and run again")
    told = Told({}, {}, {})
    for id in sorted(first):
        words = whole[id]["text"].split()[len(first[id]["text"].split()) :]
        told.prompts[id], told.true[id] = normalise(first[id]["text"]), normalise(" ".join(words))
        told.seconds[id] = whole[id]["seconds"] - first[id]["seconds"]
    return told


def judge_continuations(
    heard: Mapping[str, Path],
    prompts: Path,
    reference: Path,
    folder: Path | None,
    judged: Path,
    quality: Path,
    settings: Continuation,
    seed: int,
    normalise: Normalise,
    wer: Wer,
) -> None:
    """Write `judged` (JUDGED) and `quality` (JSON) from the rungs' `heard` tables and the `reference` (REFERENCE).

    `folder` is continuation/judge of the judge `run`; `normalise` and `wer` are the ASR's. The judge `run` reads text
    as `as_read` writes it, and words are counted there. The floor is dealt as often as there are samples. Raises
    UserError naming a table that is of another run, and when the judge cannot be loaded.
    """
    from speechladder.continuation.judge import score

    told = read_prompts(prompts, normalise)
    tables = {rung: _read_heard(path, told) for rung, path in heard.items()}
    said = list(_all_said(tables, told, seed))
    own = settings.judge == "run"
    if own and folder is None:
        raise UserError("judge_continuations: continuation.judge is run; name its folder with --judge-folder")
    judge = score.load(folder / "model" if own else settings.judge_model, own=own)

    def read(text: str) -> str:
        return as_read(text, normalise) if own else " ".join(normalise(text).split())

    pairs = [(read(told.prompts[s.id]), read(s.text)) for s in said]
    with progress("judge", len(set(pairs)), "continuations/s") as meter:
        scored = score.nll(judge, pairs, advance=meter.advance)
    rows = [
        s._asdict() | {"nll": nats, "tokens": tokens, "words": len(text.split()) if tokens else 0}
        for s, (_, text), (nats, tokens) in zip(said, pairs, scored)
    ]
    for row in rows:
        del row["text"]
    write_table(judged, rows, JUDGED)
    write_json(quality, _quality(tables, told, reference, judge.name, folder, settings, normalise, wer))


def _read_heard(path: Path, told: Told) -> list[dict[str, Any]]:
    rows = read_table(path, HEARD).to_pylist()
    strange = [row["id"] for row in rows if row["id"] not in told.prompts]
    if strange or {row["id"] for row in rows if row["seed"] == TRUE} != told.prompts.keys():
        raise UserError(
            f"{path}: its prompts are not those of prompts.parquet ({strange[:1]}); delete it and run again"
        )
    return rows


def _all_said(tables: Mapping[str, list[dict[str, Any]]], told: Told, seed: int) -> Iterator[Said]:
    """The reference's rows, then each rung's as heard and, where it has one, by its direct path."""
    for id, text in told.true.items():
        yield Said(REFERENCE_ROWS, "true", id, TRUE, TRUE, text)
    samples = 1 + max((row["sample"] for rows in tables.values() for row in rows), default=0)
    for id, sample, text in shuffled(told.true, seed, max(1, samples)):
        yield Said(REFERENCE_ROWS, "shuffled", id, TRUE, sample, text)
    for rung, rows in tables.items():
        for path, column in (("heard", "transcript"), ("direct", "direct")):
            if path == "heard" or any(row["direct"] for row in rows):
                for row in rows:
                    yield Said(rung, path, row["id"], row["seed"], row["sample"], row[column])


def _quality(
    tables: Mapping[str, list[dict[str, Any]]],
    told: Told,
    reference: Path,
    name: str,
    folder: Path | None,
    settings: Continuation,
    normalise: Normalise,
    wer: Wer,
) -> dict[str, Any]:
    by_path: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in read_table(reference, schemas.REFERENCE).to_pylist():
        by_path[row["path"]].append((row["reference"], row["transcript"]))
    lost = {path: round(wer(*map(list, zip(*pairs)), normalise), 4) for path, pairs in sorted(by_path.items())}
    paths, speech = {}, {"true": statistics([[Speech(told.true[i].split(), told.seconds[i]) for i in told.true]], 0.0)}
    for rung, rows in tables.items():
        true = [row for row in rows if row["seed"] == TRUE]
        paths[rung] = round(wer([told.true[r["id"]] for r in true], [r["transcript"] for r in true], normalise), 4)
        groups: dict[tuple[int, int], list[Speech]] = defaultdict(list)
        for row in rows:
            if row["seed"] != TRUE:
                groups[row["seed"], row["sample"]].append(Speech(row["transcript"].split(), row["seconds"]))
        speech[rung] = statistics([groups[key] for key in sorted(groups)], settings.seconds)
    notes, again = [], lost.get("resynthesis")
    if lost.get("natural", 0) > MISHEARD:
        notes.append(
            f"the ASR mishears {100 * lost['natural']:.0f} % of the words of natural speech: the perplexity of rungs "
            "that are heard measures it too; name a better one (continuation.asr: whisper)"
        )
    if again is not None and again > UNHEARD:
        notes.append(
            f"resynthesised speech is heard with a WER of {100 * again:.0f} %: the perplexity of rungs that speak "
            "through the unit vocoder says more of the vocoder than of the model; see their own ceiling"
        )
    about = {"judge": settings.judge, "model": name if settings.judge == "hf" else None}
    about["valid_perplexity_per_word"] = _valid_perplexity(folder) if settings.judge == "run" and folder else None
    return {
        "judge": about,
        "wer": lost,
        "wer_of_path": paths,
        "said": speech,
        "prompts": len(told.true),
        "notes": notes,
    }


def _valid_perplexity(folder: Path) -> float:
    """Per word of the validation text, `</s>` included, of the judge `run`: bits per second at its words per second."""
    facts = read_json(folder / "model" / "train.json")
    return round(2 ** (facts["valid_bits_per_second"] / WORDS_PER_SECOND), 3)
