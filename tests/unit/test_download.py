"""A file exists whole and right or not at all, whatever the server, the network and the user do."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from speechladder.command import main
from speechladder.fetch import disk
from speechladder.fetch.checksums import read_record
from speechladder.fetch.download import check_room, fetch, local_path
from speechladder.fetch.partial import Part
from speechladder.fetch.transfer import safe_url
from speechladder.io import progress as progress_module
from speechladder.io.errors import UserError
from speechladder.io.progress import duration, progress
from speechladder.settings import Download, Downloads, load, untracked
from speechladder.settings.options import DOWNLOADS
from tests.http_server import Server

ROOT = Path(__file__).resolve().parents[2]
NAME = "small.tar"
CONTENT = random.Random(0).randbytes(300_000)
MD5, SHA256 = hashlib.md5(CONTENT).hexdigest(), hashlib.sha256(CONTENT).hexdigest()
WRONG = "0" * 32


@pytest.fixture
def server(tmp_path):
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / NAME).write_bytes(CONTENT)
    (tmp_path / "www" / "mirror.tar").write_bytes(CONTENT)
    with Server(tmp_path / "www") as running:
        yield running


class Run:
    """Fetches NAME into a folder with given checks."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder, self.server = folder, server

    def __call__(self, *urls: str, retries: int = 2, backoff: float = 0.0, **checks: object) -> Path:
        wanted = Download(urls=list(urls) or [self.server.url(NAME)], **checks)
        downloads = Downloads(folder=str(self.folder), files={NAME: wanted}, retries=retries, backoff=backoff)
        return fetch(NAME, wanted, downloads)

    def fails(self, *urls: str, **checks: object) -> str:
        with pytest.raises(UserError) as error:
            self(*urls, **checks)
        assert not (self.folder / NAME).exists()
        return str(error.value)

    @property
    def left(self) -> list[str]:
        return sorted(p.name for p in self.folder.iterdir())


@pytest.fixture
def run(tmp_path, server):
    return Run(tmp_path / "downloads", server)


def test_a_file_is_fetched_checked_and_recorded(run, server):
    path = run(bytes=len(CONTENT), md5=MD5.upper(), sha256=SHA256)
    assert path.read_bytes() == CONTENT
    assert run.left == [".small.tar.json", NAME]
    record = read_record(path)
    assert (record["md5"], record["sha256"], record["bytes"]) == (MD5, SHA256, len(CONTENT))
    assert record["url"] == server.url(NAME)
    run(md5=MD5)  # the same command again makes no request
    assert len(server.requests) == 1
    path.write_bytes(b"modified")
    assert read_record(path) is None


def test_a_connection_that_is_cut_goes_on_where_it_was(run, server, capsys):
    server.fault(NAME, cut=[100_000, 50_000, 1])
    run(retries=0)
    assert (run.folder / NAME).read_bytes() == CONTENT
    asked = server.asked(NAME)
    assert [r.range for r in asked] == [None, "bytes=100000-", "bytes=150000-", "bytes=150001-"]
    assert all(r.if_range and r.status == 206 for r in asked[1:])
    assert "100.0 kB are here" in capsys.readouterr().err


def test_a_server_that_sends_nothing_new_is_given_up_after_the_retries(run, server, capsys):
    server.fault(NAME, cut=[1000] + [0] * 9)
    message = run.fails(retries=2)
    assert [r.range for r in server.requests] == [None] + ["bytes=1000-"] * 3
    assert "3 tries that brought nothing new" in message
    assert "The 1.0 kB that have arrived are kept" in message
    assert run.left == [".small.tar.part", ".small.tar.part.json"]
    server.faults.clear()
    assert run(md5=MD5).read_bytes() == CONTENT  # the bytes from before are read for the checksum
    assert server.requests[-1].range == "bytes=1000-"


def test_pauses_double_and_retry_after_is_honoured(run, server, monkeypatch):
    pauses = []
    monkeypatch.setattr("speechladder.fetch.download.time.sleep", pauses.append)
    server.fault(NAME, busy=4)
    run(retries=8, backoff=1.0)
    assert pauses == [1, 2, 4, 8]
    pauses.clear()
    (run.folder / NAME).unlink()
    server.fault(NAME, busy=1, retry_after="17")
    run(retries=8, backoff=1.0)
    server.fault(NAME, busy=1, retry_after="Wed, 21 Oct 2015 07:28:00 GMT")  # in the past
    (run.folder / NAME).unlink()
    run(retries=8, backoff=1.0)
    assert pauses == [17, 1]


