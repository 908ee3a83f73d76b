#!/usr/bin/env python
"""A stand-in for the command `mfa` of the Montreal Forced Aligner 3.4: version, model download, g2p, train, align.

`install(folder, monkeypatch)` writes it as an executable called mfa and puts it first on PATH. It checks its input
more strictly than MFA, which takes unknown options for parameters: an option that it does not know is an
error (exit code 2, like click's), MFA_ROOT_DIR must be set and must not be in the home directory, corpus and
output must lie outside MFA's temporary folders, audio must be readable and have a .lab file, and a dictionary must have
no phone that is not ARPAbet. Then it writes TextGrids: those in the folders of FAKE_MFA_KNOWN, else an alignment by the
dictionary in MFA's own format. It needs soundfile and the standard library.

As in MFA 3.4.3, a command opens its log below the temporary folder and then cleans this folder, the log with it, unless
--no_clean is given; a dictionary's numbers are read if they look like 0.5 or are 1; and g2p fails if its first word has
no pronunciation.

Environment variables:
    FAKE_MFA_LOG        file; gets a line of JSON for each call: argv, root, and counts (speakers, words, ...)
    FAKE_MFA_EXIT       "CODE" or "COMMAND=CODE": fail with this exit code, with a log below the temporary folder
    FAKE_MFA_SIGNAL     number: end by this signal (9: as if the machine ran out of memory)
    FAKE_MFA_SLEEP      seconds to sleep before the work, in which a test can kill it
    FAKE_MFA_LEAVE_OUT  a word: utterances with it get no TextGrid, but a line in a log
    FAKE_MFA_SPN        a word: written as <unk> with the phone spn, although the dictionary has it
    FAKE_MFA_BREAK      a word: the TextGrid of its utterances is cut off in the middle
    FAKE_MFA_OTHER      a word: written as another word
    FAKE_MFA_LOSE       a word: its first phone is missing from the tier phones
    FAKE_MFA_KNOWN      folders with TextGrids, separated by ':'; used for audio with the same words and duration
    FAKE_MFA_VERSION    the output of `mfa version`, perhaps of several lines; default 3.4.3
"""

import json
import multiprocessing
import os
import re
import shutil
import stat
import sys
import time
import zipfile
from pathlib import Path
from typing import TextIO

COMMON = {
    "--temporary_directory": 1, "-t": 1, "--num_jobs": 1, "-j": 1, "--clean": 0, "--no_clean": 0, "--final_clean": 0,
    "--no_final_clean": 0, "--verbose": 0, "--quiet": 0, "-q": 0, "--overwrite": 0, "--no_overwrite": 0, "--use_mp": 0,
    "--no_use_mp": 0, "--debug": 0, "--single_speaker": 0, "--cleanup_textgrids": 0, "--no_cleanup_textgrids": 0,
    "--profile": 1, "-p": 1, "--use_postgres": 0, "--no_use_postgres": 0, "--use_threading": 0, "--no_use_threading": 0,
}  # fmt: skip
COMMANDS = {  # command -> (its options and the number of values of each, the names of its arguments)
    "align": (
        {
            "--config_path": 1, "-c": 1, "--speaker_characters": 1, "-s": 1, "--audio_directory": 1, "-a": 1,
            "--reference_directory": 1, "--custom_mapping_path": 1, "--output_format": 1, "--include_original_text": 0,
            "--no_tokenization": 0, "--fine_tune": 0, "--g2p_model_path": 1,
        } | COMMON,
        ("CORPUS_DIRECTORY", "DICTIONARY_PATH", "ACOUSTIC_MODEL_PATH", "OUTPUT_DIRECTORY"),
    ),
    "train": (
        {
            "--output_directory": 1, "--config_path": 1, "-c": 1, "--output_format": 1, "--phone_set": 1,
            "--language": 1, "--g2p_model_path": 1, "--ignore_oovs": 0,
        } | COMMON,
        ("CORPUS_DIRECTORY", "DICTIONARY_PATH", "OUTPUT_MODEL_PATH"),
    ),
    "g2p": (
        {"--config_path": 1, "--num_pronunciations": 1, "-n": 1, "--dictionary_path": 1, "--sorted": 0} | COMMON,
        ("INPUT_PATH", "G2P_MODEL_PATH", "OUTPUT_PATH"),
    ),
    "model download": ({"--github_token": 1, "--ignore_cache": 0, "--version": 1}, ("MODEL_TYPE", "MODEL_NAME")),
    "version": ({}, ()),
}  # fmt: skip

