"""Costs from Snakemake's benchmark files, and the count of rejects."""

import math
import os
import resource
import subprocess
import sys

import pytest
from ladder_results import make

from speechladder.analysis.costs import job_names, log_of, read_benchmark, read_job, write_costs
from speechladder.analysis.csv_tables import read_csv
from speechladder.analysis.rejected import reason_kind, write_rejected
from speechladder.io import usage
from speechladder.io.errors import UserError
from speechladder.io.files import write_jsonl
from speechladder.io.processes import RUNNER, runner
from speechladder.io.tables import UTTERANCES, read_table

HEAD = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def line(seconds, memory, cpu):
    return f"{seconds}\t0:00:01\t{memory}\t1\t1\t1\t0\t0\t0\t{cpu}\n"


@pytest.mark.parametrize("unknown", ["-", "NA", ""])
def test_unmeasured_entries(tmp_path, unknown):
    (tmp_path / "a.tsv").write_text(HEAD + line("0.0412", unknown, unknown))
    found = read_benchmark(tmp_path / "a.tsv")
    assert found["s"] == 0.0412 and math.isnan(found["cpu_time"]) and math.isnan(found["max_rss"])


def test_repeated_lines_are_one_job(tmp_path):
    (tmp_path / "a.tsv").write_text(HEAD + line(2, 100, 1) + HEAD + line(4, 300, "NA") + line(6, 200, 3))
    assert read_benchmark(tmp_path / "a.tsv") == {"s": 4, "cpu_time": 2, "max_rss": 300}


def test_no_time_is_an_error(tmp_path):
    (tmp_path / "a.tsv").write_text(HEAD)
    with pytest.raises(UserError, match=r"a.tsv: column 's'"):
        read_benchmark(tmp_path / "a.tsv")


# A job that computes for a second itself, two in short children, and one in a pool that it does not wait for.
BURN = """
import multiprocessing, subprocess, sys, time
from concurrent.futures import ProcessPoolExecutor
from speechladder.command import script

def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass

def main():
    for _ in range(8):
        words = [sys.executable, "-S", "-c", "import time\\nwhile time.process_time() < 0.25: pass"]
        subprocess.run(words, check=True)
    pool = ProcessPoolExecutor(2, multiprocessing.get_context("fork"))
    for _ in range(2):
        pool.submit(burn, 0.5).result()
    pool.shutdown(wait=False)
    burn(1.0)

if __name__ == "__main__":
    script(main)()
"""


def cpu_of_children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_short_children_count(tmp_path):
    """The job computes for four seconds, of which Snakemake's samples saw next to nothing."""
    (tmp_path / "burn.py").write_text(BURN)
    tsv = tmp_path / "costs" / "burn" / "all.tsv"
    for path in (tsv, log_of(tsv)):
        path.parent.mkdir(parents=True, exist_ok=True)
    tsv.write_text(HEAD + line(5, 9, 0.04))
    before = cpu_of_children()
    with log_of(tsv).open("w") as log:
        words = [sys.executable, "burn.py"]
        subprocess.run(words, stdout=log, stderr=log, check=True, cwd=tmp_path, env=os.environ | {RUNNER: runner()})
    truth = cpu_of_children() - before  # with the start of eleven Pythons
    used = read_job(tsv)
    assert truth > 4 and used["cpu_time"] == pytest.approx(truth, rel=0.1) and used["max_rss"] > 9


