"""What telemetry costs: requests per second and start-up of the service, with and without.

    .venv/bin/python tests/benchmarks/telemetry.py [ROUNDS] [SECONDS]

Renders a service without a database, installs it, and serves it with each set of
variables in turn, round after round, so that whatever else the machine does hits all
alike. What it exports is taken and forgotten. Needs a package index, and Linux: the
share of bare FastAPI is also told in requests per second of the server's own processor
time, which a busy machine blurs less.
"""

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import copier

TEMPLATE = Path(__file__).parents[2]
PATH = "/api/v1/greetings"
BODY = b'{"name": "Ada"}'
HEADERS = {"content-type": "application/json"}

# FastAPI alone, with the same endpoint and the same server.
BARE = f"""\
import uvicorn
from fastapi import FastAPI
from benchmarked.api.greetings import Greeting, GreetingRequest
app = FastAPI()
@app.post("{PATH}")
async def create_greeting(request: GreetingRequest) -> Greeting:
    return Greeting(message=f"Hello, {{request.name}}!")
@app.get("/health")
async def health() -> dict[str, str]:
    return {{}}
uvicorn.run(app, port=int(__import__("os").environ["PORT"]), log_level="error", access_log=False)
"""
SERVICE = ["-m", "benchmarked"]


class Sink(BaseHTTPRequestHandler):
    """Takes exports and forgets them."""

    def do_POST(self) -> None:
        """Read the body and say that it was taken."""
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@contextmanager
def serve(
    python: Path, arguments: list[str], variables: dict[str, str]
) -> Iterator[tuple[int, int]]:
    """Run a server until the block ends; yield its port and process id once it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    process = subprocess.Popen(
        [python, *arguments],
        env=os.environ | {"PORT": str(port)} | variables,
        stdout=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                connection = HTTPConnection("127.0.0.1", port)
                connection.request("GET", "/health")
                connection.getresponse().read()
                break
            except OSError:
                if process.poll() is not None:
                    raise RuntimeError(f"{arguments} ended with {process.returncode}") from None
                time.sleep(0.01)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def processor_time(process: int) -> float:
    """Read how long a process has computed so far, in seconds."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(port: int, seconds: float) -> int:
    """Send requests over one connection; return how many were answered."""
    connection = HTTPConnection("127.0.0.1", port)
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        connection.request("POST", PATH, BODY, HEADERS)
        response = connection.getresponse()
        response.read()
        assert response.status == 200
        count += 1
    return count


def install(folder: Path) -> Path:
    """Render and install a service; return its Python."""
    answers = {"service_name": "Benchmarked", "database": "none"}
    copier.run_copy(str(TEMPLATE), folder, data=answers, defaults=True, quiet=True, vcs_ref="HEAD")
    environment = os.environ | {"POETRY_VIRTUALENVS_IN_PROJECT": "true"}
    environment.pop("VIRTUAL_ENV", None)
    command = [sys.executable, "-m", "poetry", "sync", "--quiet"]
    subprocess.run(command, cwd=folder, env=environment, check=True)
    return folder / ".venv/bin/python"


def main(rounds: int = 5, seconds: float = 5) -> None:
    """Print the median of each variant, and its share of the bare one."""
    sink = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    threading.Thread(target=sink.serve_forever, daemon=True).start()
    sending = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{sink.server_port}"}
    sampled = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.1"}
    variants = {
        "bare FastAPI": (["-c", BARE], {}),
        "the service without telemetry": (SERVICE, {}),
        "with metrics": (SERVICE, {**sending, "OTEL_TRACES_EXPORTER": "none"}),
        "with metrics and traces at 10 %": (SERVICE, {**sending, **sampled}),
    }
    rates: dict[str, list[float]] = {name: [] for name in variants}
    efforts: dict[str, list[float]] = {name: [] for name in variants}
    starts: dict[str, list[float]] = {name: [] for name in variants}
    with tempfile.TemporaryDirectory() as folder:
        python = install(Path(folder))
        for _ in range(rounds):
            for name, (arguments, variables) in variants.items():
                begun = time.monotonic()
                with serve(python, arguments, variables) as (port, process):
                    starts[name].append(time.monotonic() - begun)
                    load(port, 1)
                    before, count = processor_time(process), load(port, seconds)
                    rates[name].append(count / seconds)
                    efforts[name].append(count / (processor_time(process) - before))
    bare = statistics.median(rates["bare FastAPI"])
    least = statistics.median(efforts["bare FastAPI"])
    quick = statistics.median(starts["the service without telemetry"])
    for name in variants:
        rate, start = statistics.median(rates[name]), statistics.median(starts[name])
        effort = statistics.median(efforts[name])
        spread = max(rates[name]) - min(rates[name])
        print(f"{name:32} {rate:6.0f}/s (spread {spread:4.0f})  {rate / bare:.2f} of bare", end="")
        print(f"   {effort:6.0f}/s of processor  {effort / least:.2f} of bare", end="")
        print(f"   start {start:.2f} s, {start / quick:.2f} of without telemetry")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
