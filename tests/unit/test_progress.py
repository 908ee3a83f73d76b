"""`--logger speechladder`: the time left, the line, what is shown of errors, and a real run of Snakemake."""

import io
import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

import snakemake_logger_plugin_speechladder as plugin
from snakemake_logger_plugin_speechladder.run import Run, clock_text, job_name, last_lines, share_done
from speechladder.plan.inputs import Machine
from speechladder.plan.left import PRIOR, Planned, corrected, estimated, time_left
from speechladder.settings import load

ROOT = Path(__file__).resolve().parents[2]


def _job(seconds: float, *needs: int, cores: int = 1, rule: str = "align", **wildcards: str) -> Planned:
    return Planned(rule, wildcards, frozenset(needs), cores, seconds)


@pytest.mark.parametrize(
    ("jobs", "running", "cores", "seconds"),
    [
        ({}, (), 2, 0),
        ({1: _job(10), 2: _job(10), 3: _job(10)}, (), 2, 20),
        ({1: _job(10), 2: _job(4, 1), 3: _job(3, 2)}, (), 8, 17),  # one after the other, however many cores
        ({1: _job(10, cores=16), 2: _job(5)}, (), 2, 15),  # more cores than there are: all of them
        ({1: _job(10), 2: _job(10), 3: _job(30)}, (1, 2), 2, 40),  # what runs keeps its cores
        ({2: _job(5, 1)}, (), 1, 5),  # what it needs is done
        ({1: _job(10), 2: _job(10)}, (), float("inf"), 10),  # a cluster
    ],
)
def test_jobs_run_when_their_inputs_and_cores_are_there(jobs, running, cores, seconds):
    assert time_left(jobs, running, cores) == seconds


def test_what_a_rule_took_corrects_its_other_jobs_and_the_whole_run_the_other_rules():
    jobs = {1: _job(100), 2: _job(100), 3: _job(50, rule="score_rung")}
    found = corrected(jobs, {1: 300.0})
    whole = (300 + PRIOR) / (100 + PRIOR)
    assert found[2].seconds == pytest.approx(100 * (300 + whole * PRIOR) / (100 + PRIOR))
    assert found[3].seconds == pytest.approx(50 * whole)
    assert corrected(jobs, {})[3].seconds == 50


def test_a_plan_gives_each_job_its_seconds(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("speechladder.plan.left.find_machine", lambda *_, cpus: Machine(cpus, 0, None))
    jobs = {
        1: _job(0, rule="train_lm", rung="text-bpe", seed="0"),
        2: _job(0, rule="train_lm", rung="speech-hubert", seed="0"),
        3: _job(0, rule="select_utterances"),
        4: _job(0, rule="causes_run", corpus="flat"),
        5: _job(0, rule="of_another_workflow"),
    }
    found = {number: job.seconds for number, job in estimated(jobs, load({}), 2).items()}
    assert 3 * found[1] < found[2] < 3600  # 50 tokens in a second, not 4
    assert found[4] > found[2]  # it trains such a model, and more
    assert found[3] == found[5] == 3


def _run(tmp_path: Path) -> tuple[Run, list[float]]:
    now = [100.0]
    run = Run(lambda: now[0])
    jobs = {
        1: _job(60, rule="align", shard="0"),
        2: _job(60, 1, rule="train_lm", point="", rung="text-bpe", seed="0"),
        3: _job(60, 2, rule="make_table"),
    }
    run.expect(jobs, 2, estimated=True)
    return run, now


def test_the_line_says_jobs_stages_time_left_and_what_runs(tmp_path):
    run, now = _run(tmp_path)
    run.start(1)
    now[0] += 10
    assert run.line() == "[0:10] 0/3 jobs, 0/3 stages, about 3 min left: align shard 0"
    now[0] += 50
    assert run.finish(1) == ["align"]
    run.start(2)
    assert run.line() == "[1:00] 1/3 jobs, 1/3 stages, about 2 min left: train_lm text-bpe seed 0"
    run.fail(2)
    assert run.line() == "[1:00] 1/3 jobs, 1/3 stages, 1 failed"
    run.start(2)  # another attempt
    assert "failed" not in run.line()


def test_a_job_that_is_overdue_is_not_done_at_once(tmp_path):
    run, now = _run(tmp_path)
    run.start(1)
    now[0] += 600
    assert run.left() == pytest.approx(60 + 60 + 60)  # a tenth of what it took, and the others


def test_the_share_in_the_log_of_a_training_is_believed(tmp_path):
    log = tmp_path / "train.log"
    log.write_text("train text-bpe seed 0: 25 %, 9,000 tokens/s, 30 s left\n")
    now = [0.0]
    run = Run(lambda: now[0])
    run.expect({1: Planned("train_lm", {"rung": "text-bpe"}, seconds=1000.0, log=str(log))}, 2, estimated=True)
    run.start(1)
    now[0] = 10.0
    assert run.left() == pytest.approx(30)
    assert run.line().endswith(": train_lm text-bpe (25 %)")


def test_stages_end_with_their_last_job_and_are_those_of_the_jobs():
    run = Run(lambda: 0.0)
    run.expect({1: _job(1, shard="0"), 2: _job(1, shard="1"), 3: _job(1, rule="all")}, 1, estimated=False)
    assert run.finish(1) == [] and run.finish(2) == ["align"] and run.finish(3) == []
    assert run.stages() == (1, 1)
    assert run.left() is None


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("encode: 7 %, 12 h of speech per h, 3 min left\n", 0.07),
        ("[Fri]\n12 of 57 steps (21%) done\n", 0.21),
        ("12 of 57 steps (21%) done\nrule align:\n    jobid: 3\n", 0.21),
        ("valid 4.487 bits/token\n", None),
        ("", None),
    ],
)
def test_shares_of_logs(text, share, tmp_path):
    log = tmp_path / "log"
    log.write_text(text)
    assert share_done(str(log)) == share
    assert share_done(str(tmp_path / "none")) is share_done("") is None


