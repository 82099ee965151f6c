"""Search for better parameters on the same folds as training, and write them to `params.yaml`."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from .. import contract as contracts
from ..errors import UserError, shortly
from ..evaluation.metrics import Score
from ..files import write_text
from ..project import Project
from ..settings import AUTO, BLEND, Settings, with_values
from ..wording import listed
from . import parquet
from .train import Rows, asked, hold, searched, threads


def run(project: Project) -> None:
    """Search within the budget of `params.yaml`; the present parameters are the first trials."""
    settings = Settings.load(project.params)
    contract = contracts.load()
    frame = parquet.spread(project.train, contract, settings.train.in_memory, folded=True)
    rows = Rows(contract, frame, settings)
    hold(rows)
    wanted, score = asked(settings.train), rows.score
    for model in filter(searched, wanted):  # a trial would end in a traceback
        lowest = {name: low for name, (low, _) in searched(model).items()}
        try:
            rows.build(model, lowest)
        except UserError as error:
            said = f"ml/model.py: SEARCH.{model} does not fit: {error.__cause__}"
            raise UserError(said) from error

    def objective(trial: optuna.Trial) -> float:
        model = wanted[trial.number % len(wanted)]  # each gets its turns, for all of them blend
        first = trial.number < len(wanted)
        if settings.train.model == AUTO and not first:
            model = trial.suggest_categorical("model", wanted)
        values = dict(settings.train.sections.get(model, {}))
        if not first:
            values |= {name: _suggest(trial, model, name) for name in searched(model)}
        trial.set_user_attr("model", model)
        trial.set_user_attr("parameters", values)
        try:
            folds = [-it if score.loss else it for it in rows.validate(model, values)]
        except UserError:
            raise
        except Exception as error:
            raise optuna.TrialPruned(shortly(error)) from error
        trial.set_user_attr("folds", folds)
        return float(np.mean(folds))

    study = optuna.create_study(
        direction="minimize" if score.loss else "maximize",
        sampler=optuna.samplers.TPESampler(seed=settings.seed),
    )
    try:
        with threads(rows):
            study.optimize(objective, n_trials=settings.tune.trials, timeout=settings.tune.seconds)
        for group in [(name,) for name in wanted] if settings.train.model == BLEND else [wanted]:
            done = study.get_trials(states=[TrialState.COMPLETE])
            trials = [trial for trial in done if trial.user_attrs["model"] in group]
            _keep(project, group, score, trials)
    finally:
        if settings.registry.nested_runs:
            _record(project, study, score.name)


def _keep(
    project: Project, group: Sequence[str], score: Score, trials: Sequence[FrozenTrial]
) -> None:
    """Write the best parameters of a group of models, unless they are the present ones."""
    better = partial(min if score.loss else max, key=lambda it: it.value, default=None)
    best, first = better(trials), better(it for it in trials if not it.params)
    if best is None or best is first:
        reached = "none was tried" if best is None else f"{score.name} {best.value:.4f}"
        print(f"No trial beats the present parameters of {listed(group)} ({reached}).")
        return
    model, found = best.user_attrs["model"], best.user_attrs["parameters"]
    text = project.params.read_text(encoding="utf-8")
    write_text(project.params, with_values(text, f"train.{model}", found))
    print(
        f"params.yaml: train.{model} now holds the winner, {score.name} {best.value:.4f} in "
        f"cross-validation{f' after {first.value:.4f}' if first else ''}; run `make train`."
    )


def _record(project: Project, study: optuna.Study, score: str) -> None:
    """Write a run of MLflow, and one beneath it for each trial that has ended."""
    done = study.get_trials(states=[TrialState.COMPLETE])
    if not done:
        return
    from ..registry.tracking import connected

    with connected(project) as store:
        run = store.log(("search", f"{done[0].datetime_start}"), "ops tune")
        for trial in done:
            title = f"{trial.number} {trial.user_attrs['model']}"
            own, folds = trial.user_attrs["parameters"], trial.user_attrs["folds"]
            seconds = trial.duration.total_seconds() if trial.duration else 0.0
            chosen = trial == study.best_trial
            store.nest(run, title, own, score, folds, chosen=chosen, seconds=seconds)


def _suggest(trial: optuna.Trial, model: str, name: str) -> float:
    """A value that reads well in a file: three significant digits."""
    low, high = sorted(searched(model)[name])
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(f"{model}.{name}", low, high, log=True)
    return float(f"{trial.suggest_float(f'{model}.{name}', low, high, log=True):.3g}")
