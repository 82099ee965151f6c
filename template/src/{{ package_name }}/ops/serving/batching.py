"""Micro-batching: rows of requests that arrive together are scored in one call of the model.

Calling a model costs as much for thirty rows as for one. What was read waits for the end of a turn
of the event loop in which no more came, so a lone request is never held back. A long request has
its turn in a thread, after those before it; the event loop answers the short ones meanwhile.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from .access import Overloaded
from .models import Model, Records, Said

ROWS_AT_ONCE = 256
"""More rows are scored in several turns of the event loop: between two of them others are heard."""

Done = TypeVar("Done")


class Batcher:
    """Collects rows and scores them; belongs to one event loop."""

    def __init__(self, seconds: float = 10.0) -> None:
        """Begin with nothing to do; a long request may wait so long for its turn and its end."""
        self._waiting = deque[tuple[Model, Records, asyncio.Future[list[Said] | Exception]]]()
        self.thread = ThreadPoolExecutor(1, "long requests")
        self._seconds, self._seen = seconds, 1

    async def score(self, model: Model, records: Records) -> list[Said]:
        """Score rows by this very model, even if another takes its place meanwhile.

        A Refusal if a row breaks a rule across columns.
        """
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._run)
        future: asyncio.Future[list[Said] | Exception] = loop.create_future()
        self._waiting.append((model, records, future))
        answer = await future
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def alone(self, work: Callable[[], Done]) -> Done:
        """Do all the work of a long request in the thread; `Overloaded` if it takes too long."""
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.get_running_loop().run_in_executor(self.thread, work)
        except TimeoutError:
            raise Overloaded from None

    def _run(self) -> None:
        """Score what waits, unless more came in this turn: then there may be more in the next."""
        if self._seen < len(self._waiting) < ROWS_AT_ONCE:
            self._seen = len(self._waiting)
            asyncio.get_running_loop().call_soon(self._run)
            return
        self._seen = 1
        batch = [self._waiting.popleft()]
        rows = len(batch[0][1])
        while self._waiting and (rows := rows + len(self._waiting[0][1])) <= ROWS_AT_ONCE:
            batch.append(self._waiting.popleft())
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._run)
        for model in {id(model): model for model, _, _ in batch}.values():
            requests = [(rows, future) for its, rows, future in batch if its is model]
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
