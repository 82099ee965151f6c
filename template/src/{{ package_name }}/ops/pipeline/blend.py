"""The blend: the weighted mean of several models, the weights by answers out of fold.

Models of different kinds err on different rows, so their mean errs less than the best of them. The
weights are multiples of a fifth, and those with the least loss on rows that no model had learnt
from. By the rule of one standard error, the best single model stays unless the blend loses less
than it by more than that, row by row; and the blend must reach its score, but for chance.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from itertools import combinations_with_replacement
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import polars as pl
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from sklearn.pipeline import Pipeline

from ..bundle import MODEL, decided
from ..evaluation.metrics import Score, losses
from ..export import export as alone
from ..export import to_onnx
from ..own_export import OPSET
from ..settings import BLEND
from ..wording import listed
from . import recency

if TYPE_CHECKING:
    from .train import Rows

Array = NDArray[Any]

ERRORS = 1  # so many standard errors of a loss may be chance
PARTS = 5  # a weight is a multiple of a fifth
MOST = 6  # so many models are weighed, the best ones


@dataclass(frozen=True, eq=False)
class Blend:
    """Fitted pipelines and what each weighs; it answers as a pipeline does."""

    members: Mapping[str, Pipeline]
    weights: Sequence[float]

    @property
    def classes_(self) -> Array:
        """The classes that were learnt, in the order of the probabilities."""
        return np.asarray(next(iter(self.members.values())).classes_)

    def predict_proba(self, frame: pl.DataFrame) -> Array:
        """The mean of the probabilities."""
        return mean(self.weights, (its.predict_proba(frame) for its in self.members.values()))

    def predict(self, frame: pl.DataFrame) -> Array:
        """The likeliest class, or the mean of the numbers."""
        if hasattr(next(iter(self.members.values())), "classes_"):
            return np.asarray(self.classes_[self.predict_proba(frame).argmax(axis=1)])
        return mean(self.weights, (its.predict(frame) for its in self.members.values()))


def mean(weights: Iterable[float], answers: Iterable[Array]) -> Array:
    """The mean of what several models say of the same rows."""
    parts = [weight * answer for weight, answer in zip(weights, answers, strict=True)]
    return np.asarray(reduce(np.add, parts))


def weigh(
    truth: Array, said: Mapping[str, Array], score: Score, weights: Array
) -> dict[str, float]:
    """The weights with the least loss of models that `said` something of some rows, out of fold.

    Models that weigh nothing are left out.
    """

    def loss(names: tuple[str, ...]) -> float:
        parts = [said[name] for name in names]
        lost = losses(score, truth, reduce(np.add, parts) / len(parts))
        return float(np.average(lost, weights=weights))

    best = sorted(said, key=lambda name: loss((name,)))[:MOST]
    least = min(combinations_with_replacement(best, PARTS), key=loss)
    return {name: count / PARTS for name, count in Counter(least).items()}


def offer(rows: "Rows", best: str) -> tuple[dict[str, float], str]:
    """The weights of a blend, none if the best single model is better taken; and why.

    What it says and scores out of fold is kept beside that of the models.
    """
    held = recency.thinned(np.concatenate([held for _, held in rows.splits]))
    truth = rows.labels[held]
    said = {name: rows.said[name][held] for name in [*rows.validation][1:]}
    weights = weigh(truth, said, rows.score, rows.weights[held])
    if len(weights) == 1:
        return {}, f"By loss no blend beats {listed([*weights])} alone; by score {best} is taken."
    blended = mean(weights.values(), (rows.said[name] for name in weights))
    rows.judge(BLEND, blended)
    step = -(-PARTS // len(rows.splits))  # of few folds, parts are compared
    parts = [fold[place::step] for _, fold in rows.splits for place in range(step)]
    answers = [decided(rows.decisions[it]).answer(rows.said[it]) for it in (best, BLEND)]
    reached = np.array([[rows.scored(part, it[part]) for part in parts] for it in answers])
    fallen = reached[0] - reached[1]
    lower = np.nanmean(fallen) > recency.DEVIATIONS * np.nanstd(fallen) / np.sqrt(len(parts))
    single, together = (losses(rows.score, truth, it[held]) for it in (rows.said[best], blended))
    share = rows.weights[held] / rows.weights[held].sum()
    less = float(share @ (single - together))
    error = float(np.sqrt(np.square(share * (single - together - less)).sum()))
    named = listed([f"{name} ({weight:g})" for name, weight in weights.items()])
    told = f"A blend of {named} loses {less:.3g} less per row out of fold than {best}"
    told += f", with a standard error of {error:.2g}"
    if less > ERRORS * error and not lower:
        return weights, f"{told}."
    why = f"but its {rows.score.name} is worse" if lower else "that may be chance"
    return {}, f"{told}; {why}, so {best} is taken."


def export(model: Pipeline | Blend, kinds: Mapping[str, str]) -> tuple[str, bytes]:
    """A model's file, its name first; of a blend, one graph answers as a single model would."""
    if not isinstance(model, Blend):
        return alone(model, kinds)
    return MODEL, _joined(model, tuple(kinds.items()))