@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_a_refusal_goes_to_the_next_url_at_once(run, server, status, capsys):
    server.fault(NAME, status=status)
    run(server.url(NAME), server.url("mirror.tar"))
    assert [r.status for r in server.requests] == [status, 200]
    assert f"the server answers {status}" in capsys.readouterr().err


def test_an_address_without_a_server_goes_to_the_next_url(run, server, capsys):
    run("http://127.0.0.1:9/x", server.url(NAME), retries=1)
    assert "no connection (Connection refused)" in capsys.readouterr().err
    message = Run(run.folder.with_name("other"), server).fails("http://127.0.0.1:9/x", "htp://127.0.0.1/y", retries=0)
    assert "http://127.0.0.1:9/x: no connection (Connection refused); given up after one try" in message
    assert "htp://127.0.0.1/y: is no address" in message
    assert "downloads.files.small.tar" in message


def test_a_server_without_ranges_begins_again(run, server, capsys):
    server.fault(NAME, cut=[200_000, 100_000], no_ranges=True)
    run(retries=1)
    assert [r.status for r in server.requests] == [200, 200, 200]
    assert (run.folder / NAME).read_bytes() == CONTENT
    assert "from the beginning" in capsys.readouterr().err


def test_bytes_that_were_there_before_do_not_count_as_progress(run, server):
    server.fault(NAME, cut=[200_000] + [100_000] * 20, no_ranges=True)
    assert "2 tries that brought nothing new" in run.fails(retries=1)
    assert len(server.requests) == 3


def test_a_file_that_changes_on_the_server_is_never_mixed(run, server, tmp_path):
    other = CONTENT[::-1]
    server.fault(NAME, cut=[100_000, 0])
    run.fails(retries=0)
    (tmp_path / "www" / NAME).write_bytes(other)
    server.faults.clear()
    assert run().read_bytes() == other
    assert [r.status for r in server.requests[-1:]] == [200]  # If-Range


def test_an_etag_that_always_changes_and_a_server_that_ignores_if_range(run, server, monkeypatch):
    server.fault(NAME, cut=[100_000], changing=True)
    assert run().read_bytes() == CONTENT
    assert [r.status for r in server.requests] == [200, 200]
    # a server that ignores If-Range answers with a part of the new file
    monkeypatch.setattr(
        Server, "_range", staticmethod(lambda b, a, i, n, f, real=Server._range: real(b, a, None, n, f))
    )
    server.requests.clear()
    (run.folder / NAME).unlink()
    server.fault(NAME, cut=[100_000], changing=True)
    assert run().read_bytes() == CONTENT
    assert [r.status for r in server.requests] == [200, 206, 200]


@pytest.mark.parametrize(
    ("fault", "checks", "second"),
    [
        ({"no_validators": True}, {}, None),  # nothing shows that it is the same file
        ({"no_validators": True}, {"md5": MD5}, "bytes=100000-"),
        ({"weak": True}, {}, "bytes=100000-"),  # by Last-Modified
    ],
)
def test_without_validators_a_checksum_decides_whether_to_go_on(run, server, fault, checks, second):
    server.fault(NAME, cut=[100_000], **fault)
    assert run(**checks).read_bytes() == CONTENT
    assert server.requests[1].range == second
    assert '"' not in (server.requests[1].if_range or "")


def test_a_mirror_goes_on_where_the_first_stopped_only_with_a_checksum(run, server):
    for checks, second in (({"md5": MD5}, "bytes=100000-"), ({}, None)):
        server.fault(NAME, cut=[100_000, 0])
        server.requests.clear()
        run(server.url(NAME), server.url("mirror.tar"), retries=0, **checks)
        assert [(r.path, r.range) for r in server.requests][-1] == ("mirror.tar", second)
        (run.folder / NAME).unlink()


