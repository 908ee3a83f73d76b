"""Whisper through openai-whisper or transformers: English, no timestamps, on a GPU if there is one.

Both decode by the same rules (`fallback`) and give the same words. On a GPU, utterances are decoded in batches, and
rounding may depend on the batch. On the CPU each utterance is decoded alone, which is as fast, so that no transcript
depends on other utterances.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from speechladder.constants import SAMPLE_RATE
from speechladder.continuation.asr.checks import FIELD, SIZES, install
from speechladder.continuation.asr.fallback import (
    CASES,
    NO_SPEECH_CASE,
    PARTS,
    Decoded,
    Model,
    Sampler,
    decode_with_fallback,
)
from speechladder.continuation.asr.text import english_normaliser
from speechladder.io.audio import is_silent
from speechladder.io.devices import acquire_gpu
from speechladder.io.errors import UserError
from speechladder.io.files import read_json
from speechladder.io.hub import fetch_model

LONGEST = 30 * SAMPLE_RATE  # samples; the window of Whisper
SHORTEST = 400  # samples; one window of Whisper's spectrogram
BATCH = 16  # utterances at once on a GPU
QUIET = SAMPLE_RATE // 20  # samples; longer speech is divided at the quietest window of this length
REACH = 2 * SAMPLE_RATE  # samples; the largest distance of a division from equal parts
NO_SPEECH_TOKENS = ("<|nospeech|>", "<|nocaptions|>")  # of newer and of older tokenizers
HUB_FILES = ("*.json", "merges.txt")


def load_whisper(name: str, field: str = FIELD) -> "Whisper":
    """Load a size of openai-whisper, one of its checkpoint files, or a Whisper of transformers (folder, OWNER/NAME).

    Raise UserError naming `field` if the model is missing, broken or gated, or if the extra `whisper` is
    not installed.
    """
    path = Path(name).expanduser()
    if name not in SIZES and not path.is_file():
        return _load_transformers(fetch_model(name, field, HUB_FILES), field)
    return _load_openai(name if name in SIZES else str(path), field)


def load_whisper_normaliser(name: str) -> Callable[[str], str]:
    """Load the text normaliser, with its table of British spellings, of the Whisper that `load_whisper` loads."""
    if name not in SIZES and not Path(name).expanduser().is_file():
        file = fetch_model(name, FIELD, HUB_FILES) / "normalizer.json"
        return english_normaliser(read_json(file) if file.is_file() else None)
    return _package(name, FIELD).normalizers.EnglishTextNormalizer()


class Whisper:
    """A recogniser (`base.ASR`) that decodes by Whisper's rules (`fallback`); `cases` counts what they did."""

    def __init__(self, model: Model, normalise: Callable[[str], str], batch: int) -> None:
        self._model, self.normalise, self._batch = model, normalise, batch
        self.cases: Counter[str] = Counter(dict.fromkeys(CASES, 0))

    def transcribe(self, utterances: list[np.ndarray]) -> list[str]:
        """Return the text of each utterance, (n,) float32 at 16 kHz, as Whisper writes it; "" if it holds no speech.

        Speech of more than 30 s is divided into nearly equal parts at quiet places, and the texts are joined.
        """
        parts = [(n, part) for n, samples in enumerate(utterances) for part in divided(samples)]
        audible = [(n, part) for n, part in parts if not is_silent(part)]
        self.cases.update({PARTS: len(parts), NO_SPEECH_CASE: len(parts) - len(audible)})
        texts: list[list[str]] = [[] for _ in utterances]
        for begin in range(0, len(audible), self._batch):
            some = audible[begin : begin + self._batch]
            found = decode_with_fallback(self._model, [part for _, part in some], self._is_of_silence, self.cases)
            for (n, _), text in zip(some, found):
                texts[n].append(text)
        return [" ".join(text for text in found if text) for found in texts]

    def _is_of_silence(self, text: str) -> bool:
        return self.normalise(text) in ("", self._silence)

    @cached_property
    def _silence(self) -> str:
        """What the model makes of digital silence: a word or two, such as "you"."""
        (said,) = self._model.decode(self._model.encode([np.zeros(SAMPLE_RATE, np.float32)]), 0.0, [0])
        return self.normalise(said.text)


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


def _package(name: str, field: str) -> Any:
    try:
        import whisper.normalizers
    except ImportError:
        raise UserError(f"{field}: {name} needs openai-whisper, which is not installed; {install(name)}") from None
    return whisper


def _load_openai(name: str, field: str) -> Whisper:
    whisper = _package(name, field)
    device = acquire_gpu()  # cpu or cuda:N
    on_gpu = device != "cpu"
    try:
        model = whisper.load_model(name, device=device).eval()
    except Exception as error:  # torch, urllib and the package raise errors of their own
        raise UserError(
            f"{field}: {name} cannot be loaded as a Whisper ({type(error).__name__}: {error}); fetch the checkpoint "
            "where there is a network and name its .pt file here"
        ) from None
    options = whisper.DecodingOptions(language="en", without_timestamps=True, fp16=on_gpu)
    return Whisper(_OpenAI(model, options, device), whisper.normalizers.EnglishTextNormalizer(), BATCH if on_gpu else 1)


