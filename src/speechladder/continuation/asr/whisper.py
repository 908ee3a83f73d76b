"""Whisper, as openai-whisper or as transformers has it: English, no timestamps, greedy; on a GPU where there is one.

A whole batch goes through the model at once on a GPU, where rounding may then depend on it; on the CPU utterances go
alone, which is as fast, and their company changes nothing.
"""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from speechladder.constants import SAMPLE_RATE
from speechladder.continuation.asr.check import FIELD, INSTALL, SIZES
from speechladder.continuation.asr.text import english_normaliser
from speechladder.io.devices import acquire_gpu
from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.io.hub import require

LONGEST = 30 * SAMPLE_RATE  # samples that Whisper hears at once
SHORTEST = 400  # samples: one window of its spectrum
BATCH = 16  # utterances at once on a GPU
QUIET = SAMPLE_RATE // 20  # samples of the window by whose loudness longer speech is divided
REACH = 2 * SAMPLE_RATE  # how far from the equal parts the division may be


def load(given: str) -> "Whisper":
    """Load a size of openai-whisper, one of its checkpoint files, or a transformers Whisper (folder, OWNER/NAME).

    Raises UserError naming continuation.whisper when it is missing, broken, gated, or the extra is not installed.
    """
    path = Path(given).expanduser()
    if given not in SIZES and not path.is_file():
        return _load_transformers(path if path.is_dir() else _fetched(given))
    return _load_openai(given if given in SIZES else str(path))


def normaliser(given: str) -> Callable[[str], str]:
    """The text normaliser of the Whisper that `load` would load, its table of British spellings included."""
    path = Path(given).expanduser()
    if given not in SIZES and not path.is_file():
        file = (path if path.is_dir() else _fetched(given)) / "normalizer.json"
        return english_normaliser(read_json(file) if file.is_file() else None)
    return _package(given).normalizers.EnglishTextNormalizer()


class Whisper:
    """`decode` makes texts of a batch of utterances of 30 s at most."""

    def __init__(
        self, decode: Callable[[list[np.ndarray]], list[str]], normalise: Callable[[str], str], batch: int
    ) -> None:
        self._decode, self.normalise, self._batch = decode, normalise, batch

    def transcribe(self, utterances: list[np.ndarray]) -> list[str]:
        """Each (n,) float32 at 16 kHz as Whisper writes it; "" where there is nothing.

        Speech of more than 30 s is divided where it is quietest near equal parts, and the parts' texts joined.
        """
        parts = [(n, part) for n, samples in enumerate(utterances) for part in divided(samples)]
        texts: list[list[str]] = [[] for _ in utterances]
        for begin in range(0, len(parts), self._batch):
            some = parts[begin : begin + self._batch]
            for (n, _), text in zip(some, self._decode([part for _, part in some])):
                texts[n].append(text.strip())
        return [" ".join(text for text in found if text) for found in texts]


def divided(samples: np.ndarray) -> list[np.ndarray]:
    """(n,) as parts that Whisper can hear; none where there is less than a window."""
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
        count += 1  # a quiet place made a part too long


def _package(given: str) -> Any:
    try:
        import whisper.normalizers
    except ImportError:
        raise UserError(f"{FIELD}: {given} needs openai-whisper, which is not installed; {INSTALL}") from None
    return whisper


def _load_openai(given: str) -> Whisper:
    whisper = _package(given)
    device = acquire_gpu()  # cpu or cuda:N
    on_gpu = device != "cpu"
    try:
        model = whisper.load_model(given, device=device).eval()
    except Exception as error:  # torch, urllib and the package each have their own
        raise UserError(
            f"{FIELD}: {given} cannot be loaded as a Whisper ({type(error).__name__}: {error}); fetch the checkpoint "
            "where there is a network and name its .pt file here"
        ) from None
    options = whisper.DecodingOptions(language="en", without_timestamps=True, temperature=0.0, fp16=on_gpu)

    def decode(batch: list[np.ndarray]) -> list[str]:
        import torch

        audio = torch.stack([torch.from_numpy(whisper.pad_or_trim(x)) for x in batch]).to(device)
        found = whisper.decode(model, whisper.log_mel_spectrogram(audio, model.dims.n_mels), options)
        return [result.text for result in found]

    return Whisper(decode, whisper.normalizers.EnglishTextNormalizer(), BATCH if on_gpu else 1)


def _fetched(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "merges.txt", "*.bin"]))
    except Exception as error:  # the hub's client raises a dozen kinds for 'not there' and 'no network'
        require(name, FIELD)
        raise UserError(
            f"{FIELD}: {name} could not be fetched ({type(error).__name__}: {error}); try again, or fetch it where "
            f"there is a network (hf download {name} --local-dir FOLDER) and set {FIELD}: FOLDER"
        ) from None


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
    except Exception as error:  # safetensors, torch, json and transformers each have their own
        raise UserError(
            f"{FIELD}: {folder} cannot be loaded as a Whisper ({type(error).__name__}: {error}); "
            "fetch or save the checkpoint again"
        ) from None
    if info["missing_keys"]:
        first = sorted(info["missing_keys"])[0]
        raise UserError(f"{FIELD}: {folder} lacks {len(info['missing_keys'])} of the model's tensors, first {first}")
    if processor.feature_extractor.sampling_rate != SAMPLE_RATE:
        raise UserError(f"{FIELD}: {folder} wants {processor.feature_extractor.sampling_rate} Hz, not 16,000")
    model = model.eval().to(device)
    # an English-only model knows no languages, and must not be told one
    language = {"language": "en", "task": "transcribe"} if hasattr(model.generation_config, "lang_to_id") else {}

    @torch.inference_mode()
    def decode(batch: list[np.ndarray]) -> list[str]:
        asked: Any = processor.feature_extractor(
            batch, sampling_rate=SAMPLE_RATE, return_tensors="pt", return_attention_mask=True
        ).to(device)
        ids = model.generate(
            asked.input_features.to(kind),
            attention_mask=asked.attention_mask,
            do_sample=False,
            num_beams=1,
            return_timestamps=False,
            **language,
        )
        return processor.tokenizer.batch_decode(ids, skip_special_tokens=True)

    spelling = processor.tokenizer.english_spelling_normalizer
    return Whisper(decode, english_normaliser(spelling), BATCH if on_gpu else 1)
