"""Micro-batching: rows of requests that arrive together are scored in one call of the model.

Calling a model costs as much for thirty rows as for one. Whatever was read in one turn of the
event loop waits for its end and no longer, so a lone request is never held back.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from .models import Model, Scores

Records = Sequence[tuple[Any, ...]]

INLINE_ROWS = 256
"""Requests of more rows are scored in a thread, so that the others need not wait for them."""


class Batcher:
    """Collects rows and scores them; belongs to one event loop."""

    def __init__(self) -> None:
        """Begin with nothing to do."""
        self._waiting: list[tuple[Model, Records, asyncio.Future[Scores]]] = []

    async def score(self, model: Model, records: Records) -> Scores:
        """Score rows by this very model, even if another takes its place meanwhile."""
        loop = asyncio.get_running_loop()
        if len(records) > INLINE_ROWS:
            return await loop.run_in_executor(None, model.judge, records)
        if not self._waiting:
            loop.call_soon(self._run)
        future: asyncio.Future[Scores] = loop.create_future()
        self._waiting.append((model, records, future))
        return await future

    def _run(self) -> None:
        waiting, self._waiting = self._waiting, []
        for model in {id(model): model for model, _, _ in waiting}.values():
            requests = [(rows, future) for its, rows, future in waiting if its is model]
            try:
                scores = model.judge([row for rows, _ in requests for row in rows])
            except Exception:  # noqa: BLE001  whatever it is, no request fails for another's rows
                for rows, future in requests:
                    _alone(model, rows, future)
            else:
                _deal(scores, requests)


def _deal(scores: Scores, requests: Sequence[tuple[Records, asyncio.Future[Scores]]]) -> None:
    """Give every request its own rows."""
    start = 0
    for rows, future in requests:
        stop = start + len(rows)
        if not future.done():
            future.set_result(scores.part(slice(start, stop)))
        start = stop


def _alone(model: Model, rows: Records, future: asyncio.Future[Scores]) -> None:
    if future.done():
        return
    try:
        future.set_result(model.judge(rows))
    except Exception as error:  # noqa: BLE001  the request itself reports it
        future.set_exception(error)