def members(file: Path, told: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Each member of an exported blend by itself, as a model that answers its part."""
    model = onnx.load(file)
    for place, name in enumerate(it for it in told["parameters"] if it != "half_life"):
        del model.graph.output[:]
        part = helper.make_tensor_value_info(f"{place}/part", onnx.TensorProto.FLOAT, None)
        model.graph.output.append(part)
        yield name, model.SerializeToString()


@lru_cache(1)  # the same blend is held to its export, and written
def _joined(blend: Blend, kinds: tuple[tuple[str, str], ...]) -> bytes:
    """Convert each member, and add up their answers, times what they weigh."""
    graph, opsets, answers = onnx.GraphProto(name="model"), dict(OPSET), []
    functions: list[onnx.FunctionProto] = []
    for place, pipeline in enumerate(blend.members.values()):
        member = onnx.load_from_string(to_onnx(pipeline, dict(kinds)))
        if any(not its.domain and its.version != OPSET[""] for its in member.opset_import):
            member = onnx.version_converter.convert_version(member, OPSET[""])
        if not place:
            graph.input.extend(member.graph.input)
            graph.output.extend(member.graph.output)
        own = [its.name for its in member.graph.input]
        member = onnx.compose.add_prefix(member, f"{place}/")
        graph.node.extend(helper.make_node("Identity", [its], [f"{place}/{its}"]) for its in own)
        graph.node.extend(member.graph.node)
        graph.initializer.extend(member.graph.initializer)
        functions.extend(member.functions)
        for its in member.opset_import:
            opsets[its.domain] = max(its.version, opsets.get(its.domain, 1))
        weight = np.array(blend.weights[place], np.float32)
        graph.initializer.append(numpy_helper.from_array(weight, f"{place}/weight"))
        answer, part = member.graph.output[-1].name, f"{place}/part"
        graph.node.append(helper.make_node("Mul", [answer, f"{place}/weight"], [part]))
        answers.append(part)
    graph.node.append(helper.make_node("Sum", answers, [graph.output[-1].name]))
    if len(graph.output) > 1:
        label, probabilities = (its.name for its in graph.output)
        graph.initializer.append(numpy_helper.from_array(blend.classes_, "classes"))
        likeliest = helper.make_node("ArgMax", [probabilities], ["first"], axis=1, keepdims=0)
        graph.node.append(likeliest)
        graph.node.append(helper.make_node("Gather", ["classes", "first"], [label]))
    made = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(*its) for its in sorted(opsets.items())],
        functions=functions,
        ir_version=8,
    )
    exported: bytes = made.SerializeToString(deterministic=True)
    return exported
