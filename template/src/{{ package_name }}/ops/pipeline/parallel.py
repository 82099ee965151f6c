"""The same work on each of many parts: in this process, or on the machines of a Ray cluster.

It is the cluster's where `RAY_ADDRESS` is set, see docs/ops/cluster.md. A task is given the file of
its part, works in a folder of its own, and gives back what it wrote there: so machines share no
disk, a task may run twice, and the same functions on the same parts leave the same bytes.
"""

import os
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import lru_cache, partial
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from ..errors import UserError, shortly
from ..files import write_files
from ..user_code import PACKAGE
from . import parquet

ADDRESS = "RAY_ADDRESS"
PATIENCE = 10.0  # seconds in which a cluster must answer
AHEAD = 2  # tasks for each processor that are sent out before the first one is waited for

Engine = tuple[Callable[[Sequence[Any], Path | None], Callable[[], Any]], Callable[[], int]]
"""What begins a function's work, given its arguments and the folder that it writes to, if it does,
and gives what waits for the end; and how many to begin by now before the first is waited for."""


class Packed(NamedTuple):
    """A file on its way to another machine."""

    name: str
    content: bytes


def map(
    function: Callable[..., Any],
    *arguments: Iterable[Any],
    into: Path | None = None,
    rows: Sequence[int] = (),
    workers: int = 1,
    alone: bool = False,
) -> Iterator[Any]:
    """What a function makes of each part, in their order, as Python's own `map`.

    Args:
        function: where a cluster works, it is pickled, with its arguments and what it returns; the
            file that an argument is the path of comes with it.
        arguments: for each part. The path of a part is the first one.
        into: a folder, in which each part has one, called by its number: the last argument.
        rows: how many each part has; if given, it is said now and then how far the work is.
        workers: as many parts are at work in this process.
        alone: whether this process works, whatever cluster there is.

    Raises:
        UserError: if a part cannot be read, or the cluster not be reached.
    """
    calls = zip(*arguments, strict=True)
    first = list(islice(calls, 2))
    here = alone or len(first) < 2 or not os.environ.get(ADDRESS)
    begun, done = time.monotonic(), 0

    def said() -> str:
        speed = sum(rows[:done]) / (time.monotonic() - begun)
        left = f", {sum(rows[done:]) / speed:,.0f} s left" if done else ""
        return f"{done} of {len(rows)} parts, {speed:,.0f} rows a second{left}"

    progress = parquet.progress(said) if len(rows) > 1 else nullcontext()
    waiting: deque[tuple[Any, Callable[[], Any]]] = deque()
    with _here(function, workers) if here else _cluster(function) as (begin, ahead), progress:
        numbered = enumerate(chain(first, calls))
        while True:
            for number, call in islice(numbered, max(0, ahead() + 1 - len(waiting))):
                waiting.append((call[0], begin(call, into and into / f"{number:06}")))
            if not waiting:
                return
            part, finish = waiting.popleft()
            with parquet.explained(part):
                result = finish()
            done += 1
            yield result


@contextmanager
def _here(function: Callable[..., Any], workers: int) -> Iterator[Engine]:
    """This process: one part after the other, or several in threads."""
    if workers == 1:  # in this thread, which may have set how many others compute
        yield partial(partial, _work, function), lambda: 0
    else:
        with ThreadPoolExecutor(workers) as pool:
            yield lambda *call: pool.submit(_work, function, *call).result, lambda: workers


def _work(function: Callable[..., Any], call: Sequence[Any], folder: Path | None) -> Any:
    """What a function makes of a part; the folder that it writes to, if it does, is made."""
    if folder is None:
        return function(*call)
    folder.mkdir()
    return function(*call, folder)


@contextmanager
def _cluster(function: Callable[..., Any]) -> Iterator[Engine]:
    """The machines of a Ray cluster; what is still at work at the end is stopped."""
    try:
        import ray
    except ImportError:
        raise UserError(
            f"{ADDRESS} is set, and Ray is not installed; run `uv sync --group cluster`, or unset "
            "it to work on this machine alone."
        ) from None
    if not ray.is_initialized():
        _connect(ray, os.environ[ADDRESS])
    # In a tuple, so that the task asks for the function itself, once in each process.
    task, shared, working = ray.remote(_task), (ray.put(function),), set()

    def begin(call: Sequence[Any], folder: Path | None) -> Callable[[], Any]:
        packed = [Packed(it.name, it.read_bytes()) if isinstance(it, Path) else it for it in call]
        reference = task.remote(shared, packed, folder is not None)
        working.add(reference)
        return partial(finish, reference, folder)

    def finish(reference: Any, folder: Path | None) -> Any:
        try:
            result, files = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except ray.exceptions.RayError as error:
            said = f"The cluster gave up: {shortly(error)}; run the command again."
            raise UserError(said) from error
        working.remove(reference)
        if folder is not None:
            write_files(folder, files)
        return result

    try:
        yield begin, lambda: AHEAD * int(ray.cluster_resources().get("CPU", 1))  # it may grow
    finally:
        for reference in working:
            ray.cancel(reference, force=True)


def _connect(ray: Any, address: str) -> None:
    """Join a cluster, and say where to watch it; a UserError if none answers."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    # A task for each processor, so one thread for each task.
    environment = {"py_modules": [str(PACKAGE)], "env_vars": {"POLARS_MAX_THREADS": "1"}}
    try:
        if host:  # Ray itself would wait for minutes
            socket.create_connection((host, int(port)), PATIENCE).close()
        context = ray.init(runtime_env=environment, log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"No cluster answers at {ADDRESS}={address}: {shortly(error)}; start it, or unset the "
            "variable to work on this machine alone."
        ) from error
    if context.dashboard_url:
        print(f"Ray works; watch it at http://{context.dashboard_url}", file=sys.stderr)


@lru_cache(maxsize=1)
def _fetched(reference: Any) -> Callable[..., Any]:
    """The function that this process works at; what it loads, such as a model, stays loaded."""
    import ray

    function: Callable[..., Any] = ray.get(reference)
    return function


def _task(shared: tuple[Any], call: Sequence[Any], writes: bool) -> tuple[Any, dict[str, bytes]]:
    """What a function makes of a part, and the files that it writes, on whichever machine."""
    os.environ.pop(ADDRESS, None)  # a task sends out no others
    function = _fetched(*shared)
    with TemporaryDirectory() as folder:
        given, made = Path(folder, "given"), Path(folder, "made")
        packed = [it for it in call if isinstance(it, Packed)]
        write_files(given, {it.name: it.content for it in packed})
        arguments = [given / it.name if isinstance(it, Packed) else it for it in call]
        result = _work(function, arguments, made if writes else None)
        files = [file for file in made.rglob("*") if file.is_file()]
        return result, {str(file.relative_to(made)): file.read_bytes() for file in files}
