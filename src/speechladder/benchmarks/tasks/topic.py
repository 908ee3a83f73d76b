"""Topic-SC: a story with its own ending against the same story with an ending of another topic."""

from pathlib import Path
from typing import TYPE_CHECKING

from speechladder.benchmarks.tasks.task import OfficialBenchmark, Task
from speechladder.io.rejects import Rejects
from speechladder.settings import Benchmarks

if TYPE_CHECKING:
    from speechladder.benchmarks.pairs import Pair
    from speechladder.benchmarks.spoken import Stimuli


def _generate(settings: Benchmarks, seed: int, cuts: list[Path]) -> "list[Pair]":
    from speechladder.benchmarks.generation.sentences import topic_pairs

    return topic_pairs(seed, settings.topic_pairs)


def _read(settings: Benchmarks, transcripts: Path | None, rejects: Rejects) -> "Stimuli":
    from speechladder.benchmarks.storycloze import read_with_texts

    return read_with_texts(settings, transcripts, rejects)


TASK = Task(
    name="topic",
    title="Topic-SC (meaning)",
    short_title="Topic-SC",
    generate=_generate,
    seconds=11.7,
    voices_field="topic_voices",
    official=OfficialBenchmark(
        title="Topic-StoryCloze",
        field="storycloze",
        read=_read,
        recordings={"": 3_742},  # 1,871 stories (Hassid et al. 2023)
        voices=1,
        seconds=14.0,  # assumed
        texts_field="storycloze_text",
    ),
    paper={
        "text-bpe": 73.6,
        "text-raw": 66.0,
        "phone-bpe": 70.9,
        "phone-raw": 66.6,
        "phone-repeat": 58.3,
        "speech-hubert": 52.9,
    },
    paper_factors={"B": -12.5, "C": -9.3},
)
