"""Whether new labels are like what is known, asked of each source of them before they are learnt.

A source is an API key, by its name. Its labels differ from the champion's answers about as often as
those of the holdout. Where they differ more, the world may have changed: so a model has a say that
learns from new labels of other sources, or, where those are few, from other parts of the same.
"""

from contextlib import suppress

import numpy as np
import polars as pl

from .. import contract as contracts
from ..bundle import Bundle
from ..contract import Contract, unfolded
from ..errors import Refused, UserError
from ..evaluation.metrics import Array
from ..pipeline import labelled
from ..pipeline.labelled import KEY, LABELLED, PREDICTION
from ..pipeline.parsing import parse
from ..pipeline.validate import check
from ..project import Project
from ..registry.feature_code import own_features
from ..scoring import in_batches, unfit
from ..settings import BLEND, Settings

LEAST, MOST, NAMED = 100, 20_000, 10
"""Labels of a source that are judged, at least; of all sources, at most; and how many are named."""

MARGIN, TRUST = 0.05, 3.0
"""Labels that differ more often than usual by this, and so many standard errors, are refused."""

REFUSAL = """\
{1:,} labels are neither what the champion says nor like other new labels, all told by key {0!r}:
{2}
Nothing was taken in. If they are right, `uv run ops retrain --trust-labels` learns them; if not,
`uv run ops labels exclude --key {0!r} --since {3:%FT%TZ} --until {4:%FT%TZ} --reason TEXT`."""


def examine(project: Project, contract: Contract, rows: pl.LazyFrame) -> None:
    """Look at a sample of new labels, as `labels.gathered` yields them; their ids are random.

    Raises:
        Refused: if those of a source differ too often.
    """
    labels, frame = _sample(contract, rows)
    if len(frame) < LEAST:
        return
    try:
        champion = Bundle(project.champion)
        usual = _usual(champion, contract)
        with own_features(project, champion):
            inputs = champion.inputs(champion.contract.arrays(frame))
    except UserError as error:
        print(f"retrain: new labels are not held to the champion's answers: {error}")
        return
    answers, truth = in_batches(champion.judged.session, inputs), contract.labels(frame)
    said = contract.named(answers.values)
    far = np.abs(answers.values - truth)
    labels = labels.with_columns(said=said, far=far)
    wrong, many = _doubts(champion, usual)
    if len(labels.filter(many)) and np.ptp(truth):
        inputs += [*np.atleast_2d(answers.scored.T)]
        with suppress(ValueError):  # what one source told is all of one class
            other = _second_opinion(project, champion, inputs, truth, labels[KEY])
            labels = labels.with_columns(far=np.minimum(far, np.abs(other - truth)))
    refused = labels.filter(many, wrong)
    if len(refused):
        raise Refused(_refusal(refused, contract.target.name))


def _sample(contract: Contract, rows: pl.LazyFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Labels that keep the contract, with where they come from; and the same rows typed."""
    told = rows.drop_nulls(contract.target.name).bottom_k(MOST, by=PREDICTION)
    columns = pl.LazyFrame(schema={column.name: pl.String for column in contract.columns})
    every = labelled.weighed(pl.concat([columns, told], how="diagonal"), contract)
    given = every.collect(engine="streaming")
    frame, *_, kept = check(parse(given.lazy()).rows.collect())
    return given.filter(kept).with_columns(pl.col(KEY).fill_null("")), frame


def _usual(champion: Bundle, contract: Contract) -> float:
    """Which share of the holdout the champion was wrong about, or had outside its interval.

    Raises:
        UserError: if it cannot judge these labels.
    """
    if contract.task == "recommendation":
        raise UserError("it recommends, and whatever was taken instead is right.")
    about, interval = champion.manifest, champion.manifest.get("interval") or {}
    usual = float(
        1 - interval.get("coverage", about.get("unweighted", about)["metrics"].get("accuracy", 0))
    )
    if usual == 1 or unfit(champion, contract) or champion.contract.classes != contract.classes:
        raise UserError("it knows other columns or classes, or was judged by few rows.")
    return usual


def _doubts(champion: Bundle, usual: float) -> tuple[pl.Expr, pl.Expr]:
    """Whether a label is wrong, by how `far` it is from what was said; whether its source's are.

    Both shares are of samples: the holdout's, and the source's.
    """
    interval = champion.manifest.get("interval") or {}
    wrong, bound = pl.col("far") > interval.get("half_width", 0.0), min(usual + MARGIN, 1.0)
    held_out = usual * (1 - usual) / champion.manifest["data"]["rows"]["holdout"]
    limit = bound + TRUST * (bound * (1 - bound) / pl.len() + held_out).sqrt()
    return wrong, ((pl.len() >= LEAST) & (wrong.mean() > limit)).over(KEY)


def _refusal(refused: pl.DataFrame, target: str) -> str:
    """What is wrong with each source, the worst of its labels first, and what to do."""
    line = pl.format("  {}: {}, and the champion says {}", PREDICTION, target, "said")
    when = pl.col(LABELLED)
    shown = pl.len(), line.head(NAMED), when.min(), when.max().dt.offset_by("1s").alias("until")
    worst_first = refused.sort("far", descending=True)
    sources = worst_first.group_by(KEY, maintain_order=True).agg(*shown).iter_rows()
    return "\n".join(
        REFUSAL.format(key, count, "\n".join(rows), *span) for key, count, rows, *span in sources
    )


def _second_opinion(
    project: Project, champion: Bundle, inputs: list[Array], truth: Array, keys: pl.Series
) -> Array:
    """What a model says that knows the champion's answers, and learns other new labels."""
    from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict

    from ...ml import model as models
    from ..pipeline import train

    settings, kind = Settings.load(project.params), champion.manifest["model"]["kind"]
    names = [feature["name"] for feature in champion.manifest["features"]]
    names += [f"champion {place}" for place in range(len(inputs) - len(names))]
    columns = unfolded(dict(zip(names, inputs, strict=True)))
    kinds = contracts.kinds(columns, champion.contract.text)
    made = train.frame_of(columns, kinds)
    if kind == BLEND:  # its heaviest member says enough
        members = champion.manifest["model"]["parameters"]
        kind = max(set(members) & set(models.MODELS), key=lambda name: members[name]["weight"])
    own = settings.train.sections.get(kind, {})
    model = models.build(kind, champion.contract.task, kinds, own, settings.seed)
    part, source, count = pl.int_range(pl.len()) % 5, pl.col(KEY).rank("dense"), pl.len().over(KEY)
    few = pl.len() - count < pl.max_horizontal(LEAST, count / 4)
    groups = keys.to_frame().select(pl.when(few).then(part).otherwise(source + 5)).to_series()
    others = LeaveOneGroupOut()
    return np.asarray(cross_val_predict(model, made, truth, groups=groups, cv=others))
