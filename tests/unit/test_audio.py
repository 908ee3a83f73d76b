"""The one door for audio: what it lets through, and the reason and the second of what it refuses."""

import io
import os
import re
import struct

import numpy as np
import pytest
import soundfile

from speechladder.benchmarks.items import _recording
from speechladder.io.audio import AudioError, audio_info, can_decode, encode_flac, member_path, read_audio
from speechladder.units.decode import Job, read_wave

RATE, SECONDS = 16_000, 4
TONE = (0.3 * np.sin(np.arange(RATE * SECONDS) * 2 * np.pi * 220 / RATE)).astype(np.float32)
NOISE = (TONE + 0.05 * np.random.default_rng(0).standard_normal(len(TONE))).astype(np.float32)


def _sound(samples: np.ndarray = NOISE, form: str = "WAV", subtype: str = "PCM_16", rate: int = RATE) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=form, subtype=subtype)
    return buffer.getvalue()


def _reason(source, **window) -> str:
    with pytest.raises(AudioError) as error:
        read_audio(source, **window)
    return str(error.value)


def _changed(at: int, value: float, samples: np.ndarray = TONE) -> np.ndarray:
    out = samples.astype(np.float64)
    out[at] = value
    return out


@pytest.mark.parametrize(
    ("samples", "subtype", "reason"),
    [
        (_changed(20_000, np.nan), "FLOAT", r"not finite: nan at 1\.25 s \(1 of 64,000 samples\)"),
        (_changed(20_000, -np.inf), "DOUBLE", r"not finite: -inf at 1\.25 s"),
        (_changed(20_000, 1e300), "DOUBLE", r"not finite: inf at 1\.25 s"),  # more than 32 bits hold
        (_changed(20_000, 1e29), "FLOAT", r"beyond full scale: 1e\+29 times, from 1\.25 s on \(0\.00156 %"),
        (_changed(20_000, 3.0), "FLOAT", r"beyond full scale: 3 times, from 1\.25 s on"),
        (TONE * 32_768, "FLOAT", r"beyond full scale: 9830\.4 times, from 0\.00 s .*of 16 bits, divide by 32,768"),
        (TONE * 2**23, "FLOAT", r"integers of 24 bits, divide by 8,388,608"),
        (TONE * 2.0**31, "DOUBLE", r"integers of 32 bits, divide by 2,147,483,648"),
        (TONE * 5, "FLOAT", r"beyond full scale: 1\.5 times, from 0\.00 s on \(53\.\d %"),
        (TONE * 0, "PCM_16", r"silent$"),
        (TONE * 1e-3, "FLOAT", r"silent$"),
        (np.stack([TONE, -TONE], axis=1), "PCM_24", r"silent: its channels cancel each other out"),
        (np.stack([_changed(9_600, np.inf), _changed(9_600, -np.inf)], axis=1), "FLOAT", r"not finite: inf at 0\.60 s"),
    ],
)
def test_what_is_no_speech_is_refused_with_its_second(samples, subtype, reason):
    assert re.match(f".*{reason}", _reason(_sound(samples, subtype=subtype)))


def test_only_the_window_counts():
    sound = _sound(_changed(20_000, np.nan), subtype="FLOAT")
    assert len(read_audio(sound, 2.0, 1.0)) == RATE
    assert "at 1.25 s" in _reason(sound, start=1.0, duration=1.0)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "GSM610"])
