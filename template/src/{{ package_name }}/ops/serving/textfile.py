"""Metrics of others: what a monitor leaves in a file goes to Prometheus with the service's own.

This is node_exporter's textfile collector: who measures now and then needs no port to be asked at.
What is passed on is read and written anew, so no file can spoil what the service itself tells.
"""

import logging
from collections.abc import Hashable, Iterator
from pathlib import Path
from stat import S_ISREG
from threading import Lock

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from .places import identity

logger = logging.getLogger("service")

PREFIX = "monitor_"
"""How the names begin that are passed on; all others are the service's."""

MOST_BYTES = 2**20


class Textfile(Collector):
    """One file of metrics, which somebody else exchanges as a whole.

    Of a file that cannot be passed on nothing is; the service's log says why, once.
    """

    def __init__(self, path: Path) -> None:
        """Watch a file, which need not be there yet."""
        self._path = path
        self._state: Hashable = None
        self._metrics: list[Metric] = []
        self._looking = Lock()

    def look(self) -> None:
        """Read the file, if it is another one than before; from any thread."""
        with self._looking:
            try:
                state: Hashable = identity(self._path)
            except OSError:  # as long as nobody monitors
                state = None
            if state == self._state:
                return
            self._state, self._metrics = state, []
            if state is None:
                return
            try:
                self._metrics = list(_read(self._path))
            except (OSError, ValueError, LookupError) as error:
                logger.warning("%s is not passed on to Prometheus: %s", self._path, error)

    def collect(self) -> Iterator[Metric]:
        """What was read last."""
        yield from self._metrics


def _read(path: Path) -> Iterator[Metric]:
    """The metrics in a file whose names begin as they should.

    Raises:
        ValueError: if it is no text in Prometheus' format, or too much.
        OSError: if it cannot be read.
    """
    if not S_ISREG(path.stat().st_mode):
        raise ValueError("it is no file")
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"it is longer than {MOST_BYTES:,} bytes")
    for metric in text_string_to_metric_families(content.decode()):
        if all(sample.name.startswith(PREFIX) for sample in metric.samples):
            yield metric