DICTIONARY = """a\tAH0
a\tEY1
an\tAE1 N
and\t0.99\t0.1\t1.0\t1.0\tAH0 N D
at\tAE1 T
by\tB AY1
for\tF AO1 R
had\tHH AE1 D
he\tHH IY1
her\tHH ER0
his\tHH IH1 Z
i\tAY1
in\tIH0 N
is\tIH1 Z
it\tIH1 T
not\tN AA1 T
of\tAH1 V
on\tAA1 N
that\tDH AE1 T
the\t0.99\t0.05\t1.0\t1.0\tDH AH0
the\t0.2\t0.05\t1.0\t1.0\tDH IY0
to\tT UW1
was\tW AA1 Z
with\tW IH1 DH
you\tY UW1
<unk>\tspn
[bracketed]\tspn
"""
IPA = "the\tð ə\ncat\tkʰ æ t\n<unk>\tspn\n"
SOUNDS = {  # letters to phones, the longest first
    "tion": "SH AH0 N",
    "ch": "CH",
    "sh": "SH",
    "th": "TH",
    "ng": "NG",
    "ph": "F",
    "ee": "IY1",
    "oo": "UW1",
    "ou": "AW1",
    "ai": "EY1",
    "a": "AE1",
    "c": "K",
    "e": "EH1",
    "h": "HH",
    "i": "IH1",
    "j": "JH",
    "o": "AA1",
    "q": "K",
    "u": "AH1",
    "x": "K S",
    "y": "IY0",
    **{letter: letter.upper() for letter in "bdfgklmnprstvwz"},
}


def install(folder, monkeypatch=None) -> Path:
    """Write `folder`/mfa, run by this interpreter; with pytest's `monkeypatch` it is also put first on PATH."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "mfa"
    path.write_text(f"#!{sys.executable}\n" + Path(__file__).read_text().partition("\n")[2])
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    if monkeypatch is not None:
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return path


def calls(log) -> list[dict]:
    """The calls in FAKE_MFA_LOG, in order."""
    return [json.loads(line) for line in Path(log).read_text().splitlines()] if Path(log).exists() else []


def write_model(path, kind: str) -> None:
    """Write a .zip that the stand-in takes for an acoustic or a g2p model."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{Path(path).stem}/meta.json", json.dumps({"kind": kind, "phones": "arpa"}))


def spell(word: str) -> list[str]:
    """The phones that the stand-in's `mfa g2p` gives; none for a word without a vowel letter."""
    if not re.search("[aeiouy]", word):
        return []
    rest, out = re.sub("[^a-z]", "", word), []
    while rest:
        letters, phones = next(pair for pair in SOUNDS.items() if rest.startswith(pair[0]))
        rest, out = rest[len(letters) :], out + phones.split()
    return out


class UsageError(Exception):
    """A wrong command line: exit code 2, like click's."""


class FailureError(Exception):
    """A failure at which MFA would end with a traceback: exit code 1."""


def info(text: str) -> None:
    print(f" INFO     {text}", file=sys.stderr, flush=True)  # noqa: T201


def parse(command: str, words: list[str]) -> tuple[dict[str, str], list[Path]]:
    """Options and arguments, as click reads them."""
    known, names = COMMANDS[command]
    options, arguments, rest = {}, [], list(words)
    while rest:
        word = rest.pop(0)
        if word.startswith("-"):
            name, _, value = word.partition("=")
            if name not in known:
                raise UsageError(f"No such option: {word}")
            if known[name] and not value:
                if not rest:
                    raise UsageError(f"Option '{name}' requires an argument.")
                value = rest.pop(0)
            options[name] = value
        else:
            arguments.append(word)
    if len(arguments) < len(names):
        raise UsageError(f"Missing argument '{names[len(arguments)]}'.")
    if len(arguments) > len(names):
        raise UsageError(f"Got unexpected extra argument ({arguments[len(names)]})")
    return options, arguments


def read_dictionary(path: str) -> dict[str, list[str]]:
    """The first pronunciation of each word."""
    if not Path(path).is_file() or Path(path).suffix != ".dict":
        raise UsageError(f"Invalid value for 'DICTIONARY_PATH': {path} is no dictionary")
    out = {}
    for line in filter(str.strip, Path(path).read_text(encoding="utf-8").splitlines()):
        word, *rest = line.split()
        for _ in range(4):
            if rest and re.match(r"\b(\d+\.\d+|1)\b", rest[0]):
                float(rest.pop(0))
        if not rest or any(not re.fullmatch("[A-Z]{1,2}[012]?|spn|sil", phone) for phone in rest):
            raise FailureError(f"PronunciationAcousticMismatchError: {path}: {line!r}")
        out.setdefault(word, rest)
    return out


