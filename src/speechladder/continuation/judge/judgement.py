"""Judge all continuations in one process: continuation/judged.parquet and continuation/quality.json."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from speechladder.continuation.asr import ASR_CASES, load_normaliser, read_cases
from speechladder.continuation.asr.fallback import PARTS, REPETITIVE, STILL
from speechladder.continuation.asr.text import wer, wer_by_path
from speechladder.continuation.judge.training import WORDS_PER_SECOND, Normalise, judge_spelling
from speechladder.continuation.perplexity import BABBLE, REFERENCE_ROWS, TRUE, Speech, shuffled, statistics
from speechladder.continuation.prompt_table import read_prompt_parts, true_continuation
from speechladder.corpora.text import TextError
from speechladder.io.errors import UserError
from speechladder.io.files import read_json, write_json
from speechladder.io.progress import progress, say
from speechladder.io.tables import JUDGED, REFERENCE, TRANSCRIPTS, read_table, write_table
from speechladder.settings import Continuation

NATURAL_WER = 0.3  # from this word error rate of natural speech on, the ASR itself determines the perplexity
RESYNTHESIS_WER = 0.6  # from this rate of resynthesised speech on, the vocoder determines it more than the model

Rows = list[dict[str, Any]]


class PromptTexts(NamedTuple):
    """Texts of the prompts and of their true continuations by id, and the duration of the latter in seconds."""

    prompts: dict[str, str]
    true: dict[str, str]
    seconds: dict[str, float]


class JudgedText(NamedTuple):
    """One continuation as text, with the columns of JUDGED that name it."""

    rung: str
    path: str
    id: str
    seed: int
    sample: int
    text: str


def read_prompt_texts(path: Path, normalise: Normalise) -> PromptTexts:
    """Read continuation/prompts.parquet: normalised texts, sorted by id. Raise UserError if a part is missing."""
    texts = PromptTexts({}, {}, {})
    for id, parts in sorted(read_prompt_parts(path, ["text", "seconds"]).items()):
        texts.prompts[id] = normalise(parts["prompt"]["text"])
        texts.true[id] = normalise(true_continuation(parts))
        texts.seconds[id] = parts["whole"]["seconds"] - parts["prompt"]["seconds"]
    return texts


def judge_continuations(
    rungs: list[str],
    transcripts: list[Path],
    prompts_file: Path,
    reference: Path,
    out: Path,
    quality: Path,
    continuation: Continuation,
    judge_folder: Path | None = None,
    second: Path | None = None,
    seed: int = 0,
) -> None:
    """Judge the continuations of all rungs: continuation/judged.parquet and continuation/quality.json.

    The floor is the words of the true continuations, shuffled once for each sample. The judge `run` reads text as
    `judge_spelling` writes it, and words are counted in that spelling. A transcript that cannot be spelt, as one in
    another alphabet, is judged as one without words; quality.json counts them as `unspelt`. Raise UserError naming a
    table that belongs to another run, or if the judge cannot be loaded.

    Args:
        rungs: rungs whose continuations are judged
        transcripts: continuation/{rung}/transcripts.parquet of each rung, in the same order
        prompts_file: continuation/prompts.parquet
        reference: continuation/reference.parquet
        out: continuation/judged.parquet to write
        quality: continuation/quality.json to write
        judge_folder: folder continuation/judge, for judge: run
        second: continuation/second_asr.json, which becomes a part of quality.json
        seed: the run's seed, for the floor
    """
    from speechladder.continuation.judge.likelihood import load_judge, negative_log_likelihoods

    if len(rungs) != len(transcripts):
        raise UserError(
            f"--rungs names {len(rungs)} rungs, --transcripts {len(transcripts)} files; give a file for each"
        )
    own = continuation.judge == "run"
    if own and judge_folder is None:
        raise UserError("continuation.judge is run, but --judge-folder is missing; name the folder continuation/judge")
    normalise = load_normaliser(continuation)
    prompts = read_prompt_texts(prompts_file, normalise)
    tables = {rung: _read_transcripts(path, prompts) for rung, path in zip(rungs, transcripts)}
    texts = list(_texts_to_judge(tables, prompts, seed))
    judge = load_judge(judge_folder / "model" if own else continuation.judge_model, own=own)

    unspelt: list[str] = []

    def read(text: str) -> str:
        if not own:
            return " ".join(normalise(text).split())
        try:
            return judge_spelling(text, normalise)
        except TextError as error:
            unspelt.append(f"{text!r}: {error}")
            return ""

    pairs = [(read(prompts.prompts[t.id]), read(t.text)) for t in texts]
    with progress("judge", len(set(pairs)), "continuations/s") as meter:
        scores = negative_log_likelihoods(judge, pairs, advance=meter.advance)
    write_table(out, [_judged_row(t, text, *score) for t, (_, text), score in zip(texts, pairs, scores)], JUDGED)
    about = {"judge": continuation.judge, "model": judge.name if continuation.judge == "hf" else None}
    about["valid_perplexity_per_word"] = _valid_perplexity(judge_folder) if own else None
    if unspelt:
        about["unspelt"] = len(unspelt)
        say(f"judge: {len(unspelt):,} transcripts cannot be spelt and are judged as empty; the first is {unspelt[0]}")
    speech = read_table(reference, REFERENCE).to_pylist()
    found = {"judge": about} | _quality(tables, prompts, speech, continuation.seconds, normalise)
    cases = {name: read_cases(path) for name, path in zip((REFERENCE_ROWS, *rungs), (reference, *transcripts))}
    if cases := {name: counts for name, counts in cases.items() if counts}:
        found[ASR_CASES] = cases
        found["notes"] += _repetitions(cases)
    write_json(quality, found | ({"second_asr": read_json(second)} if second else {}))


def _read_transcripts(path: Path, prompts: PromptTexts) -> Rows:
    rows = read_table(path, TRANSCRIPTS).to_pylist()
    unknown = [row["id"] for row in rows if row["id"] not in prompts.prompts]
    if unknown or {row["id"] for row in rows if row["seed"] == TRUE} != prompts.prompts.keys():
        raise UserError(
            f"{path}: its prompts are not those of prompts.parquet ({unknown[:1]}); delete it and run again"
        )
    return rows


def _texts_to_judge(tables: Mapping[str, Rows], prompts: PromptTexts, seed: int) -> Iterator[JudgedText]:
    """The reference's texts, then each rung's transcripts and, if it has any, its words by the lexicon (`direct`)."""
    for id, text in prompts.true.items():
        yield JudgedText(REFERENCE_ROWS, "true", id, TRUE, TRUE, text)
    samples = 1 + max((row["sample"] for rows in tables.values() for row in rows), default=0)
    for id, sample, text in shuffled(prompts.true, seed, max(1, samples)):
        yield JudgedText(REFERENCE_ROWS, "shuffled", id, TRUE, sample, text)
    for rung, rows in tables.items():
        for path in ("transcript", "direct"):
            if path == "transcript" or any(row["direct"] for row in rows):
                for row in rows:
                    yield JudgedText(rung, path, row["id"], row["seed"], row["sample"], row[path])


def _judged_row(judged: JudgedText, text: str, nats: float, tokens: int) -> dict[str, Any]:
    """A row of JUDGED; `text` is the continuation in the spelling that the judge reads."""
    named = {name: value for name, value in judged._asdict().items() if name != "text"}
    return named | {"nll": nats, "tokens": tokens, "words": len(text.split()) if tokens else 0}


def _quality(
    tables: Mapping[str, Rows], prompts: PromptTexts, reference: Rows, seconds: float, normalise: Normalise
) -> dict[str, Any]:
    """Word error rates of the reference's and the rungs' paths to words, and statistics of the transcripts."""
    lost = wer_by_path(reference, normalise)
    true_speech = [Speech(prompts.true[id].split(), prompts.seconds[id]) for id in prompts.true]
    paths, said = {}, {"true": statistics([true_speech], 0.0)}
    for rung, rows in tables.items():
        true = [row for row in rows if row["seed"] == TRUE]
        paths[rung] = round(
            wer([prompts.true[row["id"]] for row in true], [row["transcript"] for row in true], normalise), 4
        )
        groups: dict[tuple[int, int], list[Speech]] = defaultdict(list)
        for row in rows:
            if row["seed"] not in (TRUE, BABBLE):
                groups[row["seed"], row["sample"]].append(Speech(row["transcript"].split(), row["seconds"]))
        said[rung] = statistics([groups[key] for key in sorted(groups)], seconds)
    return {
        "wer": lost,
        "wer_of_path": paths,
        "said": said,
        "prompts": len(prompts.true),
        "babble_prompts": len({row["id"] for rows in tables.values() for row in rows if row["seed"] == BABBLE}),
        "notes": _notes(lost),
    }


def _notes(lost: Mapping[str, float]) -> list[str]:
    """Warnings about an ASR or a vocoder that determines the perplexity."""
    notes = []
    if lost.get("natural", 0) > NATURAL_WER:
        notes.append(
            f"the ASR gets {100 * lost['natural']:.0f} % of the words of natural speech wrong: the perplexity of rungs "
            "whose continuations are transcribed measures the ASR too; name a better one (continuation.asr: whisper)"
        )
    if lost.get("resynthesis", 0) > RESYNTHESIS_WER:
        notes.append(
            f"resynthesised speech has a WER of {100 * lost['resynthesis']:.0f} %: the perplexity of rungs that use "
            "the unit vocoder says more about the vocoder than about the model; see their own ceiling"
        )
    return notes


def _repetitions(cases: Mapping[str, Mapping[str, int]]) -> list[str]:
    """A warning about transcripts that still repeat themselves: a single one may hold hundreds of words."""
    counts = {name: found[STILL + REPETITIVE] for name, found in cases.items() if found[STILL + REPETITIVE]}
    where = ", ".join(f"{count} of {cases[name][PARTS]} of {name}" for name, count in counts.items())
    return [
        f"Whisper repeats itself at its last temperature too ({where}), and these words count in error rates and "
        "perplexities"
    ] * bool(counts)


def _valid_perplexity(folder: Path) -> float:
    """Perplexity of the judge `run` per word of its validation text, with `</s>`.

    train.json has it as bits per second of text that is read at WORDS_PER_SECOND.
    """
    facts = read_json(folder / "model" / "train.json")
    return round(2 ** (facts["valid_bits_per_second"] / WORDS_PER_SECOND), 3)
