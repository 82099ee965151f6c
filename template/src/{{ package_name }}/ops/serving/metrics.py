"""What Prometheus may know of the service. The rules in monitoring/ are written in these names."""

import os
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from functools import cache, partial
from math import nan
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from ..bundle import UNKNOWN
from ..contract import label
from .log import Log
from .models import Model
from .requests import Refusal, Rows
from .settings import warn

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder in which several workers count together."""

# Twice as much to read, and nothing that anyone asks.
disable_created_metrics()  # type: ignore[no-untyped-call]

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

COUNTERS = {
    "service_requests": ("Requests by route and status", "route status"),
    "service_rows": ("Rows that were answered", "version"),
    "service_refused_rows": ("Rows that break the contract", "field rule"),
    "service_unknown_fields_requests": ("Requests with fields that the contract lacks", ""),
    "service_respelt_values": ("Values in a spelling that STRICT_TYPES=false lets pass", ""),
    "service_feedback": ("Ground truth that was told", ""),
    "service_feedback_kinds": ("Ground truth, beside the last 10,000 of each worker", "kind"),
    "service_feedback_unknown": ("Ground truth with labels not known to the contract", ""),
    "service_overloaded": ("Requests that were turned away for lack of room", ""),
    "service_reload_failures": ("Times that a new model could not be had", ""),
    "service_log_written_rows": ("Rows in the log", ""),
    "service_log_dropped_rows": ("Rows that the log lost", ""),
    "service_shadow_rows": ("Answered rows that the shadow has scored too", "version"),
    "service_shadow_agreeing_rows": (
        "Rows of which it said what the champion had: the class, or a number in its interval",
        "version",
    ),
    "service_shadow_failed_rows": (
        "Rows that its contract refused, or it failed at",
        "version reason",
    ),
    "service_shadow_dropped_rows": ("Rows for which it had no time", "version"),
}
"""What is counted, and by which labels."""

GAUGES: dict[str, tuple[str, str, Literal["livesum", "livemax", "mostrecent"]]] = {
    "service_in_flight": ("Requests being answered", "", "livesum"),
    "service_model_info": ("The model in service", "version digest commit contract", "mostrecent"),
    "service_model_loaded_timestamp_seconds": ("When it was loaded", "", "mostrecent"),
    "service_model_created_timestamp_seconds": ("When it was registered", "", "mostrecent"),
    "service_reload_failing": ("Whether the last look for a new model failed", "", "livemax"),
    "service_log_failing": ("Whether the log cannot be written", "", "livemax"),
    "service_shadow_info": ("The model in the shadow", "version digest", "mostrecent"),
}
"""What rises and falls, by which labels, and what of the workers' is shown."""


