"""A real two-node SLURM cluster with accounting on one Debian machine, started and stopped by whoever uses it.

    python -m tests.slurm.cluster FOLDER      prints what to export, and runs until it is interrupted

As root, with the packages slurm-wlm, slurmdbd, munge and mariadb-server. All of its files are in FOLDER and its ports
are free ones, so that it leaves the machine as it was, but for two names of nodes in /etc/hosts and two devices that
stand for GPUs.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

NODES = ("node1", "node2")
GPUS = ("/dev/fakegpu0", "/dev/fakegpu1")
CLUSTER = "tests"
PATIENCE = 60.0

SLURM_CONF = """
ClusterName={cluster}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
JobRequeue=1
KillWait=10
MpiDefault=none
GresTypes=gpu
JobAcctGatherType=jobacct_gather/linux
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={dbd}
AccountingStoragePass={folder}/munge/munge.socket
SlurmdTimeout=20
MaxArraySize={array}
NodeName=DEFAULT CPUs=2 RealMemory=4000 Gres=gpu:2 State=UNKNOWN
NodeName=node[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{second}]
PartitionName=gpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=short Nodes=node1 MaxTime=10 State=UP
"""

SLURMDBD_CONF = """
AuthType=auth/munge
AuthInfo=socket={folder}/munge/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={dbd}
SlurmUser=root
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={sql}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
"""

GRES_CONF = "NodeName=node[1-2] Name=gpu File=/dev/fakegpu[0-1]\n"


class ClusterError(Exception):
    """The cluster did not come up; says what did not."""


class Cluster:
    """The daemons of one cluster.

    Attributes:
        environment: what commands and launchers need to find it.
    """

    def __init__(self, folder: Path, max_array: int = 1001) -> None:
        self.folder = folder.resolve()
        self.environment = {"SLURM_CONF": str(self.folder / "slurm.conf"), "GLOO_SOCKET_IFNAME": "lo"}
        self.max_array = max_array
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Bring everything up, and wait until both nodes are idle.

        Raises:
            ClusterError: naming the daemon that did not come up, with the end of its log.
        """
        for name in ("munge", "sql", "state", "spool"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        _name_nodes()
        for device in GPUS:
            if not Path(device).exists():
                subprocess.run(["mknod", device, "c", "1", "3"], check=True)
        self._configure()
        self._munge()
        self._database()
        self._spawn("slurmdbd", ["slurmdbd", "-D"])
        self._until("slurmdbd", lambda: _answers(self.ports["dbd"]))
        self.run("sacctmgr", "-i", "add", "cluster", CLUSTER)
        self._spawn("slurmctld", ["slurmctld", "-D", "-c"])
        self._until("slurmctld", lambda: self.run("scontrol", "ping", check=False).returncode == 0)
        for node in NODES:
            self.start_node(node)
        self._until("slurmctld", lambda: self.run("sinfo", "-h", "-o", "%T", "-N").stdout.split() == ["idle"] * 3)

    def start_node(self, node: str) -> None:
        """One slurmd."""
        self._spawn(f"slurmd.{node}", ["slurmd", "-D", "-N", node])

    def kill_node(self, node: str) -> None:
        """As if its machine lost power: the daemon and every step of its jobs."""
        daemon = self.processes.pop(f"slurmd.{node}")
        daemon.kill()
        daemon.wait()
        subprocess.run(["pkill", "-9", "-f", f"slurmstepd.*{node}"], check=False)

    def stop(self) -> None:
        """Take everything down."""
        self.run("scancel", "--state=RUNNING,PENDING", "--user=root", check=False)
        for name in reversed(list(self.processes)):
            process = self.processes[name]
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command of SLURM, on this cluster."""
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, **self.environment}, timeout=60, check=False
        )
        if check and done.returncode:
            raise ClusterError(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def _configure(self) -> None:
        names = ("ctld", "dbd", "sql", "first")
        self.ports = dict(zip(names, _free_ports(len(names)), strict=True))
        values = {
            **self.ports,
            "second": self.ports["first"] + 1,
            "folder": self.folder,
            "host": socket.gethostname(),
            "cluster": CLUSTER,
            "array": self.max_array,
        }
        for name, text in (("slurm.conf", SLURM_CONF), ("slurmdbd.conf", SLURMDBD_CONF), ("gres.conf", GRES_CONF)):
            path = self.folder / name
            path.write_text(text.format(**values) if name != "gres.conf" else text)
            path.chmod(0o600 if name == "slurmdbd.conf" else 0o644)

    def _munge(self) -> None:
        place = self.folder / "munge"
        key = place / "key"
        key.write_bytes(os.urandom(128))
        user = pwd.getpwnam("munge")
        for path in (place, key):
            os.chown(path, user.pw_uid, user.pw_gid)
        key.chmod(0o400)
        place.chmod(0o755)
        # munged wants no folder above its own that others may write to.
        command = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={place}/munge.socket"]
        command += [f"--pid-file={place}/munged.pid", f"--log-file={place}/munged.log", f"--seed-file={place}/seed"]
        self._spawn("munged", ["runuser", "-u", "munge", "--", *command])
        self._until("munged", lambda: (place / "munge.socket").exists())

    def _database(self) -> None:
        data = self.folder / "sql"
        shutil.chown(data, "mysql", "mysql")
        install = [
            "mariadb-install-db",
            "--user=mysql",
            f"--datadir={data}",
            "--auth-root-authentication-method=socket",
        ]
        subprocess.run([*install, "--skip-test-db"], check=True, capture_output=True)
        command = ["mariadbd", "--no-defaults", "--user=mysql", f"--datadir={data}", f"--socket={data}/sql.socket"]
        command += [f"--port={self.ports['sql']}", "--bind-address=127.0.0.1", f"--pid-file={data}/pid"]
        self._spawn("mariadbd", command)
        self._until("mariadbd", lambda: _answers(self.ports["sql"]))
        statements = (
            "CREATE DATABASE slurm_acct_db; CREATE USER slurm@'127.0.0.1' IDENTIFIED BY 'slurm'; "
            "CREATE USER slurm@localhost IDENTIFIED BY 'slurm'; "
            "GRANT ALL ON slurm_acct_db.* TO slurm@'127.0.0.1'; GRANT ALL ON slurm_acct_db.* TO slurm@localhost;"
        )
        subprocess.run(["mariadb", f"--socket={data}/sql.socket", "-e", statements], check=True, capture_output=True)

    def _spawn(self, name: str, command: list[str]) -> None:
        with open(self.folder / f"{name}.out", "ab") as log:
            self.processes[name] = subprocess.Popen(
                command, stdout=log, stderr=log, env={**os.environ, **self.environment}, start_new_session=True
            )

    def _until(self, name: str, ready: object) -> None:
        assert callable(ready)
        end = time.monotonic() + PATIENCE
        while not ready():
            died = self.processes[name].poll() is not None
            if died or time.monotonic() > end:
                log = "\n".join(path.read_text(errors="replace")[-800:] for path in self.folder.glob(f"{name}*.out"))
                raise ClusterError(f"{name} {'died' if died else 'did not come up'}: {log}")
            time.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens at, the last one with a free one after it."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _name_nodes() -> None:
    hosts = Path("/etc/hosts")
    if NODES[0] not in hosts.read_text():
        with open(hosts, "a") as file:
            file.write(f"127.0.0.1 {' '.join(NODES)}\n")


def missing(environment: Mapping[str, str] = os.environ) -> str:
    """What a cluster lacks here, in words; nothing where it can be started."""
    if os.geteuid() != 0:
        return "root, who starts its daemons"
    path = environment.get("PATH", "") + ":/usr/sbin"
    commands = ("slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd")
    absent = [command for command in commands if shutil.which(command, path=path) is None]
    return f"{', '.join(absent)} (apt-get install slurm-wlm slurmdbd munge mariadb-server)" if absent else ""


if __name__ == "__main__":
    cluster = Cluster(Path(sys.argv[1]))
    cluster.start()
    print("\n".join(f"export {name}={value}" for name, value in cluster.environment.items()), flush=True)
    # Also where a shell that started it in the background told it to ignore the first.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        while True:
            time.sleep(3600)
    finally:
        cluster.stop()
