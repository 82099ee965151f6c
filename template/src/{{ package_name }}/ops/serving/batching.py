"""Micro-batching: rows of requests that arrive together are scored in one call of the model.

Calling a model costs as much for thirty rows as for one. Whatever was read in one turn of the
event loop waits for its end and no longer, so a lone request is never held back.
"""

import asyncio
from collections.abc import Sequence

from .models import Model, Records, Said

INLINE_ROWS = 256
"""Requests of more rows are scored in a thread, so that the others need not wait for them."""


class Batcher:
    """Collects rows and scores them; belongs to one event loop."""

    def __init__(self) -> None:
        """Begin with nothing to do."""
        self._waiting: list[tuple[Model, Records, asyncio.Future[list[Said] | Exception]]] = []

    async def score(self, model: Model, records: Records) -> list[Said]:
        """Score rows by this very model, even if another takes its place meanwhile.

        Raises:
            Refusal: if a row breaks a rule across columns.
        """
        loop = asyncio.get_running_loop()
        if len(records) > INLINE_ROWS:
            (answer,) = await loop.run_in_executor(None, judged, model, [records])
        else:
            if not self._waiting:
                loop.call_soon(self._run)
            future: asyncio.Future[list[Said] | Exception] = loop.create_future()
            self._waiting.append((model, records, future))
            answer = await future
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _run(self) -> None:
        waiting, self._waiting = self._waiting, []
        for model in {id(model): model for model, _, _ in waiting}.values():
            requests = [(rows, future) for its, rows, future in waiting if its is model]
            answers = judged(model, [rows for rows, _ in requests])
            for (_, future), answer in zip(requests, answers, strict=True):
                if not future.done():  # the caller may be gone
                    future.set_result(answer)


def judged(model: Model, requests: Sequence[Records]) -> list[list[Said] | Exception]:
    """What a model says of each request, or what it fails for; none fails for another's rows."""
    try:
        return [*model.judge(requests)]
    except Exception as error:  # noqa: BLE001  whatever it is, the request itself reports it
        if len(requests) == 1:
            return [error]
        return [answer for rows in requests for answer in judged(model, [rows])]