def read_corpus(folder: str, temporary: str) -> list[tuple[str, Path, list[str], float]]:
    """(speaker, audio, words, seconds) of each utterance; all must be readable and outside MFA's temporary folders."""
    import soundfile

    root = Path(folder)
    if not root.is_dir():
        raise UsageError("Invalid value for 'CORPUS_DIRECTORY': Corpus directory does not exist.")
    for place in (temporary, os.environ["MFA_ROOT_DIR"]):
        if str(root).startswith(place):
            raise UsageError("Corpus directories must be outside of MFA's temporary directory to prevent data loss")
    out, seen = [], set()
    for lab in sorted(root.rglob("*.lab")):
        audio = next((p for s in (".flac", ".wav") if (p := lab.with_suffix(s)).exists()), None)
        if audio is None:
            raise FailureError(f"no audio beside {lab}")
        with soundfile.SoundFile(audio) as file:
            if (file.samplerate, file.channels) != (16_000, 1):
                raise FailureError(f"{audio}: {file.samplerate} Hz, {file.channels} channels")
            if len(file.read(dtype="int16")) != len(file):
                raise FailureError(f"{audio}: truncated")
            seconds = len(file) / file.samplerate
        if audio.stem in seen:
            raise FailureError(f"{audio.stem}: two files of one name")
        seen.add(audio.stem)
        out.append((lab.parent.name, audio, lab.read_text(encoding="utf-8").lower().split(), seconds))
    extra = {p.stem for p in root.rglob("*") if p.suffix in (".flac", ".wav")} - seen
    if extra:
        raise FailureError(f"no .lab beside {sorted(extra)[0]}")
    if not out:
        raise FailureError("NoAlignableFilesError: no files in the corpus")
    return out


def tier(number: int, name: str, intervals: list[tuple[float, float, str]], end: float) -> str:
    """An interval tier in Praat's long format, with blanks, as MFA writes it."""
    filled, at = [], 0.0
    for begin, stop, label in intervals:
        if begin > at:
            filled.append((at, begin, ""))
        filled.append((begin, stop, label))
        at = stop
    if at < end:
        filled.append((at, end, ""))
    lines = [f"    item [{number}]:", '        class = "IntervalTier"', f'        name = "{name}"', "        xmin = 0"]
    lines += [f"        xmax = {end}", f"        intervals: size = {len(filled)}"]
    for k, (begin, stop, label) in enumerate(filled, 1):
        lines += [f"        intervals [{k}]:", f"            xmin = {begin}", f"            xmax = {stop}"]
        lines += [f'            text = "{label}"']
    return "\n".join(lines) + "\n"


