"""A real Slurm of two nodes on this machine, for tests: with accounting and preemption, without systemd or cgroups.

Everything lies in one folder and listens on loopback, on ports that were free. Two nodes are two daemons, each with two
processors. Partition `debug` is preempted by partition `high`. Example::

    with Slurm() as slurm:
        slurm.run("sbatch", "--wrap", "true")
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from getpass import getuser
from pathlib import Path

PROGRAMS = ("munged", "mariadbd", "mariadb-install-db", "mariadb", "slurmdbd", "slurmctld", "slurmd", "sbatch")
INSTALL = "apt-get install -y --no-install-recommends slurm-wlm munge slurmdbd mariadb-server"
NODES = ("n0", "n1")
_DAEMONS = ("slurmd-n0", "slurmd-n1", "slurmctld", "slurmdbd", "munged", "mariadbd")  # in the order in which they end


def missing() -> list[str]:
    """The programs that are not installed."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return [name for name in PROGRAMS if shutil.which(name, path=path) is None]


class Slurm:
    """Started on entry; on exit every process of it has ended, by the id that it wrote down."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        self.folder.chmod(0o755)  # munge wants its socket within reach
        for name in ("etc", "run", "log", "state", "spool", "db"):
            (self.folder / name).mkdir()
        self.environment = os.environ | {
            "SLURM_CONF": str(self.folder / "etc/slurm.conf"),
            "PATH": os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]),
        }

    def __enter__(self) -> Slurm:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def run(self, *command: str, check: bool = True) -> str:
        """What a command prints that talks to this Slurm."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=120)
        assert not check or done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout.strip()

    def queue(self) -> dict[str, str]:
        """State and node of each job in the queue, by its number."""
        lines = self.run("squeue", "-h", "-r", "-o", "%i %T %N").splitlines()
        return dict(line.split(" ", 1) for line in lines)

    def states(self) -> dict[str, str]:
        """State of each job in Slurm's records, by its number."""
        lines = self.run("sacct", "-n", "-X", "-P", "-o", "JobID,State").splitlines()
        return dict(line.split("|") for line in lines)

    def _start(self) -> None:
        key = self.folder / "etc/munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o600)
        password = secrets.token_hex(8)
        database, dbd, control, first, second = _free_ports(5)
        host, user, socket_file = socket.gethostname().split(".")[0], getuser(), self.folder / "run/munge.socket"
        where = {"folder": self.folder, "user": user, "munge": socket_file, "host": host, "dbd": dbd}
        conf = SLURM_CONF.format(**where, control=control, first=first, second=second)
        (self.folder / "etc/slurm.conf").write_text(conf)
        dbd_conf = self.folder / "etc/slurmdbd.conf"
        dbd_conf.touch(mode=0o600)
        dbd_conf.write_text(DBD_CONF.format(**where, database=database, password=password))
        munge = ("key-file", key), ("socket", socket_file), ("seed-file", self.folder / "state/munge.seed")
        log = ("log-file", self.folder / "log/munged.log"), ("pid-file", self.folder / "run/munged.pid")
        self.run("munged", *(f"--{name}={value}" for name, value in (*munge, *log)))
        self._start_database(database, password, user)
        self.run("slurmdbd")
        _until(self._answers)
        if "tests" not in self.run("sacctmgr", "-n", "show", "cluster", "format=cluster"):
            self.run("sacctmgr", "-i", "-Q", "add", "cluster", "tests")
        self.run("slurmctld")
        for node in NODES:
            self.run("slurmd", "-N", node)
        _until(lambda: self.run("sinfo", "-h", "-p", "debug", "-o", "%T", check=False) == "idle")

    def _answers(self) -> bool:
        asked = subprocess.run(["sacctmgr", "-n", "show", "cluster"], env=self.environment, capture_output=True)
        return asked.returncode == 0

    def _start_database(self, port: int, password: str, user: str) -> None:
        data, door = self.folder / "db", self.folder / "run/mysql.socket"
        made = "--auth-root-authentication-method=normal", "--skip-test-db"
        self.run("mariadb-install-db", "--no-defaults", f"--datadir={data}", f"--user={user}", *made)
        options = {
            "user": user,
            "datadir": data,
            "socket": door,
            "pid-file": self.folder / "run/mariadbd.pid",
            "bind-address": "127.0.0.1",
            "port": port,
            "innodb-buffer-pool-size": "64M",
            "innodb-lock-wait-timeout": 900,
        }
        with (self.folder / "log/mariadbd.log").open("w") as log:
            subprocess.Popen(
                ["mariadbd", "--no-defaults", *(f"--{name}={value}" for name, value in options.items())],
                env=self.environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        client = ("mariadb", "--no-defaults", "-u", "root", "-S", str(door), "-e")

        def answers() -> bool:
            return subprocess.run([*client, "select 1"], env=self.environment, capture_output=True).returncode == 0

        _until(answers)
        self.run(*client, "create database slurm")
        for place in ("127.0.0.1", "localhost"):
            self.run(*client, f"create user 'slurm'@'{place}' identified by '{password}'")
            self.run(*client, f"grant all on slurm.* to 'slurm'@'{place}'")

    def _stop(self) -> None:
        if (self.folder / "run/slurmctld.pid").is_file():
            with suppress(subprocess.TimeoutExpired, AssertionError):
                self.run("scancel", "-u", getuser(), check=False)
                _until(lambda: self.queue() == {}, seconds=40)
        for name in _DAEMONS:
            with suppress(FileNotFoundError, ValueError, ProcessLookupError):
                pid = int((self.folder / f"run/{name}.pid").read_text())
                os.kill(pid, signal.SIGTERM)
                with suppress(AssertionError):
                    _until(lambda pid=pid: not _alive(pid), seconds=15)
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _free_ports(count: int) -> list[int]:
    doors = [socket.socket() for _ in range(count)]
    for door in doors:
        door.bind(("127.0.0.1", 0))
    ports = [door.getsockname()[1] for door in doors]
    for door in doors:
        door.close()
    return ports


def _until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "Slurm did not come to that"
        time.sleep(0.2)


# A job that was put in the queue again may start once its credential has expired, by default two minutes later: cred_expire.
SLURM_CONF = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={munge},cred_expire=5
CredType=cred/munge
SlurmctldPort={control}
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmctldLogFile={folder}/log/slurmctld.log
StateSaveLocation={folder}/state
SlurmdPidFile={folder}/run/slurmd-%n.pid
SlurmdLogFile={folder}/log/slurmd-%n.log
SlurmdSpoolDir={folder}/spool/%n
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={dbd}
AccountingStoragePass={munge}
MpiDefault=none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=1
SlurmctldParameters=preempt_send_user_signal
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
ReturnToService=2
KillWait=20
NodeName=n0 NodeHostname={host} NodeAddr=127.0.0.1 Port={first} CPUs=2 RealMemory=4000 State=UNKNOWN
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={second} CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES PriorityTier=1 GraceTime=60 PreemptMode=REQUEUE State=UP
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF State=UP
"""

DBD_CONF = """
AuthType=auth/munge
AuthInfo=socket={munge}
DbdHost=localhost
DbdPort={dbd}
SlurmUser={user}
PidFile={folder}/run/slurmdbd.pid
LogFile={folder}/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database}
StorageUser=slurm
StoragePass={password}
StorageLoc=slurm
"""
