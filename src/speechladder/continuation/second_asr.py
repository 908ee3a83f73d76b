"""A second recogniser beside the run's, which hears the true continuations and the examples.

The default ASR has the corpus's words in its language model and the corpus's voices in its acoustic model, so its word
error rate says little of how well a stranger would understand the speech. A Whisper knows neither.
"""

from pathlib import Path
from typing import Any

from speechladder.continuation.asr import ASR, ASR_CASES
from speechladder.continuation.asr.checks import SECOND
from speechladder.continuation.asr.text import wer, wer_by_path
from speechladder.continuation.prompt_table import Parts, read_prompt_parts
from speechladder.continuation.transcribe import PAUSE, hear_reference, read_prompt_audio, transcripts
from speechladder.io.audio import read_audio
from speechladder.io.errors import UserError
from speechladder.io.files import read_json, write_json
from speechladder.settings import Continuation


def transcribe_second(
    prompts_file: Path,
    rungs: list[str],
    example_folders: list[Path],
    out: Path,
    continuation: Continuation,
    units: Path | None = None,
    vocoder_folder: Path | None = None,
    clusters: int | None = None,
    seed: int = 0,
) -> None:
    """Transcribe the true continuations and the examples with the second recogniser: continuation/second_asr.json.

    It has the recogniser (`asr`), the word error rate of each path of the true continuations (`wer`, as in
    quality.json), what Whisper's rules did (`asr_cases`), and of each rung the transcripts of its examples beside those
    of the run's ASR, with the word error rate between the two. Raise UserError naming what is missing.

    Args:
        prompts_file: continuation/prompts.parquet
        rungs: rungs that have continuations
        example_folders: folder continuation/{rung}/examples of each rung, in the same order
        out: continuation/second_asr.json to write
        units: continuation/units.parquet. Without it there is no resynthesis.
        vocoder_folder: folder continuation/vocoder, for vocoder: run. Without a vocoder there is no resynthesis.
        clusters: units.clusters, which the vocoder must have
        seed: seed of the noise in the synthesised speech
    """
    from speechladder.continuation.asr.whisper import load_whisper

    if len(rungs) != len(example_folders):
        raise UserError(
            f"--rungs names {len(rungs)} rungs, --example-folders {len(example_folders)}; give a folder for each"
        )
    if not continuation.second_asr:
        raise UserError(f"{SECOND} names no Whisper; name one")
    asr = load_whisper(continuation.second_asr, SECOND)
    rows = hear_reference(asr, prompts_file, continuation, units, vocoder_folder, clusters, seed)
    found = {"asr": f"Whisper {continuation.second_asr}", "wer": wer_by_path(rows, asr.normalise)}
    prompts = read_prompt_parts(prompts_file, ["text", "audio"])
    heard = {rung: _hear_examples(asr, folder, prompts_file, prompts) for rung, folder in zip(rungs, example_folders)}
    write_json(out, found | {ASR_CASES: asr.cases, "examples": heard})


def _hear_examples(asr: ASR, folder: Path, prompts_file: Path, prompts: dict[str, Parts]) -> dict[str, Any]:
    """The second transcript of each example beside the first, and the word error rate between them (None: no words)."""
    about = read_json(folder / "transcripts.json")
    left, audio = iter(parts["prompt"] for parts in prompts.values()), []
    for example in about:  # they are in the order of the prompts
        prompt = next((row for row in left if row["text"] == example["prompt"]), None)
        if prompt is None:
            raise UserError(f"{folder}: {example['name']} is of no prompt of {prompts_file}; delete it and run again")
        begin = len(read_prompt_audio(prompts_file, prompt)) + PAUSE
        audio.append(read_audio(folder / f"{example['name']}.flac")[begin:])
    second = transcripts(asr, audio, f"transcribe {folder.parent.name}") if audio else []
    first = [example["transcript"] for example in about]
    rate = round(wer(first, second, asr.normalise), 4) if any(map(asr.normalise, first)) else None
    names = [example["name"] for example in about]
    return {
        "wer_to_first": rate,
        "transcripts": [dict(zip(("name", "first", "second"), row)) for row in zip(names, first, second)],
    }
