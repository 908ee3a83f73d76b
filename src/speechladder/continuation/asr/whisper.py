"""Whisper through openai-whisper or transformers: English, no timestamps, greedy decoding, on a GPU if there is one.

On a GPU, utterances are decoded in batches, and rounding may depend on the batch. On the CPU each utterance is decoded
alone, which is as fast, so that no transcript depends on other utterances.
"""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from speechladder.constants import SAMPLE_RATE
from speechladder.continuation.asr.checks import FIELD, INSTALL, SIZES
from speechladder.continuation.asr.text import english_normaliser
from speechladder.io.devices import acquire_gpu
from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.io.hub import fetch_model

LONGEST = 30 * SAMPLE_RATE  # samples; the window of Whisper
SHORTEST = 400  # samples; one window of Whisper's spectrogram
BATCH = 16  # utterances at once on a GPU
QUIET = SAMPLE_RATE // 20  # samples; longer speech is divided at the quietest window of this length
REACH = 2 * SAMPLE_RATE  # samples; the largest distance of a division from equal parts
HUB_FILES = ("*.json", "*.safetensors", "merges.txt", "*.bin")


def load_whisper(name: str) -> "Whisper":
    """Load a size of openai-whisper, one of its checkpoint files, or a Whisper of transformers (folder, OWNER/NAME).

    Raise UserError naming continuation.whisper if the model is missing, broken or gated, or if the extra `whisper` is
    not installed.
    """
    path = Path(name).expanduser()
    if name not in SIZES and not path.is_file():
        return _load_transformers(fetch_model(name, FIELD, HUB_FILES))
    return _load_openai(name if name in SIZES else str(path))


def load_whisper_normaliser(name: str) -> Callable[[str], str]:
    """Load the text normaliser, with its table of British spellings, of the Whisper that `load_whisper` loads."""
    if name not in SIZES and not Path(name).expanduser().is_file():
        file = fetch_model(name, FIELD, HUB_FILES) / "normalizer.json"
        return english_normaliser(read_json(file) if file.is_file() else None)
    return _package(name).normalizers.EnglishTextNormalizer()


class Whisper:
    """A recogniser (`base.ASR`). `decode` transcribes a batch of utterances of at most 30 s each."""

    def __init__(
        self, decode: Callable[[list[np.ndarray]], list[str]], normalise: Callable[[str], str], batch: int
    ) -> None:
        self._decode, self.normalise, self._batch = decode, normalise, batch

    def transcribe(self, utterances: list[np.ndarray]) -> list[str]:
        """Return the text of each utterance, (n,) float32 at 16 kHz, as Whisper writes it; "" for silence.

        Speech of more than 30 s is divided into nearly equal parts at quiet places, and the texts are joined.
        """
        parts = [(n, part) for n, samples in enumerate(utterances) for part in divided(samples)]
        texts: list[list[str]] = [[] for _ in utterances]
        for begin in range(0, len(parts), self._batch):
            some = parts[begin : begin + self._batch]
            for (n, _), text in zip(some, self._decode([part for _, part in some])):
                texts[n].append(text.strip())
        return [" ".join(text for text in found if text) for found in texts]


def divided(samples: np.ndarray) -> list[np.ndarray]:
    """Divide samples (n,) into parts that fit Whisper's window; return no part if there is less than SHORTEST."""
    if len(samples) < SHORTEST:
        return []
    count = -(-len(samples) // LONGEST)
    while True:
        size, cuts = len(samples) / count, [0]
        reach = min(REACH, int(size / 4))
        for k in range(1, count):
            begin = round(k * size) - reach
            energy = np.square(samples[begin : begin + 2 * reach], dtype=np.float64)
            loudness = np.convolve(energy, np.ones(QUIET), "valid")
            cuts.append(begin + int(np.argmin(loudness)) + QUIET // 2)
        cuts.append(len(samples))
        if max(np.diff(cuts)) <= LONGEST:
            return [samples[a:b] for a, b in pairwise(cuts)]
        count += 1  # moving a division to a quiet place made a part too long


def _package(name: str) -> Any:
    try:
        import whisper.normalizers
    except ImportError:
        raise UserError(f"{FIELD}: {name} needs openai-whisper, which is not installed; {INSTALL}") from None
    return whisper


def _load_openai(name: str) -> Whisper:
    whisper = _package(name)
    device = acquire_gpu()  # cpu or cuda:N
    on_gpu = device != "cpu"
    try:
        model = whisper.load_model(name, device=device).eval()
    except Exception as error:  # torch, urllib and the package raise errors of their own
        raise UserError(
            f"{FIELD}: {name} cannot be loaded as a Whisper ({type(error).__name__}: {error}); fetch the checkpoint "
            "where there is a network and name its .pt file here"
        ) from None
    options = whisper.DecodingOptions(language="en", without_timestamps=True, temperature=0.0, fp16=on_gpu)

    def decode(batch: list[np.ndarray]) -> list[str]:
        import torch

        audio = torch.stack([torch.from_numpy(whisper.pad_or_trim(x)) for x in batch]).to(device)
        found = whisper.decode(model, whisper.log_mel_spectrogram(audio, model.dims.n_mels), options)
        return [result.text for result in found]

    return Whisper(decode, whisper.normalizers.EnglishTextNormalizer(), BATCH if on_gpu else 1)


def _load_transformers(folder: Path) -> Whisper:
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    device = acquire_gpu()  # cpu or cuda:N
    on_gpu = device != "cpu"
    kind = torch.float16 if on_gpu else torch.float32
    try:
        processor = transformers.WhisperProcessor.from_pretrained(folder, local_files_only=True)
        model, info = transformers.WhisperForConditionalGeneration.from_pretrained(
            folder, local_files_only=True, dtype=kind, output_loading_info=True
        )
    except Exception as error:  # safetensors, torch, json and transformers raise errors of their own
        raise UserError(
            f"{FIELD}: {folder} cannot be loaded as a Whisper ({type(error).__name__}: {error}); "
            "fetch or save the checkpoint again"
        ) from None
    if info["missing_keys"]:
        first = sorted(info["missing_keys"])[0]
        raise UserError(f"{FIELD}: {folder} lacks {len(info['missing_keys'])} of the model's tensors, first {first}")
    if processor.feature_extractor.sampling_rate != SAMPLE_RATE:
        raise UserError(f"{FIELD}: {folder} needs audio at {processor.feature_extractor.sampling_rate} Hz, not 16,000")
    model = model.eval().to(device)
    # an English-only model has no languages and refuses the option
    language = {"language": "en", "task": "transcribe"} if hasattr(model.generation_config, "lang_to_id") else {}

    @torch.inference_mode()
    def decode(batch: list[np.ndarray]) -> list[str]:
        inputs: Any = processor.feature_extractor(
            batch, sampling_rate=SAMPLE_RATE, return_tensors="pt", return_attention_mask=True
        ).to(device)
        ids = model.generate(
            inputs.input_features.to(kind),
            attention_mask=inputs.attention_mask,
            do_sample=False,
            num_beams=1,
            return_timestamps=False,
            **language,
        )
        return processor.tokenizer.batch_decode(ids, skip_special_tokens=True)

    spelling = processor.tokenizer.english_spelling_normalizer
    return Whisper(decode, english_normaliser(spelling), BATCH if on_gpu else 1)
