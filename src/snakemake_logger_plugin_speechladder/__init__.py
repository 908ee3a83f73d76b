"""Snakemake's logger plugin `--logger speechladder`: one line of progress in place of Snakemake's messages.

Snakemake writes all its messages into a log file anyway, whose path is printed. Warnings and errors are shown in full;
of a failed job also the end of its log. On a terminal the line is rewritten in place. Elsewhere it is printed every
`EVERY` seconds, and when a stage is done.

Snakemake imports every plugin when it starts, so what takes time to import is imported where it is used.
"""

import os
import re
import shutil
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from logging import WARNING, LogRecord
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from snakemake.common import NOTHING_TO_BE_DONE_MSG
from snakemake.logging import ColorizingTextHandler, DefaultFormatter
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

if TYPE_CHECKING:
    from speechladder.settings import Settings

EVERY = 30.0  # seconds between lines where there is no terminal
# Messages of Snakemake below a warning that are shown: they say why nothing runs, or why nothing more does.
SHOWN = (NOTHING_TO_BE_DONE_MSG, "Trying to restart job")
REACH = 80  # characters of a message in which they stand; a user's own message may quote them later
# What Snakemake says when it is told to stop, perhaps many times: what is said here, once.
STOPS = {
    "Terminating processes on user request": "Stopping; running jobs end now.",
    "Will exit after finishing currently running jobs": "Stopping when the running jobs are done.",
}
_NO_OUTPUT = re.compile(r"Job (\d+) +completed successfully, but")
# Messages of Snakemake about failed jobs that repeat what is said of each: its whole shell command; that there was one.
REPEATS = (
    "Exiting because a job execution failed",
    "At least one job did not complete successfully",
    "CalledProcessError",
)