def test_a_failed_job_shows_its_last_traceback_or_last_lines(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"a\n" * 100 + b"align.py: error: \xff no speech\r\n")
    assert last_lines(str(log))[-2:] == ["a", "align.py: error: � no speech"] and len(last_lines(str(log))) == 30
    log.write_text("start\nTraceback (most recent call last):\n" + "  File\n" * 40 + "KeyError: 'x'\n")
    assert len(last_lines(str(log))) == 42 and last_lines(str(log))[0].startswith("Traceback")
    assert last_lines(str(tmp_path / "none")) == []


def test_names_and_clocks():
    assert (
        job_name("train_lm", {"point": "scaling/0.5/xs/", "rung": "a", "seed": "3"})
        == "train_lm scaling/0.5/xs a seed 3"
    )
    assert [clock_text(seconds) for seconds in (0, 59.9, 250, 3661)] == ["0:00", "0:59", "4:10", "1:01:01"]


def _handler(monkeypatch, terminal: bool = False, **settings: object) -> tuple[plugin.LogHandler, io.StringIO]:
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    usual = {"stdout": False, "nocolor": True, "quiet": set(), "dryrun": False, "verbose": False, "debug_dag": False}
    usual |= {"printshellcmds": False}
    return plugin.LogHandler(SimpleNamespace(**usual | settings), None), stream


def _record(message: str | None, level: int = logging.INFO, **fields: object) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": message, "levelno": level, "levelname": logging.getLevelName(level), **fields})


def _fail(log: Path) -> logging.LogRecord:
    fields = {"jobid": 1, "rule_name": "align", "log": [str(log)], "rule_msg": None, "input": [], "output": ["out"]}
    fields |= {"conda_env": None, "shellcmd": "false", "aux": {}, "indent": False}
    return _record("Error in rule align", logging.ERROR, event=LogEvent.JOB_ERROR, **fields)


def test_chatter_is_left_out_and_warnings_and_errors_are_shown(monkeypatch):
    handler, stream = _handler(monkeypatch)
    for message in ("Building DAG of jobs...", "Select jobs to execute...", "Using shell: /bin/bash", None):
        handler.emit(_record(message))
    assert stream.getvalue() == ""
    handler.emit(_record("speech-hubert: no continuation", logging.WARNING))
    handler.emit(_record("WorkflowError in file x:\ncorpus.path: no folder", logging.ERROR, event=LogEvent.ERROR))
    handler.emit(_record("Nothing to be done (all requested files are present and up to date)."))
    handler.close()
    assert stream.getvalue().splitlines() == [
        "speech-hubert: no continuation",
        "WorkflowError in file x:",
        "corpus.path: no folder",
        "Nothing to be done (all requested files are present and up to date).",
    ]


