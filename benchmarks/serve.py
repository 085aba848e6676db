"""Load `retune serve`: one request at a time, many connections, and the same texts without a server.

    python benchmarks/serve.py models/intent_encoder --texts texts.txt --seconds 60

Starts the server on this machine, and asks /classify (an embedder: /embed) for one text a request. The three ways are
measured in turn, in `--rounds` parts, so that what else the machine does meets all alike. `--stop`: end the server by
SIGTERM under load; every request that it had accepted must be answered. Prints a table, and the memory at both ends.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import retune
from retune import progress


@dataclass
class Measured:
    """Texts that were answered, the seconds and the processor's seconds that it took, and those of each request."""

    texts: int = 0
    seconds: float = 0.0
    processor: float = 0.0
    latencies: list[float] = field(default_factory=list)
    errors: int = 0
    unanswered: int = 0

    @property
    def rate(self) -> float:
        """Texts a second."""
        return self.texts / self.seconds


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of a model of one text, or of an embedder")
    parser.add_argument("--texts", type=Path, required=True, help="a file with a text a line")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60.0, help="for each of the three")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--stop", action="store_true")
    parser.add_argument("--batch-seconds", type=float, default=2.0, help="as of `retune serve`")
    options = parser.parse_args()
    texts = [line for line in options.texts.read_text(encoding="utf-8").splitlines() if line.strip()]
    model = retune.load(options.model)
    embeds = model.spec.learner == "embedder"
    offline = model.embed if embeds else model.classify
    with serving(options.model, options.batch_seconds) as (port, process):
        requests = [request("/embed" if embeds else "/classify", text, embeds) for text in texts]
        ways = {
            "one request at a time": Measured(),
            f"{options.connections} connections": Measured(),
            "no server": Measured(),
        }
        single, many, bare = ways.values()
        part = options.seconds / options.rounds
        asyncio.run(load(port, requests, options.connections, min(part, 3.0), Measured()))  # the first batches are slow
        before = number(port, "process_resident_memory_bytes")
        for _ in range(options.rounds):
            for way, connections in ((single, 1), (many, options.connections)):
                start = number(port, "process_cpu_seconds_total")
                asyncio.run(load(port, requests, connections, part, way))
                way.processor += number(port, "process_cpu_seconds_total") - start
            alone(offline, texts, part, bare)
        after = number(port, "process_resident_memory_bytes")
        print("| | texts a second | a second of the processor | p50 ms | p99 ms | errors |\n|:--|--:|--:|--:|--:|--:|")
        for name, found in ways.items():
            times = f"{milliseconds(found, 50)} | {milliseconds(found, 99)}"
            print(f"| {name} | {found.rate:.1f} | {found.texts / found.processor:.1f} | {times} | {found.errors} |")
        print(
            f"\nrates: {many.rate / single.rate:.2f} x one at a time, {many.rate / bare.rate:.2f} x no server; ", end=""
        )
        print(f"memory {before / 2**20:.0f} MiB before, {after / 2**20:.0f} MiB after")
        if options.stop:
            stopped = Measured()
            asyncio.run(load(port, requests, options.connections, 600.0, stopped, (process, 2.0)))
            print(f"SIGTERM: exit code {process.wait(60)}, {stopped.texts} answered, {stopped.unanswered} not")


@contextmanager
def serving(model: Path, batch_seconds: float) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """A server of a model at a free port."""
    command = [sys.executable, "-m", "retune.cli", "serve", str(model.absolute()), "--port", "0"]
    command += ["--batch-seconds", str(batch_seconds)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert process.stderr is not None
    try:
        said = ""
        while not (match := re.search(r"http://127\.0\.0\.1:(\d+)", said)):
            said = process.stderr.readline() or sys.exit("the server did not start")
        yield int(match[1]), process
    finally:
        process.kill()
        process.wait()


def request(route: str, text: str, embeds: bool) -> bytes:
    """The bytes of a request."""
    body = json.dumps({"text": text} if embeds else {"texts": [text]}).encode()
    lines = (
        f"POST {route} HTTP/1.1",
        "host: localhost",
        "content-type: application/json",
        f"content-length: {len(body)}",
    )
    return "\r\n".join((*lines, "", "")).encode() + body


async def load(
    port: int, requests: list[bytes], connections: int, seconds: float, found: Measured,
    stop: tuple[subprocess.Popen[str], float] | None = None,
) -> None:  # fmt: skip
    """Ask for so many seconds, each connection again as soon as it is answered; `stop`: a process to end after some."""
    asked, end = itertools.cycle(requests), time.perf_counter() + seconds

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < end:
            start = time.perf_counter()
            writer.write(next(asked))
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                found.unanswered += 1
                return
            length = re.search(rb"content-length: (\d+)", head)
            assert length
            await reader.readexactly(int(length[1]))
            found.latencies.append(time.perf_counter() - start)
            found.errors += not head.startswith(b"HTTP/1.1 200")
            found.texts += 1
            if b"connection: close" in head:
                break
        writer.close()

    async def stopping() -> None:
        if stop:
            await asyncio.sleep(stop[1])
            stop[0].send_signal(signal.SIGTERM)

    start = time.perf_counter()
    await asyncio.gather(stopping(), *(connection() for _ in range(connections)))
    found.seconds += time.perf_counter() - start


def alone(answer: object, texts: list[str], seconds: float, found: Measured) -> None:
    """The same texts in one call after another, without a server."""
    start, processor = time.perf_counter(), time.process_time()
    with progress.hidden():
        while (took := time.perf_counter() - start) < seconds:
            some = [texts[(found.texts + place) % len(texts)] for place in range(128)]
            answer(some)  # type: ignore[operator]
            found.texts += len(some)
        found.seconds += took
    found.processor += time.process_time() - processor


def number(port: int, name: str) -> float:
    """One of the numbers that the server tells of its process."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        match = re.search(rf"\n{name} (\S+)", answer.read().decode())
    assert match
    return float(match[1])


def milliseconds(found: Measured, percent: int) -> str:
    """A percentile of the latencies."""
    if len(found.latencies) < 2:
        return ""
    return f"{1000 * statistics.quantiles(found.latencies, n=100, method='inclusive')[percent - 1]:.0f}"


if __name__ == "__main__":
    main()
