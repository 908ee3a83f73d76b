"""What the main process does for each batch of speech on a GPU: unpickle what workers decoded, and pad it.

    python benchmarks/host_side.py

It compares 16-bit audio in memory that is used again, as the encoder has it, with float32 rows copied into new zeros,
as it was before. Both run in turn in one process. A figure is the median over rounds of the CPU seconds of the thread
that receives and pads, in times real time; the thread that sends is not counted. The memory is not pinned, because
there may be no GPU. The last line is one JSON object.
"""

import json
import os
import pickle
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from hardware import about

from speechladder.constants import SAMPLE_RATE
from speechladder.units.decode import Wave

GROUP, ROUNDS = 8, 15  # utterances that a worker sends at once, and rounds


def speech() -> list[np.ndarray]:
    """A batch of some 400 s: noise in steps of 16 bits, in utterances of similar lengths."""
    rng = np.random.default_rng(0)
    lengths = np.sort(rng.uniform(12, 16, 28))
    steps = [np.round(rng.normal(0, 1600, round(x * SAMPLE_RATE))).astype(np.float32) for x in lengths]
    return [x / np.float32(32768) for x in steps]


def through_a_pipe(sent: list[bytes]) -> list[Wave]:
    """Receive and unpickle groups of waveforms, as the results of a worker are received."""
    from multiprocessing import Pipe
    from threading import Thread

    here, there = Pipe(duplex=False)
    thread = Thread(target=lambda: [there.send_bytes(data) for data in sent])
    thread.start()
    found = [wave for _ in sent for wave in pickle.loads(here.recv_bytes())]
    thread.join()
    return found


def pad_before(waves: list[Wave]) -> torch.Tensor:
    """Copy float32 rows into new zeros."""
    parts = [torch.from_numpy(wave.samples) for wave in waves]
    host = torch.zeros(len(parts), max(map(len, parts)))
    for row, part in zip(host, parts, strict=True):
        row[: len(part)].copy_(part)
    return host


def pad_now(waves: list[Wave], host: torch.Tensor) -> torch.Tensor:
    """Copy 16-bit rows into memory that is used again, as the allocator of pinned memory does."""
    for row, wave in zip(host.numpy(), waves, strict=True):
        row[: wave.length], row[wave.length :] = wave.stored, 0
    return host


def main() -> None:
    """Measure, print."""
    torch.set_num_threads(1)
    waves = [Wave.of(samples) for samples in speech()]
    seconds = sum(wave.length for wave in waves) / SAMPLE_RATE
    small = [wave.compact() for wave in waves]
    host = torch.empty(len(waves), max(wave.length for wave in waves), dtype=torch.int16)
    sent = {
        name: [pickle.dumps(some[at : at + GROUP]) for at in range(0, len(some), GROUP)]
        for name, some in (("before", waves), ("now", small))
    }
    assert np.array_equal(pad_now(small, host).numpy() / np.float32(32768), pad_before(waves).numpy())
    ways: dict[str, Callable[[], object]] = {
        "unpickle_before": lambda: through_a_pipe(sent["before"]),
        "unpickle_now": lambda: through_a_pipe(sent["now"]),
        "pad_before": lambda: pad_before(waves),
        "pad_now": lambda: pad_now(small, host),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            begun = time.thread_time()
            way()
            taken[name].append(time.thread_time() - begun)
    median = {name: statistics.median(values) for name, values in taken.items()}
    both = {when: median[f"unpickle_{when}"] + median[f"pad_{when}"] for when in ("before", "now")}
    found = {name: round(seconds / value) for name, value in (median | both).items()}
    print(json.dumps(about(1) | {"times_real_time": found, "ratio": round(both["before"] / both["now"], 2)}))


if __name__ == "__main__":
    main()
