"""Miniature archives in the genuine formats of the real corpora, with typical faults.

The speech is synthesized, or comes from a folder of LibriSpeech.
"""

import gzip
import hashlib
import io
import json
import random
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from speechladder.corpora import world
from speechladder.corpora.local import scan_folder
from speechladder.corpora.speak import speak, voices

RATE = 16_000
GAP = 0.35  # seconds of silence between the utterances of a long recording
BOOK = "some_book_0812_librivox_64kb_mp3"


@dataclass(frozen=True)
class Said:
    """An utterance: its speaker, its text, and its (n,) float32 samples at 16 kHz."""

    speaker: str
    text: str
    samples: np.ndarray


def natural(folder: Path, speakers: int, each: int, longest: float = 9.0) -> list[Said]:
    """`each` utterances of 1.5 to `longest` seconds by each of `speakers` speakers of a folder of LibriSpeech."""
    found: dict[str, list[Said]] = {}
    for entry in scan_folder(folder)[0]:
        info = soundfile.info(entry.path)
        if entry.text and 1.5 < info.frames / info.samplerate < longest:
            said = found.setdefault(entry.speaker, [])
            if len(said) < each:
                said.append(Said(entry.speaker, entry.text, soundfile.read(entry.path, dtype="float32")[0]))
    chosen = [said for said in found.values() if len(said) == each][:speakers]
    assert len(chosen) == speakers, f"too few speakers in {folder}"
    return [one for said in chosen for one in said]


def synthetic(speakers: int, each: int) -> list[Said]:
    """`each` utterances of two sentences of the world by each of `speakers` speakers."""
    rng, pool = random.Random(0), voices(2)
    sentences = [s for d in world.documents(0, words=2000) for s in d.sentences]
    out = []
    for number in range(speakers):
        for k in range(each):
            text = ". ".join(s.capitalize() for s in rng.sample(sentences, 2)) + "."
            out.append(Said(str(100 + number), text, speak(text, pool[number % len(pool)], seed=k).samples))
    return out


def flac(samples: np.ndarray, rate: int = RATE) -> bytes:
    """(n,) samples as a FLAC file of 16 bits."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def cut(recording: str, number: int, start: float, duration: float, speaker: str, text: str, samples: int) -> dict:
    """A MonoCut as in LibriHeavy's manifests."""
    name = f"{recording}_{number}"
    return {
        "id": name,
        "start": start,
        "duration": duration,
        "channel": 0,
        "supervisions": [
            {
                "id": name, "recording_id": recording, "start": 0, "duration": duration, "channel": 0,
                "language": "English", "speaker": speaker,
                "custom": {
                    "texts": [text.capitalize() + ".", text.upper()],
                    "pre_texts": ["...what was said before it, of some length. " * 8, "WHAT WAS SAID BEFORE IT " * 8],
                    "begin_byte": 4993, "end_byte": 5120,
                },
            }
        ],
        "recording": {
            "id": recording,
            "sources": [{"type": "file", "channels": [0], "source": f"download/librilight/{recording}.flac"}],
            "sampling_rate": RATE, "num_samples": samples, "duration": samples / RATE, "channel_ids": [0],
        },
        "custom": {"text_path": "download/librilight_text/output_text_small_cleaned/Some Book/text.txt"},
        "type": "MonoCut",
    }  # fmt: skip