class LogHandler(LogHandlerBase):
    """Turns the records of one Snakemake process into its line. Records come from one thread, ticks from another."""

    active: ClassVar["LogHandler | None"] = None

    writes_to_stream = True
    writes_to_file = False
    has_filter = False
    has_formatter = False
    needs_rulegraph = False

    def __post_init__(self) -> None:
        from snakemake_logger_plugin_speechladder.run import Run

        settings = self.common_settings
        self.stream = sys.stdout if settings.stdout else sys.stderr
        self.plain = ColorizingTextHandler(settings.nocolor, self.stream, DefaultFormatter(settings.quiet, False))
        # what is no run, and what asks for more messages, is as without the plugin
        self.passes = settings.dryrun or settings.verbose or settings.debug_dag or settings.printshellcmds
        self.terminal = self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self.run = Run()
        self.logs: list[str] = []
        self.stopped = ""  # what was said about it
        self.started = self.drawn = False
        self.printed = self.run.clock()
        self._over = threading.Event()
        self._stdout: int | None = None
        LogHandler.active = self

    def emit(self, record: LogRecord) -> None:
        """Show a record, or count it."""
        try:
            if self.passes:
                self.plain.emit(record)
            else:
                self._take(record)
        except Exception:
            self.handleError(record)

    def _take(self, record: LogRecord) -> None:
        event, run = getattr(record, "event", None), self.run
        if event == LogEvent.JOB_INFO:
            run.meet(record.jobid, record.rule_name, record.wildcards, next(iter(record.log), ""))
        elif event == LogEvent.JOB_STARTED:
            self.started = True
            for number in record.jobs:
                run.start(number)
        elif event == LogEvent.JOB_FINISHED:
            self._done(run.finish(record.job_id))
        elif event == LogEvent.PROGRESS:
            run.total = record.total
        elif event == LogEvent.RUN_INFO:
            run.total = record.stats.get("total", run.total)
        elif event == LogEvent.JOB_ERROR:
            self._failed(record)
        elif event is None and (said := next((STOPS[text] for text in STOPS if str(record.msg).startswith(text)), "")):
            if said != self.stopped:
                self.stopped = said
                self.say(said)
        elif self._shown(event, record.levelno, str(record.msg)):
            if found := _NO_OUTPUT.search(str(record.msg)):
                run.fail(int(found[1]))
            self.clear()
            self.plain.emit(record)

    def _shown(self, event: LogEvent | None, level: int, message: str) -> bool:
        if level < WARNING:
            return event is None and message.startswith(SHOWN)
        return not any(text in message[:REACH] for text in REPEATS)

    def _done(self, stages: Sequence[str]) -> None:
        if stages and not self.terminal:
            self.say(f"{self.run.line()}; done: {', '.join(stages)}")

    def _failed(self, record: LogRecord) -> None:
        """Say which job failed, what its log says at its end, and where that is."""
        from snakemake_logger_plugin_speechladder.run import job_name, last_lines

        if self.stopped == next(iter(STOPS.values())):
            self.run.running.pop(record.jobid, None)
            return  # it was ended, and has no fault
        self.run.fail(record.jobid)
        job = self.run.jobs.get(record.jobid)
        name = job_name(record.rule_name, job.wildcards if job else {})
        logs = [Path(log) for log in record.log]
        lines = [line for log in logs for line in last_lines(str(log))]
        if not lines:  # it ended before it wrote anything: all that Snakemake knows
            self.say(f"Error in {name}, whose log is empty:", self.format(record))
            return
        where = [f"Its log: {log.resolve()}" for log in logs]
        self.say(f"Error in {name}:", *(f"    {line}" for line in lines), *where)

    def say(self, *lines: str) -> None:
        """Print whole lines, above the line of progress."""
        self.clear()
        self.stream.write("\n".join(lines) + "\n")
        self.stream.flush()
        self.printed = self.run.clock()

    def clear(self) -> None:
        """Remove the line of progress from the terminal, until it is drawn again."""
        if self.drawn:
            self.stream.write("\r\x1b[2K")
            self.drawn = False

    def draw(self) -> None:
        """Show the line of progress, if it is time."""
        with self.lock:
            if not self.run.running or self._over.is_set():
                return
            if self.terminal:
                columns = shutil.get_terminal_size().columns - 1
                self.stream.write("\r\x1b[2K" + self.run.line()[:columns])
                self.stream.flush()
                self.drawn = True
            elif self.run.clock() - self.printed > EVERY:
                self.say(self.run.line())

    def begin(self, logs: Sequence[str]) -> None:
        """Start to show the line; what jobs print goes to their logs alone. `logs`: files that hold all messages."""
        self.logs = [str(log) for log in logs]
        self.say(f"{_jobs(self.run.total)}. All messages: {', '.join(self.logs) or 'not kept'}")
        if not self.passes and self.stream is sys.stderr:  # jobs inherit stdout, where `tee` copies their log
            sys.stdout.flush()
            self._stdout = os.dup(1)
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.close(null)
        threading.Thread(target=self._tick, daemon=True, name="progress").start()

    def _tick(self) -> None:
        while not self._over.wait(1.0):
            with suppress(Exception):  # a line that cannot be drawn ends no run
                self.draw()

    def close(self) -> None:
        """Say how the run ended, if a job has started."""
        if not self._over.is_set() and not self.passes:
            self._over.set()
            with self.lock:
                self.clear()
                if self.started:
                    self.say(self._end())
        if self._stdout is not None:
            os.dup2(self._stdout, 1)
            os.close(self._stdout)
            self._stdout = None
        super().close()

    def _end(self) -> str:
        from speechladder.io.progress import duration

        run = self.run
        done, took = len(run.took), duration(run.clock() - run.begun)
        if done >= run.total and not run.failed:
            return f"{_jobs(done)} done in {took}."
        how = "Stopped" if self.stopped else f"{_jobs(len(run.failed))} failed"
        logs = f"\nAll messages: {', '.join(self.logs)}" * bool(self.logs)
        return f"{how} after {took}; {done} of {run.total} jobs are done. The same command goes on from there.{logs}"


def _jobs(count: int) -> str:
    return f"{count} job" + "s" * (count != 1)


def announce(workflow: Any, settings: "Settings", logs: Sequence[str]) -> None:
    """Tell the plugin what this run will do, before its first job (onstart); nothing without --logger speechladder."""
    handler = LogHandler.active
    if handler is None or handler.passes:
        return
    from speechladder.plan.left import estimated, planned_jobs

    cores = workflow.cores if workflow.local_exec else float("inf")
    jobs = planned_jobs(workflow.dag)
    with handler.lock:
        handler.run.expect(jobs, cores, estimated=False)
    handler.begin(logs)

    def estimate() -> None:
        with suppress(Exception):  # the hours of the corpus are not known yet: no time left is shown
            found = estimated(jobs, settings, os.cpu_count() if cores == float("inf") else cores)
            with handler.lock:
                handler.run.expect(found, cores, estimated=True)

    # a folder of speech is measured file by file, and the run does not wait for that
    threading.Thread(target=estimate, daemon=True, name="estimate").start()
