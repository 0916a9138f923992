"""Runs a command beside the whole program with a fleet at work, for tests in a browser.

    python scripts/browser.py COMMAND [ARGUMENT...]

The command finds in its environment:

SLUICEGATE_URL                   the console, without tokens
SLUICEGATE_SIGNIN_URL            another one for the same system, with the tokens of
SLUICEGATE_CHECKER_TOKEN, SLUICEGATE_VIEWER_TOKEN, SLUICEGATE_AUTHOR_TOKEN, SLUICEGATE_ADMIN_TOKEN
SLUICEGATE_ANONYMOUS_URL         one with these tokens that anybody may look at without
SLUICEGATE_LIMITED_URL           one with these tokens that soon has enough of wrong ones
SLUICEGATE_WITHOUT_HISTORY_URL   one whose ClickHouse is dead
SLUICEGATE_NATS_URL              for checks from outside
SLUICEGATE_CHROMIUM              the browser

All that it starts ends with it.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Seconds until everything answers.
PATIENCE = 120
#: Chromium under the names that it has.
BROWSERS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
#: A token for each role.
TOKENS = {role: f"{role}-token-0123456789" for role in ("checker", "viewer", "author", "admin")}
#: So many requests at once, and then one a second: a person who mistypes a token gets there.
LIMITED = {"SLUICEGATE_HTTP_RATE_LIMIT": "1", "SLUICEGATE_HTTP_RATE_BURST": "3"}


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def chromium() -> str:
    """The browser; installed where apt-get can do that."""
    for attempt in range(2):
        for name in BROWSERS:
            found = shutil.which(name)
            if found:
                return found
        if attempt == 0 and shutil.which("apt-get") and os.geteuid() == 0:
            print("setup: installing chromium", flush=True)
            subprocess.run(["apt-get", "update", "-qq"], check=True)
            install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            subprocess.run(install, check=True, env=environment, stdout=subprocess.DEVNULL)
    sys.exit(
        "setup: tests of the web console need Chromium, and there is none on the PATH.\n"
        "  Debian: apt-get install chromium\n"
        "  Fedora: dnf install chromium\n"
        "  macOS:  brew install --cask chromium"
    )


class Program:
    """One that runs until the end of a block."""

    def __init__(self, arguments, environment, log):
        self.log = log
        self.process = subprocess.Popen(
            arguments, env=environment, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def answers(self, url):
        """Waits until it is ready."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with urllib.request.urlopen(url, timeout=5):
                    return
            except (OSError, urllib.error.HTTPError):
                time.sleep(0.1)
        self.log.seek(0)
        sys.exit(f"{url} doesn't answer\n{self.log.read().decode(errors='replace')}")


def main(command) -> int:
    binary = os.environ.get("SLUICEGATE_BINARY", str(ROOT / "target/debug/sluicegate"))
    tools = os.environ.get("SLUICEGATE_EMBEDDED_TOOLS", str(ROOT / ".sluicegate/tools"))
    browser = chromium()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sluicegate-browser-")))
        addresses = [f"127.0.0.1:{free_port()}" for _ in range(7)]
        nats, clickhouse, console, signing, anonymous, limited, without = addresses
        # The program refuses variables that it doesn't know.
        others = {name: value for name, value in os.environ.items() if name != "SLUICEGATE_BINARY"}
        environment = {
            **others,
            "SLUICEGATE_EMBEDDED_TOOLS": tools,
            "SLUICEGATE_EMBEDDED_DATA": str(folder / "data"),
            "SLUICEGATE_NATS_URL": f"nats://{nats}",
            "SLUICEGATE_CLICKHOUSE_URL": f"http://{clickhouse}",
            "SLUICEGATE_STREAM_MAX_BYTES": "256MiB",
            "SLUICEGATE_POLICIES_MAX_BYTES": "64MiB",
        }

        def start(arguments, more, address):
            log = stack.enter_context(open(folder / f"{address}.log", "w+b"))
            program = Program([binary, *arguments], {**environment, **more}, log)
            stack.enter_context(program)
            program.answers(f"http://{address}/readyz")

        start(["up", "--demo"], {"SLUICEGATE_HTTP_LISTEN": console}, console)
        tokens = ",".join(f"{role}:{role}:{token}" for role, token in TOKENS.items())
        for address, more in (
            (signing, {"SLUICEGATE_HTTP_TOKENS": tokens}),
            (anonymous, {"SLUICEGATE_HTTP_TOKENS": tokens, "SLUICEGATE_HTTP_ANONYMOUS": "viewer"}),
            (limited, {"SLUICEGATE_HTTP_TOKENS": tokens, **LIMITED}),
            (without, {"SLUICEGATE_CLICKHOUSE_URL": "http://127.0.0.1:9"}),
        ):
            start(["console"], {"SLUICEGATE_HTTP_LISTEN": address, **more}, address)
        told = {
            "SLUICEGATE_URL": f"http://{console}",
            "SLUICEGATE_SIGNIN_URL": f"http://{signing}",
            "SLUICEGATE_ANONYMOUS_URL": f"http://{anonymous}",
            "SLUICEGATE_LIMITED_URL": f"http://{limited}",
            "SLUICEGATE_WITHOUT_HISTORY_URL": f"http://{without}",
            "SLUICEGATE_CHROMIUM": browser,
            **{f"SLUICEGATE_{role.upper()}_TOKEN": token for role, token in TOKENS.items()},
        }
        return subprocess.run(command, env={**environment, **told}).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