class Metrics:
    """All that one worker counts, by its name."""

    def __init__(self, monitored: Path) -> None:
        """Begin at zero; the metrics in the file `monitored` are passed on."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._monitored = Textfile(monitored)
        self.registry.register(self._monitored)
        self.counters = {
            name: Counter(name, purpose, labels.split(), registry=self.registry)
            for name, (purpose, labels) in COUNTERS.items()
        }
        self.gauges = {
            name: Gauge(name, purpose, labels.split(), registry=self.registry, multiprocess_mode=of)
            for name, (purpose, labels, of) in GAUGES.items()
        }
        self._seconds = Histogram(
            "service_request_seconds", "Seconds from the whole request to the sent answer",
            ["route", "status"],
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self.gauges["service_model_created_timestamp_seconds"].set(nan)
        self._classes: Any = None
        self._values: Any = None
        self._request = cache(self._labelled)
        self._rows = cache(self.counters["service_rows"].labels)
        self._told = (0, 0)
        self._telling = Lock()
        self._shown: dict[str, tuple[str, ...]] = {}

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        count, times = self._request(route, status)
        count.inc()
        times.observe(seconds)

    def _labelled(self, route: str, status: int) -> tuple[Any, Any]:
        labels = route, status
        return self.counters["service_requests"].labels(*labels), self._seconds.labels(*labels)

    def refused(self, refusal: Refusal) -> None:
        """Count what rows were refused for."""
        for (field, rule), rows in refusal.counts.items():
            self.counters["service_refused_rows"].labels(field or "", rule).inc(rows)

    def read(self, rows: Rows) -> None:
        """Count what is odd in a request that was answered."""
        if rows.unknown:
            self.counters["service_unknown_fields_requests"].inc()
        if rows.respelt:
            self.counters["service_respelt_values"].inc(rows.respelt)

    def answered(self, model: Model, predictions: Sequence[Any]) -> None:
        """Count what a model said of some rows; it need not be the one that `serves` now."""
        self._rows(model.version).inc(len(predictions))
        if model.bundle.contract.classes:
            for value in set(predictions):
                self._classes(label(value)).inc(predictions.count(value))
        elif model.bundle.contract.task == "regression":
            for value in predictions:
                self._values.observe(value)

    def serves(self, model: Model) -> None:
        """Note which model answers from now on."""
        contract = model.bundle.contract
        if contract.classes and self._classes is None:
            by_class = Counter(
                "service_predictions", "Rows by class", ["class"], registry=self.registry
            )
            self._classes = cache(by_class.labels)
        for name in contract.classes:
            self._classes(name)
        if contract.task == "regression" and self._values is None:
            cuts = model.bundle.manifest["profile"]["prediction"]["values"]["edges"]
            self._values = Histogram(
                "service_prediction_value", "The numbers that the model gave",
                buckets=sorted({float(cut) for cut in cuts}), registry=self.registry,
            )  # fmt: skip
        self._rows(model.version)
        origin = model.bundle.origin
        labels = model.version, model.digest, origin.commit, model.bundle.fingerprint
        self._show("service_model_info", *labels)
        self.gauges["service_model_loaded_timestamp_seconds"].set_to_current_time()
        known = origin.created != UNKNOWN
        created = datetime.fromisoformat(origin.created).timestamp() if known else nan
        self.gauges["service_model_created_timestamp_seconds"].set(created)

    def shadows(self, model: Model | None) -> None:
        """Note which model is in the shadow from now on."""
        if model is None:
            self._show("service_shadow_info")
            return
        self._show("service_shadow_info", model.version, model.digest)
        for what in ("rows", "agreeing_rows", "dropped_rows"):
            self.counters[f"service_shadow_{what}"].labels(model.version)

    def _show(self, name: str, *labels: str) -> None:
        """Let a gauge be 1 for these labels, and 0 for those before."""
        if before := self._shown.get(name):
            self.gauges[name].labels(*before).set(0)
        if labels:
            self.gauges[name].labels(*labels).set(1)
        self._shown[name] = labels

    def logged(self, logs: Collection[Log]) -> None:
        """Note how the logs fare."""
        with self._telling:
            written, dropped = sum(log.written for log in logs), sum(log.dropped for log in logs)
            self.counters["service_log_written_rows"].inc(written - self._told[0])
            self.counters["service_log_dropped_rows"].inc(dropped - self._told[1])
            self._told = written, dropped
            self.gauges["service_log_failing"].set(any(log.failing for log in logs))

    def show(self) -> bytes:
        """All metrics of all workers, as Prometheus reads them."""
        if SHARED not in os.environ:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        together.register(Processes())
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        together.register(self._monitored)
        return generate_latest(together)


class Processes(Collector):
    """What `process_*` says of all workers together: sums, and when the first began."""

    def collect(self) -> Iterator[Metric]:
        """Look at all that count in the folder; whoever starts them takes out the dead."""
        files = Path(os.environ[SHARED]).glob("gauge_live*.db")
        each = [partial(int, number) for number in {its.stem.rpartition("_")[2] for its in files}]
        collectors = [ProcessCollector(pid=number, registry=None) for number in each]
        measured = filter(None, (its.collect() for its in collectors))
        for metrics in zip(*measured, strict=False):
            metric, values = metrics[0], [its.samples[0].value for its in metrics]
            total = min(values) if "start_time" in metric.name else sum(values)
            metric.samples = [metric.samples[0]._replace(value=total)]
            yield metric


class Textfile(Collector):
    """Metrics of others: what a monitor leaves in a file is passed on with the service's own.

    This is node_exporter's textfile collector: who measures now and then needs no port to be asked
    at. What is passed on is read and written anew, so no file can spoil what the service tells. Of
    a file that cannot be passed on nothing is; the service's log says why, once.
    """

    PREFIX = "monitor_"
    """How the names begin that are passed on; all others are the service's."""

    MOST_BYTES = 2**20

    def __init__(self, path: Path) -> None:
        """Read a file, which need not be there yet."""
        self._path = path

    def collect(self) -> Iterator[Metric]:
        """What the file says now."""
        metrics: list[Metric] = []
        try:
            if self._path.is_file():
                with self._path.open(encoding="utf-8", newline="") as file:
                    text = file.read(self.MOST_BYTES + 1)
                if len(text) > self.MOST_BYTES:
                    raise ValueError(f"it is longer than {self.MOST_BYTES:,} letters")
                metrics = list(text_string_to_metric_families(text))
        except (OSError, ValueError, LookupError) as error:
            warn(f"{self._path} is not passed on to Prometheus: {error}")
        for metric in metrics:
            if all(sample.name.startswith(self.PREFIX) for sample in metric.samples):
                yield metric