def test_a_whole_part_is_not_fetched_again(run, server):
    """After a kill between the last byte and the rename; also if the size was unknown (416)."""
    run(md5=MD5)
    (run.folder / NAME).rename(run.folder / ".small.tar.part")
    origin = {"url": server.url(NAME), "etag": f'"{MD5}"', "total": len(CONTENT)}
    for total, requests in ((len(CONTENT), 1), (None, 2)):
        (run.folder / ".small.tar.part.json").write_text(json.dumps(origin | {"total": total}))
        assert run(md5=MD5).read_bytes() == CONTENT
        assert len(server.requests) == requests
        (run.folder / NAME).rename(run.folder / ".small.tar.part")
    assert server.requests[-1].status == 416


def test_a_part_longer_than_the_file_begins_again(run, server):
    run.folder.mkdir()
    (run.folder / ".small.tar.part").write_bytes(CONTENT + b"more")
    assert run(md5=MD5).read_bytes() == CONTENT
    assert [r.status for r in server.requests] == [416, 200]


def test_a_broken_note_is_ignored(run, server):
    run.folder.mkdir()
    (run.folder / ".small.tar.part").write_bytes(CONTENT[:500])
    for text in ("{", "[1]", ""):
        (run.folder / ".small.tar.part.json").write_text(text)
        assert run().read_bytes() == CONTENT
        (run.folder / NAME).rename(run.folder / ".small.tar.part")


def test_another_size_is_refused_before_a_byte(run, server):
    message = run.fails(bytes=5)
    assert f"the server has {len(CONTENT)} bytes, downloads.files.small.tar.bytes says 5" in message
    assert run.left == []


def test_a_wrong_checksum_is_tried_once_more_then_kept_for_a_correction(run, server):
    message = run.fails(md5=WRONG, retries=0)
    assert [r.range for r in server.requests] == [None, None]
    for part in (str(run.folder / NAME), f"md5 is {MD5}, expected {WRONG}", SHA256, ".small.tar.part", "correct downl"):
        assert part in message
    assert run.left == [".small.tar.part", ".small.tar.part.json"]
    message = run.fails(md5=WRONG)  # the server says that the file is unchanged: nothing is fetched
    assert "still has the file that came before: md5 is" in message
    assert [(r.range, r.status) for r in server.requests[2:]] == [(f"bytes={len(CONTENT)}-", 416)]
    assert (run.folder / ".small.tar.part").read_bytes() == CONTENT
    asked = len(server.requests)
    assert run(md5=MD5).read_bytes() == CONTENT
    assert len(server.requests) == asked
    assert run.left == [".small.tar.json", NAME]


@pytest.mark.parametrize("fault", [{"no_ranges": True}, {"no_ranges": True, "weak": True}, {"no_validators": True}])
def test_a_rejected_file_is_not_fetched_again_from_a_server_that_sends_it_whole(run, server, fault, monkeypatch):
    sent = []
    monkeypatch.setattr(Part, "append", lambda part, data, real=Part.append: sent.append(len(data)) or real(part, data))
    server.fault(NAME, **fault)
    assert "it is used as it is" in run.fails(md5=WRONG)
    assert sum(sent) == 2 * len(CONTENT)
    for _ in range(2):  # its answer has the headers of before, and no byte of the body is read
        assert "still has the file that came before: md5 is" in run.fails(md5=WRONG)
    assert sum(sent) == 2 * len(CONTENT)
    assert [r.status for r in server.requests] == [200] * 4
    assert (run.folder / ".small.tar.part").read_bytes() == CONTENT
    new = CONTENT[::-1] + b"more"
    (server.folder / NAME).write_bytes(new)  # another file there is fetched
    assert run(md5=hashlib.md5(new).hexdigest()).read_bytes() == new


def test_a_rejected_file_is_used_once_its_checksum_is_corrected(run, server):
    server.fault(NAME, no_ranges=True)
    run.fails(md5=WRONG)
    asked = len(server.requests)
    assert run(md5=MD5).read_bytes() == CONTENT and len(server.requests) == asked


def test_wrong_content_once_is_fetched_again(run, server):
    server.fault(NAME, wrong=1)
    assert run(sha256=SHA256).read_bytes() == CONTENT
    assert [r.status for r in server.requests] == [200, 200]