@pytest.mark.parametrize("form", ["WAV", "AIFF", "AU"])
def test_sound_files_of_every_depth_are_read_and_truncation_is_found(form, subtype):
    if not soundfile.check_format(form, subtype):
        pytest.skip(f"{form} knows no {subtype}")
    whole = _sound(form=form, subtype=subtype)
    assert len(read_audio(whole)) == pytest.approx(len(NOISE), abs=400)
    cut = whole[: len(whole) * 6 // 10]
    assert re.match(r"truncated audio: it ends at 2\.[34]\d s of [34]\.\d\d s", _reason(cut))
    info = audio_info(cut)
    assert info.held < info.samples == pytest.approx(len(NOISE), abs=400)


def test_a_window_that_a_truncated_file_holds_is_read(tmp_path):
    (tmp_path / "x.wav").write_bytes(_sound()[: 2 * RATE * 3])
    assert len(read_audio(tmp_path / "x.wav", 1.0, 1.5)) == 1.5 * RATE
    assert can_decode(tmp_path / "x.wav", 2.5, 0.3)
    assert not can_decode(tmp_path / "x.wav", 2.9, 0.3)
    assert _reason(tmp_path / "x.wav", start=3.5, duration=0.2) == "truncated audio: nothing at 3.50 s of 4.00 s"


@pytest.mark.parametrize("length", [0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFDB, 0x7FFFF024])
def test_wav_headers_that_were_written_into_a_pipe_are_read(tmp_path, length):
    piped = bytearray(_sound())
    piped[4:8], piped[40:44] = struct.pack("<I", length), struct.pack("<I", length)
    (tmp_path / "x.wav").write_bytes(piped)
    (tmp_path / "x.tar").write_bytes(b"x" * 512 + piped)
    for source in (bytes(piped), tmp_path / "x.wav", member_path(tmp_path / "x.tar", 512, len(piped))):
        np.testing.assert_allclose(read_audio(source), NOISE, atol=1e-4)
    piped[40:44] = bytes(4)
    assert _reason(bytes(piped)).startswith("zero-length audio: its header promises none, though bytes follow")


def test_chunks_before_and_after_the_samples_are_no_truncation():
    plain = _sound()
    chunk = b"LIST" + struct.pack("<I", 5) + b"hello\0"  # an odd length is padded
    mixed = plain[:36] + chunk + plain[36:] + chunk
    assert audio_info(mixed) == (len(NOISE), RATE, 1, len(NOISE))
    assert _reason(mixed[:90_000]).startswith("truncated audio: it ends at 2.81 s of 4.00 s")
    assert audio_info(_sound(form="RF64")).held == len(NOISE)
    assert _reason(_sound(form="RF64")[:90_000]).startswith("truncated audio: it ends at 2.81 s of 4.00 s")


@pytest.mark.parametrize(
    ("form", "subtype"),
    [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")],
)
def test_damage_in_the_middle_and_a_missing_end_are_found(form, subtype):
    whole = _sound(form=form, subtype=subtype)
    middle = len(whole) // 2
    assert len(read_audio(whole)) == len(NOISE)
    noise = np.random.default_rng(1).bytes(200)
    damaged = _reason(whole[:middle] + noise + whole[middle + 200 :])
    second = re.match(r"damaged audio: .* at (\d\.\d\d) s", damaged)
    assert second, damaged
    assert 0.8 < float(second[1]) < 2.2  # the second in which the broken frame or page begins
    assert _reason(whole[:middle]).startswith("truncated audio: it")
    assert re.match("damaged|truncated", _reason(whole[:middle] + whole[middle + 3000 :]))


def test_headers_that_are_wrong_otherwise():
    wav = bytearray(_sound())
    wav[40:44] = struct.pack(
        "<I", len(wav) - 8
    )  # the size of the file but for 8 bytes, in place of that of the samples
    assert audio_info(bytes(wav)) == (len(NOISE), RATE, 1, len(NOISE))
    for channels in (0, 5000):
        wav[22:24] = struct.pack("<H", channels)
        assert _reason(bytes(wav)).startswith("unreadable audio: ")
    seven = _sound(np.stack([TONE] * 7, axis=1))
    np.testing.assert_allclose(read_audio(seven), TONE, atol=1e-4)


def test_tags_around_an_mp3_are_no_damage():
    mp3 = _sound(form="MP3", subtype="MPEG_LAYER_III")
    tag = b"ID3\x04\0\0\0\0\x02\x01" + bytes(257)
    for tagged in (tag + mp3, mp3 + b"TAG" + bytes(125), tag + mp3 + bytes(2000)):
        assert len(read_audio(tagged)) == len(NOISE)


def test_a_flac_that_was_written_into_a_pipe_says_so():
    flac = bytearray(_sound(form="FLAC"))
    flac[21] &= 0xF0
    flac[22:26] = bytes(4)
    assert "does not say how long it is" in _reason(bytes(flac))


def test_what_is_no_file_is_named(tmp_path):
    (tmp_path / "link.wav").symlink_to(tmp_path / "nowhere.wav")
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    (tmp_path / "folder.wav").mkdir()
    os.mkfifo(tmp_path / "pipe.wav")
    assert _reason(tmp_path / "link.wav").endswith("link.wav is a broken link")
    for name in ("loop.wav", "folder.wav", "pipe.wav", "none.wav"):
        assert _reason(tmp_path / name).startswith("unreadable audio: ")
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "empty.wav").write_bytes(b"")
    assert "unreadable audio" in _reason(tmp_path / "text.wav")
    assert _reason(tmp_path / "empty.wav") == _reason(b"") == "zero-length audio: the file has 0 bytes"
    soundfile.write(tmp_path / "zero.wav", np.zeros(0), RATE)
    assert _reason(tmp_path / "zero.wav") == "zero-length audio"


def test_overshoot_of_resampling_and_codecs_is_let_through():
    assert np.abs(read_audio(_sound(_changed(30_000, 1.4), subtype="FLOAT"))).max() == pytest.approx(1.4)
    square = np.sign(TONE) * 0.999
    assert len(read_audio(_sound(square, rate=44_100))) == pytest.approx(len(TONE) * RATE / 44_100, abs=2)


def test_silence_is_let_through_in_what_the_run_made_itself(tmp_path):
    silence = encode_flac(np.zeros(RATE, np.float32))
    assert not np.abs(read_audio(silence, silent=True)).any()
    (tmp_path / "x.flac").write_bytes(silence)
    assert read_wave(Job("a", "s", str(tmp_path / "x.flac"), 1.0)) == "silent"
    assert not isinstance(read_wave(Job("a", "s", silence, 1.0)), str)


def test_a_bad_file_is_a_reason_before_an_encoder_or_a_pair_gets_it(tmp_path):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(_sound(_changed(20_000, np.nan), subtype="FLOAT"))
    assert read_wave(Job("a", "s", str(bad), 4.0, windowed=True)) == "not finite: nan at 1.25 s (1 of 64,000 samples)"
    with pytest.raises(AudioError, match=r"not finite: nan at 1\.25 s .* \(.*bad\.wav\)"):
        _recording(bad)


def test_nothing_else_opens_a_sound_file(root):
    opens = re.compile(r"^\s*(import|from) (soundfile|wave|audioread|librosa|torchaudio)\b|scipy\.io\.wavfile", re.M)
    found = [p.name for p in (root / "src").rglob("*.py") if opens.search(p.read_text(encoding="utf-8"))]
    assert sorted(found) == ["audio.py", "s3prl_shims.py"]  # the latter stands in for torchaudio, which opens nothing
