"""A SLURM of one node on the loopback of this machine: Debian's own, without systemd.

The node is said to have two processors, two GPUs and 32 GB, whatever the machine has: nothing holds jobs to what they ask
for. Clients that Snakemake starts inside a job see no variable of SLURM, and so find its configuration in /etc/slurm only. All
else is in a folder of its own.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

CONFIGURATION = Path("/etc/slurm")
PACKAGES = {"munge": "munged", "slurmctld": "slurmctld", "slurmd": "slurmd", "slurm-client": "sbatch"}
HEADER = "# of a test run of central flows, process "


class NoCluster(RuntimeError):
    """There can be no SLURM on this machine; the message says why."""


@contextmanager
def slurm(folder: Path):
    """A running SLURM; its daemons and jobs end with the context.

    Raises:
        NoCluster: its packages cannot be had, or the machine has a SLURM of its own.
        TimeoutError: it does not start.
    """
    if os.geteuid() != 0:
        raise NoCluster("SLURM's daemons need root")
    if (owner := _owner()) is not None and Path(f"/proc/{owner}").exists():
        raise NoCluster(f"{CONFIGURATION}/slurm.conf is another's")
    if owner is None and shutil.which("sinfo") and _said("sinfo"):
        raise NoCluster("this machine is part of a cluster")
    _install()
    with ExitStack() as stack:
        for name, text in _configuration(folder).items():
            file = CONFIGURATION / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            stack.callback(file.unlink)
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        own = [f"--{name}={folder}/munge.{ending}" for name, ending in _MUNGE.items()]
        stack.enter_context(_daemon(folder, "munged", "--foreground", "--force", f"--key-file={key}", *own))
        _wait(lambda: (folder / "munge.socket").exists(), "munged opens no socket", folder)
        stack.enter_context(_daemon(folder, "slurmctld", "-D"))
        stack.enter_context(_daemon(folder, "slurmd", "-D"))
        stack.callback(_cancel_all)
        _wait(lambda: _said("sinfo", "--noheader", "--format=%T") == "idle", "the node is never idle", folder)
        yield


def jobs(folder: Path) -> list[dict[str, str]]:
    """What SLURM knows of the jobs that were submitted from a folder, the latest first; here it forgets none."""
    shown = _said("scontrol", "show", "job", "--oneliner")
    found = [dict(re.findall(r"(\w+)=(\S+)", line)) for line in shown.splitlines()]
    return sorted(
        (job for job in found if job.get("WorkDir") == str(folder)), key=lambda job: int(job["JobId"]), reverse=True
    )


_MUNGE = {"socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}


def _owner() -> str | None:
    """The process whose configuration lies there; 1, which always runs, where it is none of these tests."""
    file = CONFIGURATION / "slurm.conf"
    if not file.exists():
        return None
    first = file.read_text().partition("\n")[0]
    return first.removeprefix(HEADER) if first.startswith(HEADER) else "1"


def _install() -> None:
    missing = [package for package, command in PACKAGES.items() if not shutil.which(command)]
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise NoCluster(f"{', '.join(missing)} cannot be installed: there is no apt-get")
    quiet = {"env": os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, "capture_output": True, "text": True}
    subprocess.run(["apt-get", "update", "-qq"], check=False, **quiet)
    install = ["apt-get", "install", "--yes", "-qq", "--no-install-recommends", *missing]
    done = subprocess.run(install, check=False, **quiet)
    if done.returncode:
        raise NoCluster(f"{', '.join(missing)} cannot be installed: {done.stderr.strip() or done.stdout.strip()}")


def _configuration(folder: Path) -> dict[str, str]:
    host = socket.gethostname().partition(".")[0]
    for part in ("state", "spool"):
        (folder / part).mkdir()
    return {
        "slurm.conf": f"""{HEADER}{os.getpid()}
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={_free_port()}
SlurmdPort={_free_port()}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=15
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MinJobAge=600
KillWait=15
ReturnToService=2
GresTypes=gpu
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=32000 Gres=gpu:2
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
""",
        "gres.conf": f"NodeName={host} Name=gpu File=/dev/null\nNodeName={host} Name=gpu File=/dev/zero\n",
    }


def _free_port() -> int:
    with socket.socket() as check_derivatives:
        check_derivatives.bind(("127.0.0.1", 0))
        return check_derivatives.getsockname()[1]


@contextmanager
def _daemon(folder: Path, *command: str):
    with (folder / f"{command[0]}.out").open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _cancel_all() -> None:
    subprocess.run(["scancel", "--user=root"], check=False, capture_output=True)
    for _ in range(100):
        if not _said("squeue", "--noheader"):
            return
        time.sleep(0.1)


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _wait(ready, complaint: str, folder: Path) -> None:
    for _ in range(200):
        if ready():
            return
        time.sleep(0.1)
    logs = "\n".join(f"{log.name}: {log.read_text()[-2000:]}" for log in sorted(folder.glob("*.out")))
    raise TimeoutError(f"{complaint}\n{logs}")
