"""What `/metrics` tells Prometheus: requests, batches, queues, the process."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """The numbers of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter("retune_requests", "Requests", ["route", "status"], registry=self.registry)
        self.seconds = Histogram(
            "retune_request_seconds", "From the head of a request to the end of its answer", ["route"],
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self.batch_rows = Histogram(
            "retune_batch_rows", "Rows of a batch", ["model"], buckets=ROWS, registry=self.registry
        )
        self.batch_seconds = Histogram(
            "retune_batch_seconds", "What a batch took", ["model"], buckets=SECONDS, registry=self.registry
        )
        self.queue = Gauge("retune_queue_rows", "Rows that wait", ["model"], registry=self.registry)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count a request; `route` is one that the server has, or `other`."""
        self.requests.labels(route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def batches_of(self, model: str) -> Callable[[int, float], None]:
        """What is to be told of each batch of a model: rows and seconds."""
        rows, seconds = self.batch_rows.labels(model), self.batch_seconds.labels(model)

        def observe(count: int, took: float) -> None:
            rows.observe(count)
            seconds.observe(took)

        return observe

    def queue_of(self, model: str, waiting: Callable[[], float]) -> None:
        """Read a model's queue by `waiting` whenever it is asked."""
        self.queue.labels(model).set_function(waiting)

    def text(self) -> bytes:
        """All of them in Prometheus' format."""
        return generate_latest(self.registry)