def test_a_failed_job_is_said_once_with_its_log(monkeypatch, tmp_path):
    log = tmp_path / "align.log"
    log.write_text("align.py: error: a.flac: no speech\n")
    handler, stream = _handler(monkeypatch)
    handler.emit(_record(None, event=LogEvent.JOB_STARTED, jobs=[1]))
    handler.emit(_record("RuleException:\nCalledProcessError in file y", logging.ERROR, event=LogEvent.ERROR))
    handler.emit(_fail(log))
    handler.emit(_record("Exiting because a job execution failed. Look above", logging.ERROR))
    handler.emit(_record("WorkflowError:\nAt least one job did not complete successfully.", logging.ERROR))
    handler.close()
    lines = stream.getvalue().splitlines()
    assert lines[:3] == ["Error in align:", "    align.py: error: a.flac: no speech", f"Its log: {log}"]
    assert lines[3].startswith("1 job failed after 0 s; 0 of") and len(lines) == 4


def test_jobs_that_a_user_stops_have_no_fault(monkeypatch, tmp_path):
    handler, stream = _handler(monkeypatch)
    handler.emit(_record(None, event=LogEvent.JOB_STARTED, jobs=[1]))
    for _ in range(2):
        handler.emit(_record("Terminating processes on user request, this might take some time."))
    handler.emit(_fail(tmp_path / "none"))
    assert not handler.run.failed and not handler.run.running
    handler.run.total = 1
    handler.close()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "Stopping; running jobs end now." and lines[1].startswith("Stopped after") and len(lines) == 2


def test_a_terminal_has_one_line_that_is_removed_before_others(monkeypatch):
    handler, stream = _handler(monkeypatch, terminal=True)
    monkeypatch.setattr(plugin.shutil, "get_terminal_size", lambda: os.terminal_size((20, 24)))
    handler.emit(_record(None, event=LogEvent.JOB_STARTED, jobs=[1]))
    handler.draw()
    assert stream.getvalue() == "\r\x1b[2K" + handler.run.line()[:19]
    handler.emit(_record("careful", logging.WARNING))
    assert stream.getvalue().endswith("\r\x1b[2Kcareful\n")


def test_without_a_terminal_a_line_is_printed_now_and_then(monkeypatch):
    handler, stream = _handler(monkeypatch)
    now = [0.0]
    handler.run.clock, handler.printed, handler.run.begun = lambda: now[0], 0.0, 0.0
    handler.emit(_record(None, event=LogEvent.JOB_STARTED, jobs=[1]))
    handler.draw()
    assert stream.getvalue() == ""
    now[0] = plugin.EVERY + 1
    handler.draw()
    handler.draw()
    assert stream.getvalue() == "[0:31] 0/0 jobs: job 1\n"


def test_a_dry_run_is_shown_as_ever(monkeypatch):
    handler, stream = _handler(monkeypatch, dryrun=True)
    handler.emit(_record("Building DAG of jobs..."))
    handler.close()
    assert stream.getvalue() == "Building DAG of jobs...\n"


SNAKEFILE = """
from snakemake_logger_plugin_speechladder import announce

onstart:
    announce(workflow, None, log)

rule all:
    input: "good.txt", "bad.txt"

rule good:
    output: "good.txt"
    log: "logs/good.log"
    shell: "echo chatter 2>&1 | tee {log}; touch {output}"

rule bad:
    output: "bad.txt"
    log: "logs/bad.log"
    shell: "set -o pipefail; echo before | tee {log}; (echo 'bad.py: error: no such speech'; false) 2>&1 | tee -a {log}"
"""


def test_a_real_run_shows_its_line_its_errors_and_its_end(tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}

    def snakemake(*words: str) -> tuple[int, list[str]]:
        command = [sys.executable, "-m", "snakemake", *words, "--cores", "1", "--logger", "speechladder"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
        assert done.stdout == ""
        return done.returncode, done.stderr.splitlines()

    code, lines = snakemake("--keep-going")
    log = next((tmp_path / ".snakemake" / "log").iterdir())
    assert code == 1
    assert lines[0] == f"3 jobs. All messages: {log}"
    assert "rule good:" in log.read_text()
    at = lines.index("Error in bad:")
    assert lines[at + 1 : at + 4] == [
        "    before",
        "    bad.py: error: no such speech",
        f"Its log: {tmp_path / 'logs' / 'bad.log'}",
    ]
    assert lines[-2].startswith("1 job failed after ") and "1 of 3 jobs are done" in lines[-2]
    assert snakemake("good.txt") == (0, ["Nothing to be done (all requested files are present and up to date)."])
    code, lines = snakemake("good.txt", "--forceall")
    assert code == 0 and lines[-1].startswith("1 job done in ")