class _OpenAI:
    """A `fallback.Model` of openai-whisper."""

    def __init__(self, model: Any, options: Any, device: str) -> None:
        self._model, self._options, self._device = model, options, device

    def encode(self, audio: list[np.ndarray]) -> Any:
        import torch
        import whisper

        samples = torch.stack([torch.from_numpy(whisper.pad_or_trim(x)) for x in audio]).to(self._device)
        mel = whisper.log_mel_spectrogram(samples, self._model.dims.n_mels)
        with torch.inference_mode():
            return self._model.embed_audio(mel.half() if self._options.fp16 else mel)

    def decode(self, encoded: Any, temperature: float, seeds: Sequence[int]) -> list[Decoded]:
        from whisper.decoding import DecodingTask

        task = DecodingTask(self._model, dataclasses.replace(self._options, temperature=temperature))
        sampler = Sampler(temperature, seeds, task.tokenizer.eot)
        task.decoder = _token_decoder(sampler)
        return [
            Decoded(r.text, mean, r.no_speech_prob) for r, mean in zip(task.run(encoded), sampler.log_probabilities())
        ]


def _token_decoder(sampler: Sampler) -> Any:
    """The part of openai-whisper's loop that chooses tokens."""
    import torch
    from whisper.decoding import GreedyDecoder

    class Decoder(GreedyDecoder):  # its `finalize` ends every row
        def update(self, tokens: torch.Tensor, logits: torch.Tensor, sum_logprobs: torch.Tensor) -> Any:
            tokens = torch.cat([tokens, sampler.step(logits)[:, None]], dim=-1)
            return tokens, all(sampler.ended)

    return Decoder(0.0, sampler.end)


def _load_transformers(folder: Path, field: str) -> Whisper:
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
            f"{field}: {folder} cannot be loaded as a Whisper ({type(error).__name__}: {error}); "
            "fetch or save the checkpoint again"
        ) from None
    if info["missing_keys"]:
        first = sorted(info["missing_keys"])[0]
        raise UserError(f"{field}: {folder} lacks {len(info['missing_keys'])} of the model's tensors, first {first}")
    if processor.feature_extractor.sampling_rate != SAMPLE_RATE:
        raise UserError(f"{field}: {folder} needs audio at {processor.feature_extractor.sampling_rate} Hz, not 16,000")
    model = model.eval().to(device)
    spelling = processor.tokenizer.english_spelling_normalizer
    return Whisper(_Transformers(model, processor), english_normaliser(spelling), BATCH if on_gpu else 1)


class _Transformers:
    """A `fallback.Model` of transformers."""

    def __init__(self, model: Any, processor: Any) -> None:
        self._model, self._processor = model, processor
        # an English-only model has no languages and refuses the option
        english = {"language": "en", "task": "transcribe"}
        self._language = english if hasattr(model.generation_config, "lang_to_id") else {}
        known = processor.tokenizer.get_vocab()
        self._no_speech = next((known[name] for name in NO_SPEECH_TOKENS if name in known), None)

    def encode(self, audio: list[np.ndarray]) -> Any:
        import torch

        found = self._processor.feature_extractor(audio, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        with torch.inference_mode():
            return self._model.get_encoder()(found.input_features.to(self._model.device, self._model.dtype))[0]

    def decode(self, encoded: Any, temperature: float, seeds: Sequence[int]) -> list[Decoded]:
        import torch
        from transformers.modeling_outputs import BaseModelOutput

        config, output = self._model.config, BaseModelOutput(last_hidden_state=encoded)
        sampler = Sampler(temperature, seeds, config.eos_token_id)
        with torch.inference_mode():
            silent = self._no_speech_probabilities(output)
            self._model.generate(
                encoder_outputs=output,
                logits_processor=[_choice(sampler)],
                do_sample=False,
                num_beams=1,
                return_timestamps=False,
                force_unique_generate_call=True,
                max_new_tokens=config.max_target_positions // 2,  # as openai-whisper
                **self._language,
            )
        texts = [self._processor.tokenizer.decode(row, skip_special_tokens=True).strip() for row in sampler.rows]
        return [Decoded(*row) for row in zip(texts, sampler.log_probabilities(), silent)]

    def _no_speech_probabilities(self, output: Any) -> list[float]:
        """Those of the first token after <|startoftranscript|>, before anything else; 0 without such a token."""
        import torch

        rows = len(output[0])
        if self._no_speech is None:
            return [0.0] * rows
        start = torch.full((rows, 1), self._model.config.decoder_start_token_id, device=self._model.device)
        logits = self._model(encoder_outputs=output, decoder_input_ids=start).logits[:, 0]
        return logits.float().softmax(-1)[:, self._no_speech].tolist()


def _choice(sampler: Sampler) -> Any:
    """The last processor of the logits in `generate`, which leaves it one token to take."""
    import torch
    from transformers import LogitsProcessor

    class Choice(LogitsProcessor):
        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            return torch.full_like(scores, -torch.inf).scatter(1, sampler.step(scores)[:, None], 0.0)

    return Choice()
