"""Every way to run things. `nox -l` lists them; all but none share one environment, so torch is installed once.

nox makes an environment per session; here sessions run without one and share .nox/shared, made on first use and remade
when pyproject.toml, constraints.txt or the Python changes.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import sys
from pathlib import Path

import nox

ROOT = Path(__file__).parent
ENVIRONMENT = ROOT / ".nox" / "shared"
BIN = ENVIRONMENT / ("Scripts" if sys.platform == "win32" else "bin")

# For the tests of the kernel in Triton's interpreter. Not in constraints.txt: torch's GPU builds bring the one they
# need, its CPU builds none.
TRITON = "triton==3.6.0; sys_platform == 'linux' and platform_machine == 'x86_64'"

nox.options.sessions = ["tests", "lint"]
nox.options.default_venv_backend = "none"


def run(session: nox.Session, *command: str) -> None:
    """Run a command of the shared environment, making it first where needed."""
    prepare(session)
    program, *arguments = command
    session.run(str(BIN / program), *arguments, external=True)


def prepare(session: nox.Session) -> None:
    """Make the shared environment unless the one there was made from the same requirements."""
    parts = [(ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
    wanted = hashlib.sha256(b"".join([*parts, TRITON.encode(), sys.version.encode(), str(ROOT).encode()])).hexdigest()
    stamp = ENVIRONMENT / "made-from"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    session.run(sys.executable, "-m", "venv", str(ENVIRONMENT), external=True)
    python = str(BIN / "python")
    session.run(python, "-m", "pip", "install", "--quiet", "--upgrade", "pip>=25.1", external=True)
    install = (python, "-m", "pip", "install", "--quiet", "--constraint", "constraints.txt")
    session.run(*install, "--editable", ".", "--group", "test", "--group", "lint", external=True)
    if session.run(python, "-c", "import triton", external=True, silent=True, success_codes=[0, 1], log=False):
        session.run(python, "-m", "pip", "install", "--quiet", "--no-deps", TRITON, external=True)
    stamp.write_text(wanted)


@nox.session
def demo(session: nox.Session) -> None:
    """Train, measure and report twelve points on the embedded data set; again, it goes on where it was."""
    run(session, "afbench", "demo", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """The tests, on every core; arguments after -- go to pytest."""
    usual = ("-q", "-m", "not slurm and not browser")
    run(session, "python", "-m", "pytest", "-n", "auto", *(session.posargs or usual))


def install_packages(session: nox.Session, *packages: str) -> None:
    """Of the system, for a session that is left out where it cannot have them."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        session.skip(f"Expected root, and apt-get for {', '.join(packages)}.")
    # Where no package server answers apt-get would wait for hours.
    patient = ("timeout", "300", "apt-get", "-qq", "-o", "Acquire::http::Timeout=20", "-o", "Acquire::Retries=1")
    try:
        session.run(*patient, "update", external=True, silent=True)
        environment = {"DEBIAN_FRONTEND": "noninteractive"}
        session.run(*patient, "install", "-y", *packages, external=True, silent=True, env=environment)
    except nox.command.CommandFailed:
        session.skip(f"apt-get did not install {', '.join(packages)}.")


@nox.session
def slurm(session: nox.Session) -> None:
    """A sweep through a real two-node SLURM cluster, started and stopped here; needs root on Debian or Ubuntu."""
    if not shutil.which("slurmctld", path=f"{os.environ['PATH']}:/usr/sbin"):
        install_packages(session, "slurm-wlm", "slurmdbd", "munge", "mariadb-server")
    run(session, "python", "-m", "pytest", "-q", "-m", "slurm", "tests/slurm", *session.posargs)


@nox.session
def browser(session: nox.Session) -> None:
    """The report in a headless Chromium; screenshots go to results/browser."""
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        install_packages(session, "chromium", "chromium-driver")
    run(session, "python", "-m", "pytest", "-q", "-m", "browser", "tests/browser", *session.posargs)


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Speed, and ratios within one run, kept in .benchmarks; `-- --compare` sets them beside the last ones."""
    files = ("tests/benchmarks", "-o", "python_files=benchmark_*.py")
    options = ["--benchmark-compare" if option == "--compare" else option for option in session.posargs]
    run(session, "python", "-m", "pytest", "-q", *files, "--benchmark-autosave", *options)


@nox.session
def lint(session: nox.Session) -> None:
    """Formatting, lint and types."""
    run(session, "ruff", "format", "--check", ".")
    run(session, "ruff", "check", ".")
    run(session, "mypy")


@nox.session
def gpu(session: nox.Session) -> None:
    """Equality and time of every execution on this machine's GPU into results/; on the CPU, small, where there is none.

    Runs in the Python that runs nox where that has torch, since a GPU machine's torch is its own.
    """
    if importlib.util.find_spec("torch"):
        session.run(sys.executable, "-m", "bench.gpu", *session.posargs, external=True)
    else:
        run(session, "python", "-m", "bench.gpu", *session.posargs)