def test_a_wrong_mirror_goes_to_the_next(run, server, capsys):
    server.fault("mirror.tar", wrong=9)
    assert run(server.url("mirror.tar"), server.url(NAME), md5=MD5).read_bytes() == CONTENT
    assert [r.path for r in server.requests] == ["mirror.tar", NAME]
    assert f"expected {MD5}; trying {server.url(NAME)}" in capsys.readouterr().err


def test_each_of_two_wrong_mirrors_is_asked_once_and_a_correction_fetches_nothing(run, server):
    both = server.url("mirror.tar"), server.url(NAME)
    assert run.fails(*both, md5=WRONG).count("md5 is") == 2
    assert len(server.requests) == 2
    assert run(*both, md5=MD5).read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_a_rejected_file_is_never_continued_from_another_address(run, server):
    server.fault(NAME, wrong=9)
    run.fails(md5=MD5)
    assert (run.folder / ".small.tar.part").stat().st_size == len(CONTENT)
    assert run(server.url("mirror.tar"), md5=MD5).read_bytes() == CONTENT
    assert server.requests[-1].range is None


def test_a_whole_part_of_another_address_is_not_taken_without_a_checksum(run, server):
    (server.folder / "other.tar").write_bytes(CONTENT[::-1])
    run.fails(server.url("other.tar"), md5=MD5)
    assert run().read_bytes() == CONTENT
    assert server.requests[-1].path == NAME


def test_a_checksum_that_is_changed_later_loses_nothing_that_fits(run, server):
    run()
    run(md5=MD5, sha256=SHA256, bytes=len(CONTENT))  # checks that are added later: known from the first fetch
    assert len(server.requests) == 1
    message = run.fails(md5=WRONG)
    assert "still has the file that came before" in message
    assert (run.folder / ".small.tar.part").read_bytes() == CONTENT
    assert run(md5=MD5).read_bytes() == CONTENT
    # and a new file on the server, with its new checksum, is fetched
    new = CONTENT[::-1]
    (server.folder / NAME).write_bytes(new)
    assert run(md5=hashlib.md5(new).hexdigest()).read_bytes() == new


def test_a_file_that_the_user_put_there_is_checked_and_never_removed(run, server):
    run.folder.mkdir()
    (run.folder / NAME).write_bytes(CONTENT)
    assert run(md5=MD5).read_bytes() == CONTENT
    (run.folder / NAME).write_bytes(b"my own")
    for checks in ({"md5": MD5}, {"bytes": len(CONTENT)}):
        with pytest.raises(UserError, match=r"small\.tar: is there, but (md5|bytes) is .*move it away"):
            run(**checks)
        assert (run.folder / NAME).read_bytes() == b"my own"
    assert server.requests == []


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream"])
def test_a_web_page_in_place_of_an_archive_is_refused(run, server, kind):
    server.fault(NAME, page=True, page_type=kind)
    assert "gives a web page in place of the file" in run.fails()
    assert run.left == []


def test_a_server_that_does_not_say_the_size(run, server, capsys):
    server.fault(NAME, no_length=True)
    assert run().read_bytes() == CONTENT
    assert "does not say its size" in capsys.readouterr().err
    (run.folder / NAME).unlink()
    server.fault(NAME, no_length=True, cut=[1000, 2000])
    assert run(bytes=len(CONTENT)).read_bytes() == CONTENT
    assert "3.0 kB are here" in capsys.readouterr().err
    (run.folder / NAME).unlink()
    assert f"more than the {len(CONTENT) - 1} bytes" in run.fails(bytes=len(CONTENT) - 1)


def test_a_full_disk_is_reported_before_a_byte_is_written(run, server, monkeypatch):
    free = type("Usage", (), {"free": 200_000})
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: free)
    message = run.fails()
    assert "needs 303.0 kB for small.tar, has 200.0 kB" in message
    assert run.left == []
    server.fault(NAME, cut=[150_000])
    monkeypatch.setattr(free, "free", 400_000)
    with pytest.raises(UserError, match="needs"):
        monkeypatch.setattr("speechladder.fetch.download.time.sleep", lambda s: setattr(free, "free", 150_000))
        run()
    monkeypatch.setattr(free, "free", 152_000)  # enough for the rest and the margin
    assert run().read_bytes() == CONTENT