def tar_bytes(files: dict[str, bytes], hostile: bool = False) -> bytes:
    """A plain tar; `hostile` adds members with paths outside of the folder, a link and a device."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        members = list(files.items())
        if hostile:
            members.insert(1, ("../outside.txt", b"you should not see this\n"))
            members.append(("/tmp/speechladder-outside.txt", b"nor this\n"))
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        if hostile:
            for name, kind in (("small/link.flac", tarfile.SYMTYPE), ("small/null", tarfile.CHRTYPE)):
                info = tarfile.TarInfo(name)
                info.type, info.linkname = kind, "/etc/passwd"
                tar.addfile(info)
    return buffer.getvalue()


def gzipped(rows: list[dict]) -> bytes:
    """Rows as the content of a .jsonl.gz file."""
    return gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode(), mtime=0)


def libriheavy(folder: Path, said: list[Said], held_out: set[str]) -> dict[str, str]:
    """Write small.tar and its manifests into `folder`: a long recording per speaker, with faults.

    Speakers in `held_out` are in the manifest dev, the others in small. Returns the ids that must be left out, each
    with the beginning of its reason.
    """
    files: dict[str, bytes] = {}
    manifests: dict[str, list[dict]] = {"small": [], "dev": []}
    bad: dict[str, str] = {}
    gap = np.zeros(round(GAP * RATE), np.float32)
    for speaker in dict.fromkeys(one.speaker for one in said):
        own = [one for one in said if one.speaker == speaker]
        recording = f"small/{speaker}/{BOOK}/01_{speaker}_64kb"
        pieces, windows, at = [gap], [], len(gap)
        for one in own:
            pieces += [one.samples, gap]
            windows.append((at / RATE, len(one.samples) / RATE, one.text))
            at += len(one.samples) + len(gap)
        files[f"{recording}.flac"] = flac(np.concatenate(pieces))
        rows = manifests["dev" if speaker in held_out else "small"]
        rows += [cut(recording, n, *window[:2], speaker, window[2], at) for n, window in enumerate(windows)]
    rows = manifests["small"]
    first, speaker = rows[0], rows[0]["supervisions"][0]["speaker"]
    recording, samples = first["recording"]["id"], first["recording"]["num_samples"]
    late = cut(recording, 900, samples / RATE - 1, 5.0, speaker, "past the end", samples)
    empty = cut(recording, 901, first["start"], first["duration"], speaker, "...", samples)
    lost = cut(f"small/{speaker}/{BOOK}/02_lost_64kb", 0, 1.0, 3.0, speaker, "a lost recording", 99 * RATE)
    rows += [late, empty, lost, rows[1]]
    bad |= {late["id"]: "window past the end", empty["id"]: "empty", lost["id"]: "missing recording"}
    bad[rows[1]["id"]] = "duplicate id"
    whole = files[f"{recording}.flac"]
    other = f"small/{speaker}/{BOOK}/03_cut_64kb"
    files[f"{other}.flac"] = whole[: len(whole) // 2]
    end = rows[0]["start"], rows[0]["duration"]
    rows.append(cut(other, 0, *end, speaker, first["supervisions"][0]["custom"]["texts"][1], samples))  # still readable
    rows.append(cut(other, 1, samples / RATE - 4, 3.0, speaker, "what was cut off", samples))
    bad[rows[-1]["id"]] = "truncated"
    (folder / "small.tar").write_bytes(tar_bytes(files, hostile=True))
    for name, rows in manifests.items():
        (folder / f"libriheavy_cuts_{name}.jsonl.gz").write_bytes(gzipped(rows))
    return bad


def librispeech(folder: Path, said: list[Said], subset: str) -> None:
    """Write `subset`.tar.gz into `folder`: LibriSpeech/SUBSET/SPEAKER/CHAPTER/*.flac with transcripts."""
    files: dict[str, bytes] = {"LibriSpeech/README.TXT": b"a miniature\n"}
    for speaker in dict.fromkeys(one.speaker for one in said):
        lines, chapter = [], f"LibriSpeech/{subset}/{speaker}/1"
        for n, one in enumerate(one for one in said if one.speaker == speaker):
            name = f"{speaker}-1-{n:04d}"
            files[f"{chapter}/{name}.flac"] = flac(one.samples)
            lines.append(f"{name} {one.text.upper()}")
        files[f"{chapter}/{speaker}-1.trans.txt"] = ("\n".join(lines) + "\n").encode()
    (folder / f"{subset}.tar.gz").write_bytes(gzip.compress(tar_bytes(files), mtime=0))


def md5(path: Path) -> str:
    """The MD5 of a file, in hexadecimal."""
    return hashlib.md5(path.read_bytes()).hexdigest()