def grid(words: list[str], dictionary: dict[str, list[str]], seconds: float) -> str | None:
    """A TextGrid with the phones of the words placed evenly on MFA's 10 ms grid; None if they do not fit."""
    sounds = [dictionary.get(word, ["spn"]) for word in words]
    total = sum(map(len, sounds))
    frames = int(seconds * 100) - 20
    if frames < 3 * total:
        return None
    end, at, spoken, phones = round(seconds, 6), 0, [], []
    for word, own in zip(words, sounds):
        edges = [round(0.1 + (at + k) * frames // total / 100, 2) for k in range(len(own) + 1)]
        phones += list(zip(edges, edges[1:], own))[word == os.environ.get("FAKE_MFA_LOSE") :]
        spoken.append((edges[0], edges[-1], word if word in dictionary else "<unk>"))
        at += len(own)
    head = f'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = {end}\ntiers? <exists>\nsize = 2\n'
    return head + "item []:\n" + tier(1, "words", spoken, end) + tier(2, "phones", phones, end)


def known_grids() -> list[tuple[list[str], float, str]]:
    """(words, end, text) of the TextGrids in FAKE_MFA_KNOWN that have tiers words and phones."""
    out = []
    for folder in filter(None, os.environ.get("FAKE_MFA_KNOWN", "").split(":")):
        for path in sorted(Path(folder).rglob("*.TextGrid")):
            text = path.read_text(encoding="utf-8")
            tokens = re.findall(r'"((?:[^"]|"")*)"|(?<!\S)(\d+(?:\.\d*)?)(?!\S)', text)
            flat = [a if not b else float(b) for a, b in tokens]
            if "words" in flat and "phones" in flat:
                at, end = flat.index("words"), flat[3]
                labels = flat[at + 6 : at + 4 + 3 * int(flat[at + 3]) : 3]
                out.append(([w.lower() for w in labels if w not in ("", "sp", "sil")], end, text))
    return out


def align(options: dict[str, str], arguments: list[str]) -> dict:
    corpus, dictionary_path, model, output = arguments
    dictionary = read_dictionary(dictionary_path)
    if not zipfile.is_zipfile(model):
        raise UsageError(f"Invalid value for 'ACOUSTIC_MODEL_PATH': {model}")
    if options.get("--output_format", "long_textgrid") != "long_textgrid":
        raise UsageError("this stand-in writes only long_textgrid")
    temporary = options.get("--temporary_directory") or options.get("-t") or os.environ["MFA_ROOT_DIR"]
    if Path(output).resolve().is_relative_to(Path(temporary).resolve()):
        raise UsageError("Output directories must be outside of MFA's temporary directory")
    info("Setting up corpus information...")
    utterances = read_corpus(corpus, temporary)
    speakers = sorted({u[0] for u in utterances})
    jobs = min(int(options.get("--num_jobs") or options.get("-j") or 3), len(speakers))  # MFA divides by speaker
    info(f"Found {len(speakers)} speakers across {len(utterances)} files, {jobs} jobs")
    log = Path(temporary) / Path(corpus).stem / "alignment" / "log" / "align.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    known = known_grids()
    parts = [[u for u in utterances if speakers.index(u[0]) % jobs == k] for k in range(jobs)]
    print("  0%|          | 0/100 [00:00<?, ?it/s]\r", end="", file=sys.stderr)  # noqa: T201
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        results = pool.starmap(align_part, [(part, dictionary, known, output) for part in parts])
    lost = [line for lines, _ in results for line in lines]
    log.write_text("".join(f"2025-01-01 10:00:00,000 - mfa - WARNING - {line}\n" for line in lost))
    Path(output).mkdir(parents=True, exist_ok=True)
    oovs = sorted({w for u in utterances for w in u[2]} - set(dictionary))
    (Path(output) / "oovs_found_words.txt").write_text("".join(f"{w}\n" for w in oovs))
    info(f"Finished exporting TextGrids to {output}!")
    real = sum(count for _, count in results)
    seconds = [sum(u[3] for u in utterances if u[0] == s) for s in speakers]
    texts = [" ".join(u[2]) for u in utterances]
    links = sum(u[1].is_symlink() for u in utterances)
    return {
        "utterances": len(utterances), "speakers": len(speakers), "jobs": jobs, "known": real, "words": len(dictionary),
        "longest_speaker": max(seconds), "texts": texts, "links": links,
    }  # fmt: skip


def align_part(part: list, dictionary: dict, known: list, output: str) -> tuple[list[str], int]:
    """Write the TextGrids of one job's utterances; returns the lines of its log, and how many TextGrids were known."""
    words = {name: os.environ.get(f"FAKE_MFA_{name}") for name in ("LEAVE_OUT", "SPN", "BREAK", "OTHER")}
    dictionary = {word: phones for word, phones in dictionary.items() if word != words["SPN"]}
    lost, real = [], 0
    for speaker, audio, said, seconds in part:
        text = next((t for w, end, t in known if w == said and abs(end - seconds) < 0.05), None)
        real += text is not None
        text = text or grid(said, dictionary, seconds)
        if text is None or words["LEAVE_OUT"] in said:
            lost.append(f"Did not successfully decode file {audio.stem}, len = {int(seconds * 100)}")
            continue
        if words["BREAK"] in said:
            text = text[: len(text) // 2]
        if words["OTHER"] in said:
            text = text.replace(f'"{words["OTHER"]}"', '"something"')
        path = Path(output) / speaker / f"{audio.stem}.TextGrid"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return lost, real


def train(options: dict[str, str], arguments: list[str]) -> dict:
    corpus, dictionary_path, out = arguments
    dictionary = read_dictionary(dictionary_path)
    temporary = options.get("--temporary_directory") or os.environ["MFA_ROOT_DIR"]
    utterances = read_corpus(corpus, temporary)
    if Path(out).suffix != ".zip":
        raise UsageError("Invalid value for 'OUTPUT_MODEL_PATH': expected a .zip")
    lacking = sorted({w for u in utterances for w in u[2]} - set(dictionary))
    if lacking:
        raise FailureError(f"words that the dictionary lacks: {lacking[:3]}")
    write_model(out, "acoustic")
    speakers = {u[0] for u in utterances}
    return {"utterances": len(utterances), "seconds": sum(u[3] for u in utterances), "speakers": len(speakers)}


def g2p(options: dict[str, str], arguments: list[str]) -> dict:
    words_path, model, out = arguments
    if not zipfile.is_zipfile(model):
        raise UsageError(f"Invalid value for 'G2P_MODEL_PATH': {model}")
    words = Path(words_path).read_text(encoding="utf-8").split()
    if words and not spell(words[0]):
        raise FailureError("ValueError: min() arg is an empty sequence")
    Path(out).write_text("".join(f"{w}\t{' '.join(p)}\n" for w in words if (p := spell(w))), encoding="utf-8")
    return {"words": words}


def download(options: dict[str, str], arguments: list[str]) -> dict:
    kind, name = arguments
    if kind not in ("acoustic", "dictionary", "g2p"):
        raise UsageError(f"Invalid value for 'MODEL_TYPE': '{kind}' is not one of 'acoustic', 'dictionary', 'g2p'.")
    if name not in ("english_us_arpa", "english_mfa"):
        raise FailureError(f"RemoteModelNotFoundError: Could not find a remote {kind} model named {name}")
    path = (
        Path(os.environ["MFA_ROOT_DIR"])
        / "pretrained_models"
        / kind
        / (name + (".dict" if kind == "dictionary" else ".zip"))
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "dictionary":
        path.write_text(DICTIONARY if name == "english_us_arpa" else IPA, encoding="utf-8")
    else:
        write_model(path, kind)
    info(f"Saved model to {path}")
    return {"kind": kind, "name": name}


def version(options: dict[str, str], arguments: list[str]) -> dict:
    print(os.environ.get("FAKE_MFA_VERSION", "3.4.3"))  # noqa: T201
    return {}


def check_root() -> None:
    """Raise UsageError if MFA would write into the home directory."""
    root = os.environ.get("MFA_ROOT_DIR")
    if not root or Path(root).resolve() == Path.home().resolve() or "Documents/MFA" in root:
        raise UsageError("this stand-in needs MFA_ROOT_DIR, so that nothing is written into the home directory")


def open_log(options: dict[str, str], arguments: list[str]) -> TextIO:
    """The command's own log: opened first, and then deleted if its folder is cleaned, as it is by default."""
    name = Path(arguments[0]).stem
    folder = Path(options.get("--temporary_directory") or options.get("-t") or os.environ["MFA_ROOT_DIR"]) / name
    folder.mkdir(parents=True, exist_ok=True)
    log = (folder / f"{name}.log").open("a", encoding="utf-8")
    if "--no_clean" not in options:
        shutil.rmtree(folder)
        folder.mkdir()
    return log


def misbehave(command: str, log: TextIO | None) -> None:
    """Do what FAKE_MFA_SLEEP, _SIGNAL and _EXIT ask for."""
    time.sleep(float(os.environ.get("FAKE_MFA_SLEEP", 0)) if command != "version" else 0)
    if "FAKE_MFA_SIGNAL" in os.environ and command != "version":
        info("about to be killed")
        os.kill(os.getpid(), int(os.environ["FAKE_MFA_SIGNAL"]))
    wanted, _, code = os.environ.get("FAKE_MFA_EXIT", "").rpartition("=")
    if code and wanted in ("", command) and (wanted or command != "version"):
        if log:
            print("2025-01-01 10:00:00,000 - mfa - ERROR - the reason that MFA's own log has", file=log, flush=True)
        info("Performing first-pass alignment...")
        print(" ERROR    There was an error in the run, please see the log.", file=sys.stderr)  # noqa: T201
        sys.exit(int(code))


def main(argv: list[str]) -> int:
    command = " ".join(argv[:2]) if argv[:1] == ["model"] else argv[0] if argv else ""
    try:
        if command not in COMMANDS:
            raise UsageError(f"No such command '{command}'.")
        check_root()
        options, arguments = parse(command, argv[len(command.split()) :])
        log = open_log(options, arguments) if command in ("align", "train", "g2p") else None
        misbehave(command, log)
        work = {"align": align, "train": train, "g2p": g2p, "model download": download, "version": version}[command]
        found = work(options, arguments)
    except UsageError as error:
        print(f"Usage: mfa {command} [OPTIONS]\nError: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except FailureError as error:
        print(f" ERROR    {error}", file=sys.stderr)  # noqa: T201
        return 1
    if os.environ.get("FAKE_MFA_LOG"):
        with Path(os.environ["FAKE_MFA_LOG"]).open("a") as file:
            file.write(
                json.dumps({"command": command, "argv": argv, "root": os.environ["MFA_ROOT_DIR"]} | found) + "\n"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