def test_a_full_disk_keeps_what_has_arrived(run, server, monkeypatch):
    class Full:
        def __init__(self, handle):
            self.handle, self.left = handle, 100_000

        def write(self, data):
            if not self.left:
                raise OSError(28, "No space left on device")
            written = self.handle.write(data[: self.left])
            self.left -= written
            return written

        def __getattr__(self, name):
            return getattr(self.handle, name)

    from speechladder.fetch.partial import Part

    real = Part.open
    monkeypatch.setattr(Part, "open", lambda part: (real(part), setattr(part, "_handle", Full(part._handle)))[0])
    assert "the disk is full; free some room, and the same command goes on after the 100.0 kB" in run.fails()
    monkeypatch.setattr(Part, "open", real)
    assert run().read_bytes() == CONTENT
    assert server.requests[-1].range == "bytes=100000-"


def test_room_is_checked_for_all_files_together(run, monkeypatch, tmp_path):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 10e9}))
    (tmp_path / "here.tar").touch()
    files = {
        "a.tar": Download(urls=["http://127.0.0.1:9/a"], bytes=6_000_000_000),
        "b.tar.gz": Download(urls=["http://127.0.0.1:9/b"], bytes=2_000_000_000),  # counts twice: it is unpacked
        "unknown.tar": Download(urls=["http://127.0.0.1:9/c"]),
        "local.tar": Download(urls=[str(tmp_path / "here.tar")], bytes=99_000_000_000),
    }
    downloads = Downloads(folder=str(run.folder), files=files)
    check_room(["a.tar", "unknown.tar", "local.tar"], downloads)
    with pytest.raises(UserError, match=r"needs 10\.1 GB for a\.tar \(6\.0 GB\), b\.tar\.gz \(4\.0 GB\), has 10\.0 GB"):
        check_room(list(files), downloads)
    run.folder.mkdir()
    with (run.folder / ".a.tar.part").open("wb") as part:
        part.truncate(1_000_000_000)
    check_room(list(files), downloads)


@pytest.mark.parametrize("form", ["{}", "file://{}", "file://localhost{}"])
def test_a_file_of_this_machine_is_checked_and_linked(run, tmp_path, form, capsys):
    there = tmp_path / "mirror of mine" / NAME
    there.parent.mkdir()
    there.write_bytes(CONTENT)
    url = form.format(there if form == "{}" else str(there).replace(" ", "%20"))
    path = run("http://127.0.0.1:9/x", url, md5=MD5, bytes=len(CONTENT), retries=0)
    assert path.is_symlink()
    assert path.readlink() == there
    assert "not copied" in capsys.readouterr().err
    there.unlink()  # a link to a file that is gone does not count
    assert "no such file" in run.fails(url, md5=MD5)


def test_a_wrong_file_of_this_machine_is_not_linked(run, tmp_path):
    there = tmp_path / NAME
    there.write_bytes(CONTENT[:-1])
    assert f"bytes is {len(CONTENT) - 1}, expected {len(CONTENT)}" in run.fails(str(there), bytes=len(CONTENT), md5=MD5)
    assert "md5 is" in run.fails(str(there), md5=MD5)
    path = run(str(there))
    assert "md5 is" in run.fails(str(there), md5=MD5)  # nor kept when a checksum is added
    assert not path.is_symlink()
    assert there.exists()


def test_no_password_is_printed_or_stored(run, server, capsys):
    server.fault(NAME, busy=1)
    url = server.url(NAME, userinfo="user:secret@") + "?token=secret"
    run(url, "http://user:secret@127.0.0.1:9/x?token=secret", md5=MD5)
    for text in (server.url(NAME), "http://127.0.0.1:9/x"):
        assert safe_url(text.replace("http://", "http://user:secret@") + "?token=secret#secret") == text
    message = Run(run.folder.with_name("other"), server).fails(
        "http://user:secret@127.0.0.1:9/x?token=secret", server.url("none", "user:secret@") + "?secret", retries=0
    )
    kept = "".join(p.read_text() for p in run.folder.parent.rglob("*.json"))
    assert "secret" not in message + kept + capsys.readouterr().err


