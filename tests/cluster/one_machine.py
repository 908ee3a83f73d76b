"""SLURM on this one machine, for a test: munged, slurmctld and slurmd on loopback, with a configuration of their own.

    python -m tests.cluster.one_machine -- sinfo          # starts the three, runs the command, stops them

Needs root and Debian's `apt-get install slurm-wlm munge` (no daemon of theirs need run). The configuration has to be
/etc/slurm/slurm.conf, since a job's srun loses SLURM_CONF; one that somebody else wrote is never touched.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ETC = Path("/etc/slurm")
MARK = "# Written by speechladder's tests/cluster/one_machine.py, which removes it when its test ends."
PROGRAMS = ("munged", "mungekey", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "sinfo", "scontrol")
PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
GPUS = 2  # of no use to compute on: a count that jobs are given shares of

CONF = """{mark}
# state: {folder}
ClusterName=speechladder
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
MpiDefault=none
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
SchedulerParameters=sched_interval=2,batch_sched_delay=0,sched_min_interval=200000
KillWait={kill_wait}
GresTypes=gpu
# what the profile asks for at paper scale is more memory than a laptop has: nothing here is held to it
SlurmdParameters=config_overrides
NodeName=DEFAULT CPUs={cpus} RealMemory=4000000 Gres=gpu:{gpus} State=UNKNOWN
NodeName=node[0-{last}] NodeHostname={host} NodeAddr=127.0.0.1 Port={ports}
PartitionName=cpu Nodes=node[0-{last}] Default=YES MaxTime=7-0 State=UP
PartitionName=gpu Nodes=node[0-{last}] MaxTime=7-0 State=UP
"""


def missing() -> str | None:
    """Why there can be no cluster here; None where there can."""
    if os.getuid():
        return "needs root, for the daemons of SLURM"
    lacking = [name for name in PROGRAMS if not shutil.which(name, path=PATH)]
    if lacking:
        return f"{', '.join(lacking)} not installed: apt-get install slurm-wlm munge"
    conf = ETC / "slurm.conf"
    if conf.exists() and MARK not in conf.read_text():
        return f"{conf} is somebody's: a real SLURM is left alone"
    return None


class Cluster:
    """A cluster of one node, this machine, from `start` to `stop`, or as a context. Its files are in `folder`."""

    def __init__(self, nodes: int = 2, cpus: int = 1, kill_wait: int = 30) -> None:
        self.nodes, self.cpus, self.kill_wait = nodes, cpus, kill_wait
        self.folder = Path()
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._written: list[Path] = []

    def __enter__(self) -> "Cluster":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the daemons and wait until the node takes jobs; RuntimeError with their logs where it does not."""
        if reason := missing():
            raise RuntimeError(reason)
        _end_stale()
        self.folder = Path(tempfile.mkdtemp(prefix="speechladder-slurm-", dir="/tmp"))  # sockets have short paths
        self.folder.chmod(0o755)  # who may use the socket is munge's own business
        for name in ("state", *(f"spool.node{number}" for number in range(self.nodes))):
            (self.folder / name).mkdir()
        for number in range(GPUS):
            (self.folder / f"nvidia{number}").touch()  # SLURM looks whether the devices exist
        host = socket.gethostname().split(".")[0]
        port, *ports = _free_ports(1 + self.nodes)
        values = {"host": host, "port": port, "ports": ",".join(map(str, ports)), "last": self.nodes - 1}
        values |= {"folder": self.folder, "mark": MARK, "cpus": self.cpus, "gpus": GPUS, "kill_wait": self.kill_wait}
        if not ETC.exists():
            ETC.mkdir()
            self._written.append(ETC)
        self._write("slurm.conf", CONF.format(**values))
        self._write("gres.conf", f"{MARK}\nName=gpu File={self.folder}/nvidia[0-{GPUS - 1}]\n")
        key = self.folder / "munge.key"
        subprocess.run(["mungekey", "--create", f"--keyfile={key}"], check=True, env=os.environ | {"PATH": PATH})
        munge = ("--socket", "--key-file", "--log-file", "--pid-file", "--seed-file")
        places = [f"{option}={self.folder}/munge.{option[2:].split('-')[0]}" for option in munge]
        self._daemon("munged", "--foreground", "--force", *places)
        _until(lambda: (self.folder / "munge.socket").exists(), 10, self._trouble)
        self._daemon("slurmctld", "-D", "-i")
        for number in range(self.nodes):
            self._daemon("slurmd", "-D", "-N", f"node{number}", log=f"slurmd.{number}.log")
        _until(
            lambda: self.ask("sinfo", "-h", "-N", "-p", "cpu", "-o", "%T").split() == ["idle"] * self.nodes,
            60,
            self._trouble,
        )

    def stop(self) -> None:
        """End every job and daemon, and remove all that was written."""
        if self._daemons:
            self.ask("scancel", "--user=root")
            deadline = time.monotonic() + self.kill_wait + 15
            while self.ask("squeue", "-h").strip() and time.monotonic() < deadline:
                time.sleep(0.3)
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self._daemons.clear()
        for path in reversed(self._written):
            path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
        self._written.clear()
        if self.folder != Path():
            shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, *command: str) -> str:
        """What a command of SLURM prints; nothing where it fails."""
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ | {"PATH": PATH})
        return done.stdout

    def jobs(self) -> dict[str, str]:
        """Id -> rule and wildcards of the jobs that run now."""
        lines = self.ask("squeue", "-h", "-t", "R", "-o", "%i %k").splitlines()
        return dict(line.split(" ", 1) for line in lines)

    def _write(self, name: str, text: str) -> None:
        path = ETC / name
        if path.exists() and MARK not in path.read_text():
            raise RuntimeError(f"{path} is somebody's: a real SLURM is left alone")
        self._written.append(path)
        path.write_text(text)

    def _daemon(self, *command: str, log: str = "") -> None:
        log = (self.folder / (log or f"{command[0]}.log")).open("wb")
        self._daemons.append(
            subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"PATH": PATH}, start_new_session=True)
        )
        (self.folder / "pids.json").write_text(json.dumps([daemon.pid for daemon in self._daemons]))

    def _trouble(self) -> str:
        logs = sorted(self.folder.glob("*.log"))
        return "SLURM does not start:\n" + "\n".join(f"{p.name}: {p.read_text()[-1500:]}" for p in logs)


def _end_stale() -> None:
    """End the daemons of a test that was killed before it could."""
    conf = ETC / "slurm.conf"
    if not conf.exists():
        return
    folder = Path(next(line for line in conf.read_text().splitlines() if line.startswith("# state:")).split()[-1])
    pids = folder / "pids.json"
    for pid in json.loads(pids.read_text()) if pids.exists() else []:
        name = Path(f"/proc/{pid}/comm")
        if name.exists() and name.read_text().strip() in ("munged", "slurmctld", "slurmd"):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def _until(ready, seconds: float, trouble) -> None:
    """Wait until `ready()`; RuntimeError with what `trouble()` says after `seconds`."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise RuntimeError(trouble())
        time.sleep(0.2)


if __name__ == "__main__":
    if sys.argv[1:2] != ["--"]:
        sys.exit(__doc__)
    with Cluster():
        sys.exit(subprocess.call(sys.argv[2:]))
