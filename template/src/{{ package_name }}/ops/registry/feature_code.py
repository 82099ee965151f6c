"""The features of a version, and answers by its arrays, by the code that it was trained with.

That is this project's code while it lets the version answer its golden rows as it did. Else it is
the code of its commit, or the text that was registered with it, and runs in a process of its own.
"""

import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .. import command
from ..bundle import OTHER_CODE, Arrays, Bundle, own_predict
from ..errors import UserError
from ..project import Project
from ..user_code import PACKAGE
from .reproduction import checkout
from .tracking import CODE, Store, Version, connected

PATIENCE = 3600.0  # seconds that other code has for the features of some rows

PROGRAM = """\
import sys, importlib, polars as pl
package, given, made, *text = sys.argv[1:]
features = importlib.import_module(package + ".ml.features").features
columns = {column.name: column.to_numpy(writable=True) for column in pl.read_ipc(given)}
pl.DataFrame([
    pl.Series(name, values, pl.String if values.dtype.kind != "f" and values.ndim == 1 else None)
    for name, values in features(columns, text).items()
]).write_ipc(made)
"""
"""Reads columns, and writes the features that a package makes of them."""

ANSWERS = """\
import sys, importlib, numpy as np
package, given, made, model = sys.argv[1:]
predict = importlib.import_module(package + ".ml.predict").predict
with np.load(model) as arrays, np.load(given) as rows:
    np.save(made, predict(dict(arrays), rows["numbers"], rows["texts"].astype(object)))
"""
"""Reads a model's inputs, and writes what a package answers by the model's arrays."""


@contextmanager
def own_features(
    project: Project, bundle: Bundle, store: Store | None = None, *, strict: bool = False
) -> Iterator[None]:
    """Let the features of a bundle be made by its own code, for the block.

    A version of an earlier release has no golden rows: if `strict`, its own code is asked for; else
    this project's will do where that cannot be had. `store` is the registry, if it is open. A
    UserError if the code that scores the bundle is nowhere to be had.
    """
    obstacle, known = bundle.obstacle(), bundle.origin.version != bundle.digest[:12]
    with ExitStack() as stack:
        if obstacle or (known and "code" not in bundle.manifest):
            try:
                registry = store or stack.enter_context(connected(project))
                _search(registry, bundle, stack, obstacle or "it has no golden rows")
            except UserError as error:
                if obstacle or strict:
                    raise
                print(f"WARNING  {error}", file=sys.stderr)
        elif bundle.has_other_code:
            print(f"WARNING  {OTHER_CODE}", file=sys.stderr)
        yield


def _search(store: Store, bundle: Bundle, stack: ExitStack, obstacle: str) -> None:
    """Take the features of a bundle from its commit, or from the text registered with it."""
    present, registered, name = bundle.features, store.find(bundle.digest), bundle.origin.version
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="version-")))

    def of_commit(version: Version) -> Path:
        changes = store.changes(version)
        return checkout(store.project, version, changes, folder / "commit").root / "src"

    def of_registry(version: Version) -> Path:
        return stack.enter_context(store.artifact(version, CODE, "modules"))

    for source in (of_commit, of_registry):
        if registered is None:
            break
        with suppress(UserError):
            its = source(registered)
            bundle.features = partial(_elsewhere, its, folder)
            if isinstance(bundle.session, Arrays):
                bundle.session.predict = partial(_answers, its, folder)
            refused = bundle.obstacle()
            if refused is None:
                print(f"Version {name} is scored by its own code in ml/.", file=sys.stderr)
                return
            obstacle = refused
    bundle.features = present
    if isinstance(bundle.session, Arrays):
        bundle.session.predict = own_predict
    raise UserError(
        f"Version {name} needs the code that it was trained with, for {obstacle}; neither git nor "
        "the registry has that. `git fetch --unshallow` brings what a clone lacks."
    )


def _elsewhere(
    source: Path, folder: Path, columns: Mapping[str, NDArray[Any]], text: Collection[str]
) -> dict[str, NDArray[Any]]:
    """The features of some rows by the package in `source`, by way of files in `folder`."""
    with TemporaryDirectory(dir=folder) as aside:
        given, made = Path(aside, "columns"), Path(aside, "features")
        flat = {name: values for name, values in columns.items() if values.ndim == 1}
        texts = {name: pl.String for name, values in flat.items() if values.dtype.kind == "O"}
        pl.DataFrame(dict(columns), schema_overrides=texts).write_ipc(given)
        _run(source, folder, PROGRAM, given, made, *text)
        return {column.name: column.to_numpy() for column in pl.read_ipc(made.read_bytes())}


def _answers(
    source: Path,
    folder: Path,
    arrays: Mapping[str, NDArray[Any]],
    numbers: NDArray[Any],
    texts: NDArray[Any],
) -> NDArray[Any]:
    """The answers to some rows by the package in `source`, by way of files in `folder`."""
    with TemporaryDirectory(dir=folder) as aside:
        given, made, model = (Path(aside, name) for name in ("given.npz", "made.npy", "model.npz"))
        np.savez(model, allow_pickle=False, **arrays)
        np.savez(given, numbers=numbers, texts=texts.astype(str))
        _run(source, folder, ANSWERS, given, made, model)
        said: NDArray[Any] = np.load(made)
    return said


def _run(source: Path, folder: Path, program: str, *arguments: Path | str) -> None:
    command.raw(
        folder,
        *(sys.executable, "-c", program, PACKAGE.name, *map(str, arguments)),
        name="its own code in ml/",
        variables={"PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"},
        timeout=PATIENCE,
    )