def _script(folder: Path, url: str, *words: str) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / "scripts" / "download.py"), "--out", str(folder / NAME), "--url", url, *words]
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env)


def test_killed_at_any_moment_the_same_command_goes_on(run, server):
    server.fault(NAME, slow=400_000)
    sizes, part = [], run.folder / ".small.tar.part"
    for threshold in (1, 90_000, 180_000):
        process = _script(run.folder, server.url(NAME), "--md5", MD5)
        limit = time.monotonic() + 20
        while not (part.exists() and part.stat().st_size >= threshold):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < limit
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (run.folder / NAME).exists()
        sizes.append(part.stat().st_size)
    server.faults.clear()
    process = _script(run.folder, server.url(NAME), "--md5", MD5)
    assert process.wait() == 0, process.stderr.read()
    assert (run.folder / NAME).read_bytes() == CONTENT
    assert [r.range for r in server.requests] == [None, *(f"bytes={size}-" for size in sizes)]
    assert f"goes on after {sizes[-1] / 1000:.1f} kB of 300.0 kB" in process.communicate()[1]
    assert run.left == [".small.tar.json", NAME]


def test_a_second_process_waits_and_finds_the_file(run, server):
    fault = server.fault(NAME, slow=10_000)
    first = threading.Thread(target=run)
    first.start()
    while not server.requests:
        time.sleep(0.01)
    process = _script(run.folder, server.url(NAME), "--md5", MD5)
    assert "another process is fetching it" in process.stderr.readline()
    fault.slow = 0
    first.join()
    assert process.wait() == 0
    assert "is there, 300.0 kB, as expected" in process.communicate()[1]
    assert len(server.requests) == 1
    assert run.left == [".small.tar.json", NAME]


def test_the_script_takes_its_file_from_the_environment_and_links(server, tmp_path, monkeypatch, capsys):
    files = {NAME: {"urls": [server.url(NAME)], "md5": MD5}}
    settings = load({"downloads": {"folder": "kept", "files": files}})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["download.py", "--name", NAME, "--out", "results/downloads/" + NAME])
    monkeypatch.setenv(DOWNLOADS, untracked(settings)[DOWNLOADS])
    monkeypatch.setattr("speechladder.command.die_with_runner", lambda: None)
    command = partial(main, "speechladder.fetch.download:download")
    command()
    out = Path("results/downloads") / NAME
    assert out.readlink() == Path("../../kept") / NAME
    assert out.read_bytes() == CONTENT
    out.unlink()  # as Snakemake does before a job: the link is removed, the file stays
    command()
    assert out.read_bytes() == CONTENT
    assert len(server.requests) == 1
    for argv, said in (
        (["--name", "x", "--out", "y"], "'x' is not under downloads.files; there are small.tar"),
        (["--out", "y", "--url", "a", "--md5", "zz"], "downloads.files.y.md5"),
    ):
        monkeypatch.setattr(sys, "argv", ["download.py", *argv])
        with pytest.raises(SystemExit):
            command()
        assert said in capsys.readouterr().err


def test_urls_of_this_machine():
    assert local_path("/data/x.tar") == Path("/data/x.tar")
    assert local_path("file:///data/a%20b") == Path("/data/a b")
    assert local_path("~/x") == Path.home() / "x"
    assert local_path("https://127.0.0.1/x") is None


def test_progress_prints_percentage_rate_and_time_left(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    with progress("fetch x", 4e9, "MB/s", 1e-6, done=1e9, digits=1) as meter:
        now[0] = 100.0
        meter.advance(1e9)
    assert capsys.readouterr().err == "fetch x: 50 %, 10.0 MB/s, 3 min left\nfetch x: done, 10.0 MB/s, 100.0 s\n"
    with progress("fetch y", None, "MB/s", 1e-6) as meter:
        now[0] = 200.0
        meter.advance(5e9)
    assert capsys.readouterr().err.startswith("fetch y: 50 MB/s\n")
    assert [duration(s) for s in (5, 3000, 7500, 2e5)] == ["5 s", "50 min", "2 h 05 min", "2 d 7 h"]