def test_the_log_and_the_samples_complete_each_other(tmp_path):
    tsv = tmp_path / "costs" / "train_lm" / "phone-raw.seed0.tsv"
    log = log_of(tsv)
    assert log == tmp_path / "logs" / "train_lm" / "phone-raw.seed0.log"
    assert log_of(tmp_path / "costs" / "train_judge" / "all.tsv") == tmp_path / "logs" / "train_judge.log"
    for path in (tsv, log):
        path.parent.mkdir(parents=True)
    tsv.write_text(HEAD + line(30, 900, 7))
    assert (read_job(tsv)["cpu_time"], read_job(tsv)["max_rss"]) == (7, 900)  # no log
    log.write_text("a job that failed\n")
    assert read_job(tsv)["cpu_time"] == 7
    workers = [str(usage.Usage(20.0, 300)), str(usage.Usage(21.0, 1200)), str(usage.Usage(44.25, 1200))]
    said = "\n".join(["100 %\r"] * 9999 + workers + ["written at the exit of a library"])
    log.write_bytes(b"\xff" + said.encode())
    assert read_job(tsv) == {"s": 30, "cpu_time": 44.25, "max_rss": 1200}  # the launcher's line is the last
    log.write_text(str(usage.Usage(44.25, 300)))
    assert read_job(tsv)["max_rss"] == 900  # several processes together
    tsv.write_text(HEAD + line(30, "NA", "-"))
    assert (read_job(tsv)["cpu_time"], read_job(tsv)["max_rss"]) == (44.25, 300)


def test_costs_per_stage(tmp_path):
    make(tmp_path, ["phone-raw"], ids=3, layers=0, learning=0)
    (tmp_path / "costs" / "make_table").mkdir()
    (tmp_path / "costs" / "make_table" / "all.tsv").write_text("left by an earlier run")
    short = tmp_path / "costs" / "train_kmeans"
    short.mkdir()
    (short / "all.tsv").write_text(HEAD + line(0.1, "NA", "-"))
    for stale in ("align/2.tsv", "train_lm/phone-raw.seed1.tsv", "train_lm/text-raw.seed0.tsv"):
        (tmp_path / "costs" / stale).write_text("of a run with more shards, seeds, rungs")
    write_costs(tmp_path, job_names(shards=2, rungs=["phone-raw"], seeds=[0]))
    rows = {row["stage"]: row for row in read_csv(tmp_path / "costs.csv")}
    assert list(rows) == ["align", "train_kmeans", "train_lm"]
    speech = sum(read_table(tmp_path / "tokens" / "utterances.parquet", UTTERANCES)["seconds"].to_pylist())
    assert rows["align"] == {
        "stage": "align",
        "jobs": "2",
        "wall_seconds": "22.0",  # 10.5 + 11.5
        "cpu_seconds": "19.5",
        "peak_memory_mb": "102",
        "speech_seconds": f"{speech:.1f}",
        "real_time_factor": f"{22 / speech:.4f}",
    }
    assert (rows["train_lm"]["speech_seconds"], rows["train_lm"]["real_time_factor"]) == ("", "")
    assert (rows["train_kmeans"]["cpu_seconds"], rows["train_kmeans"]["peak_memory_mb"]) == ("", "")


def test_rejects_are_counted_by_kind_of_reason(tmp_path):
    rows = [{"id": str(n), "reason": f"too fast: {n}.5 phones/s"} for n in range(3)]
    rows += [
        {"id": "x", "reason": "no pronunciation for 'café'"},
        {"id": "y", "reason": "no pronunciation for 'naïve'"},
    ]
    write_jsonl(tmp_path / "alignment" / "rejected.0.jsonl", rows[:4])
    write_jsonl(tmp_path / "alignment" / "rejected.1.jsonl", rows[4:])
    write_jsonl(tmp_path / "benchmarks" / "topic" / "rejected.jsonl", [{"id": "z", "reason": "3 words"}])
    write_jsonl(tmp_path / "alignment" / "rejected.2.jsonl", rows)  # left by a run with more shards
    write_rejected(tmp_path, shards=2)
    found = [tuple(row.values()) for row in read_csv(tmp_path / "rejected.csv")]
    assert found == [
        ("corpus", "none", "0"),
        ("alignment", "too fast", "3"),
        ("alignment", "no pronunciation for '...'", "2"),
        ("units", "none", "0"),
        ("tokens", "none", "0"),
        ("benchmarks", "N words", "1"),
    ]
    assert reason_kind("") == "unknown"
