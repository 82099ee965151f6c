"""A project whose champion learnt from a stream (streams.py), and the log of what came after."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from my_model.ops.bundle import FORMAT, MANIFEST, MODEL, Bundle, Decision
from my_model.ops.contract import Column, Contract, Kind
from my_model.ops.evaluation import metrics
from my_model.ops.evaluation.distributions import history
from my_model.ops.evaluation.profile import calibration, profile
from my_model.ops.files import sha256, write_json
from my_model.ops.monitoring.reference import Reference
from my_model.ops.project import Project
from streams import CLASSES, Rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

VERSION = "1"
HELD_OUT = 0.2


def column(name: str, kind: Kind, dtype: str, **more: Any) -> Column:
    made = Column(name, dtype, kind, "feature", nullable=True, sensitive=False)
    return replace(made, **more)


CONTRACT = Contract(
    (
        column("time", "time", "Datetime", role="event_time"),
        column("distance", "number", "Float64"),
        column("minutes", "number", "Float64"),
        column("temperature", "number", "Float64"),
        column("area", "category", "String"),
        column("rain", "boolean", "Bool"),
        column("outcome", "category", "Enum", role="target", choices=CLASSES),
    )
)
UNDATED = Contract(CONTRACT.columns[1:])


def frame(rows: Rows) -> pl.DataFrame:
    """Rows as ingest has them."""
    columns = {**rows.columns, "rain": rows.columns["rain"] > 0}
    made = pl.DataFrame({"time": rows.time, **columns, "outcome": rows.truth})
    return made.with_columns(pl.col("distance").fill_nan(None))


def said(rows: Rows) -> pl.DataFrame:
    """What the model answers."""
    chances = np.stack([rows.late, 1 - rows.late], axis=1).astype(np.float32)
    return pl.DataFrame(chances, schema=list(CLASSES))


def champion(root: Path, learnt: Rows, contract: Contract = CONTRACT) -> tuple[Project, Reference]:
    """A project with the rows that its champion learnt from, and the newest held out."""
    project = Project(root)
    (root / "data").mkdir(parents=True, exist_ok=True)
    held_out = round(HELD_OUT * len(learnt))
    parts = {
        project.train: learnt.at(slice(0, -held_out)),
        project.holdout: learnt.at(slice(-held_out, None)),
    }
    frames = [frame(rows).select(it.name for it in contract.columns) for rows in parts.values()]
    for path, rows in zip(parts, frames, strict=True):
        rows.write_parquet(path)
    in_time = contract is CONTRACT
    arrays = contract.arrays(pl.concat(frames) if in_time else frames[0])
    labels, truth = (contract.labels(rows) for rows in frames)
    answers = said(parts[project.holdout]).to_numpy()
    described = profile(contract, arrays, labels, answers)
    if in_time:
        described["history"] = history(
            contract, described, arrays, Decision().answer(said(learnt).to_numpy())
        )
    scores = [metrics.find(name) for name in ("log_loss", "accuracy")]
    made = {
        "format": FORMAT,
        "contract": contract.to_dict(),
        "score": "log_loss",
        "metrics": {score.name: metrics.value(score, truth, answers) for score in scores},
        "intervals": metrics.intervals(scores, truth, answers, 7),
        "calibration": calibration(truth, answers),
        "profile": described,
        "data": {
            "rows": dict(zip(("train", "holdout"), map(len, frames), strict=True)),
            "sha256": {"train": sha256(project.train), "holdout": sha256(project.holdout)},
        },
    }
    project.champion.mkdir(parents=True, exist_ok=True)
    write_json(project.champion / MANIFEST, made)
    return project, Reference(Bundle(project.champion), VERSION, (project.train, project.holdout))


def in_office(project: Project) -> None:
    """Let commands find a champion of which there is no more than the manifest."""
    for name in ("pyproject.toml", "dvc.yaml", f"models/champion/{MODEL}"):
        (project.root / name).touch()
    signed = {"commit": "none", "data": "none", "digest": Bundle(project.champion).digest}
    write_json(project.champion / "version.json", {"version": VERSION, **signed})


def log(project: Project, windows: Sequence[Rows], contract: Contract = CONTRACT) -> None:
    """Log rows as a service does, and their truth a day later."""
    draw = np.random.default_rng(0)
    text = "%Y-%m-%dT%H:%M:%S%.6f+00:00"
    for place, rows in enumerate(windows):
        inputs = frame(rows).select(it.name for it in contract.inputs)
        if "time" in inputs.columns:
            inputs = inputs.with_columns(pl.col("time").dt.to_string("iso:strict"))
        logged = pl.DataFrame(
            {
                "id": [draw.bytes(12).hex() for _ in range(len(rows))],
                "time": rows.time,
                "version": VERSION,
                "inputs": inputs.to_struct(),
                "prediction": np.array(CLASSES)[(rows.late <= 0.5).astype(int)],
                "probabilities": said(rows).to_struct(),
                "truth": rows.truth,
            }
        )
        parts = {
            "predictions": logged.drop("truth"),
            "feedback": logged.select("id", pl.col("time").dt.offset_by("1d"), "truth"),
        }
        for name, part in parts.items():
            folder = project.served / name
            folder.mkdir(parents=True, exist_ok=True)
            begun = f"{part['time'].max():%Y%m%d}T000000.000000Z-{place:08x}"
            lines = part.with_columns(pl.col("time").dt.strftime(text))
            lines.write_ndjson(folder / f"{begun}.jsonl")
