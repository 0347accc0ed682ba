"""A Slurm of one node for tests: its own daemons, database and keys, in a folder and on ports of its own.

It needs Debian's packages `slurm-wlm`, `slurmdbd`, `munge` and `mariadb-server`, none of whose services has to run, and
the rights of root, who alone may run other users' jobs.
"""

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "slurmdbd", "mariadbd", "mariadb-install-db", "sbatch", "sacctmgr")
DATABASE = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost=localhost
DbdPort={ports[2]}
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=accounting
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
"""
CLUSTER = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
SchedulerParameters=sched_interval=1
{accounting}
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=60 State=UP
"""
ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort={ports[2]}
AccountingStoragePass={folder}/munge.socket"""


def missing() -> str:
    """What keeps a Slurm from being started here, or nothing."""
    if os.geteuid() != 0:
        return "needs root"
    found = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/usr/bin"])
    lacking = [program for program in PROGRAMS if shutil.which(program, path=found) is None]
    return f"not installed: {', '.join(lacking)}" if lacking else ""


@contextmanager
def slurm(folder: Path, *, accounting: bool = True) -> Iterator[dict[str, str]]:
    """A running cluster of this machine; yields the variables with which Slurm's programs find it."""
    for name in ("state", "spool", "db"):
        (folder / name).mkdir(parents=True)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(32))
    key.chmod(0o600)
    values = {
        "folder": folder,
        "host": socket.gethostname().split(".")[0],
        "ports": _free_ports(3),
        "cores": len(os.sched_getaffinity(0)),
    }
    (folder / "slurmdbd.conf").write_text(DATABASE.format(**values))
    (folder / "slurmdbd.conf").chmod(0o600)
    stored = ACCOUNTING.format(**values) if accounting else "AccountingStorageType=accounting_storage/none"
    (folder / "slurm.conf").write_text(CLUSTER.format(**values, accounting=stored))
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/usr/bin"])
    variables = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": path}
    started: list[subprocess.Popen[bytes]] = []

    def start(*command: str, **further: str) -> None:
        with (folder / f"{command[0]}.out").open("wb") as out:
            environment = {**os.environ, **variables, **further}
            started.append(subprocess.Popen(command, stdout=out, stderr=out, env=environment))

    def says(*command: str) -> str:
        done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else ""

    munge = [f"--{name}={folder / f'munge.{name}'}" for name in ("socket", "pid-file", "log-file", "seed-file")]
    try:
        start("munged", "--foreground", "--force", f"--key-file={key}", *munge)
        _wait(lambda: (folder / "munge.socket").exists())
        if accounting:
            database = [f"--datadir={folder / 'db'}", "--user=root"]
            subprocess.run(
                ["mariadb-install-db", "--no-defaults", *database, "--auth-root-authentication-method=socket"],
                check=True, capture_output=True, env={**os.environ, "PATH": path},
            )  # fmt: skip
            socket_file = folder / "db.socket"
            start("mariadbd", "--no-defaults", *database, f"--socket={socket_file}", "--skip-networking")
            _wait(socket_file.exists)
            start("slurmdbd", "-D", SLURM_CONF=str(folder / "slurmdbd.conf"), MYSQL_UNIX_PORT=str(socket_file))
            _wait(lambda: says("sacctmgr", "--immediate", "add", "cluster", "tests") != "")
        start("slurmctld", "-D")
        start("slurmd", "-D")
        _wait(lambda: "idle" in says("sinfo", "--noheader"))
        yield variables
    finally:
        for process in reversed(started):
            process.terminate()
        for process in reversed(started):
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


def _free_ports(count: int) -> list[int]:
    """Ports that nothing listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _wait(ready: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError("Slurm did not start: see the logs in its folder")
        time.sleep(0.2)
