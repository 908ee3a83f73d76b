"""What one hears: the continuations of the same prompts by every rung, beside the true ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from speechladder.analysis.compare import run_rungs
from speechladder.continuation.perplexity import TRUE, perplexity
from speechladder.continuation.prompt_table import Parts, read_prompt_parts, true_continuation
from speechladder.continuation.transcribe import PAUSE
from speechladder.io.audio import AudioError, read_audio
from speechladder.io.files import read_json
from speechladder.io.tables import JUDGED, REFERENCE, TRANSCRIPTS, read_table
from speechladder.report.page.numbers import short
from speechladder.report.page.section import Section
from speechladder.report.page.sound import Budget, Sound, sound

PROMPTS = 6  # the most that are shown
AUDIO = 2_200_000  # bytes of the page for them

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """A continuation of a prompt: the rung ("" for the true one), its words, and its audio if there is an example."""

    rung: str
    said: str
    direct: str  # words of phones by the lexicon; "" for other rungs
    heard: str  # of the true one, what the ASR heard
    ppl: str
    sound: Sound | None


def section(results: Path) -> Section | None:
    """The first prompts with the continuation of each rung; None for a run without continuations."""
    path, folder = results / "continuation" / "prompts.parquet", results / "continuation"
    rungs = run_rungs(results)
    said = {rung: samples(folder / rung / "transcripts.parquet") for rung in rungs}
    if not path.is_file() or not any(said.values()):
        return None
    prompts = read_prompt_parts(path, ["text", "audio"])
    examples = {rung: example_files(folder / rung / "examples", prompts) for rung in rungs}
    with_audio = [id for id in prompts if any(id in files for files in examples.values())]
    ids = (with_audio or [id for id in prompts if any(id in rows for rows in said.values())])[:PROMPTS]
    judged, heard, budget = judge(folder / "judged.parquet"), transcribed(folder / "reference.parquet"), Budget(AUDIO)
    shown = []
    for id in ids:
        parts = prompts[id]
        prompt, whole = (decoded(parts[name]["audio"]) for name in ("prompt", "whole"))
        ppl = judged.get(("reference", id, TRUE, TRUE), "")
        true = Answer("", true_continuation(parts), "", heard.get(id, ""), ppl, sound(whole[len(prompt) :]))
        answers = [true]
        for rung in rungs:
            if row := said[rung].get(id):
                audio = sound(decoded(examples[rung].get(id))[len(prompt) + PAUSE :])
                ppl = judged.get((rung, id, row["seed"], row["sample"]), "")
                answers.append(Answer(rung, row["transcript"], row["direct"], "", ppl, audio))
        spoken = sound(prompt)
        if not budget.take(spoken, *(answer.sound for answer in answers)):
            if shown:
                break
            spoken, answers = None, [replace(answer, sound=None) for answer in answers]
        shown.append({"id": id, "text": parts["prompt"]["text"], "sound": spoken, "answers": answers})
    context = {
        "prompts": shown,
        "silent": [rung for rung in rungs if not said[rung]],
        "of": len(prompts),
        "audio": bool(with_audio),
    }
    return Section("Listen", "listen", "listen.html.j2", context, ("hear.js",))


def samples(path: Path) -> dict[str, Row]:
    """Prompt -> the row of its first sample by the first model, of a TRANSCRIPTS table; {} without the table."""
    if not path.is_file():
        return {}
    rows = [row for row in read_table(path, TRANSCRIPTS).to_pylist() if row["seed"] >= 0 and row["sample"] == 0]
    first = min((row["seed"] for row in rows), default=0)
    return {row["id"]: row for row in rows if row["seed"] == first}


def example_files(folder: Path, prompts: Mapping[str, Parts]) -> dict[str, Path]:
    """Prompt -> its example. They are in the order of the prompts and are matched by the prompts' texts."""
    path, left = folder / "transcripts.json", iter(prompts.items())
    found = {}
    for example in read_json(path) if path.is_file() else []:
        id = next((id for id, parts in left if parts["prompt"]["text"] == example["prompt"]), None)
        if id is not None:
            found[id] = folder / f"{example['name']}.flac"
    return found


def judge(path: Path) -> dict[tuple[str, str, int, int], str]:
    """(rung, prompt, seed, sample) -> perplexity per word under the judge, of the transcripts and of the true text."""
    if not path.is_file():
        return {}
    rows = [row for row in read_table(path, JUDGED).to_pylist() if row["path"] in ("transcript", "true")]
    return {
        (row["rung"], row["id"], row["seed"], row["sample"]): short(perplexity(row["nll"], row["words"]))
        for row in rows
        if row["words"]
    }


def transcribed(path: Path) -> dict[str, str]:
    """Prompt -> what the ASR heard in the recording of its true continuation, where that is not the text itself."""
    rows: Sequence[Row] = read_table(path, REFERENCE).to_pylist() if path.is_file() else []
    return {
        row["id"]: row["transcript"] or "nothing"
        for row in rows
        if row["path"] == "natural" and row["transcript"] != row["reference"]
    }


def decoded(source: bytes | Path | None) -> np.ndarray:
    """(n,) float32 at 16 kHz; empty if there is none or it cannot be read."""
    try:
        return read_audio(source) if source else np.zeros(0, np.float32)
    except AudioError:
        return np.zeros(0, np.float32)
