"""Rules that no type can express, held to rows by polars: those across columns, and checks.

The expressions are those of `ml/schema.py` at hand; the bundle says which of them its model was
trained under. Only a contract that has such rules needs polars.
"""

from collections.abc import Sequence
from typing import Any, Self

from .. import contract as contracts
from ..contract import Contract
from ..errors import UserError
from ..schema_rules import Rule, expressions

BrokenRules = Sequence[tuple[Rule, ...]]
"""For each row, the rules that it breaks."""


class RowRules:
    """Holds rows, as many as there are at once, to the rules of one contract."""

    @classmethod
    def of(cls, contract: Contract) -> Self | None:
        """The rules that a contract asks each row by itself; None if it has none.

        A UserError if one of them cannot be evaluated here, or is another by now.
        """
        rules = [rule for rule in contract.rules if not rule.batch]
        return cls(contract, rules) if rules else None

    def __init__(self, contract: Contract, rules: Sequence[Rule]) -> None:
        """See `of`."""
        for rule in rules:
            if rule.obstacle:
                raise UserError(f"No service can hold a row to {rule.name}: {rule.obstacle}.")
        try:
            import polars as pl

            schema = contracts.schema()
        except ImportError as error:
            raise UserError(
                f"The contract has rules that polars evaluates ({rules[0].name}, for one), and "
                f"{error.name} is not installed: add the dependency group `rules`."
            ) from error
        here = contracts.compile_schema(schema)
        for rule in rules:
            if obstacle := _changed(rule, contract, here):
                raise UserError(
                    f"The model was trained under another rule {rule.name}: {obstacle}; serve it "
                    "with the code that it was trained with, or run `make train`."
                )
        places = {column.name: place for place, column in enumerate(contract.inputs)}
        used = dict.fromkeys(name for rule in rules for name in rule.columns)
        self._rules = rules
        self._places = [(name, places[name]) for name in used if name in places]
        self._schema = {name: schema.columns()[name].dtype for name in used}
        at_hand = expressions(schema)
        self._verdicts = [at_hand[rule.name].alias(str(n)) for n, rule in enumerate(rules)]
        self._frame = pl.from_dicts  # quicker than a series for each column
        self._as_written = pl.QueryOptFlags.none()
        try:
            self.broken([(None,) * len(places)])
        except pl.exceptions.PolarsError as error:
            raise UserError(f"A rule of ml/schema.py cannot be evaluated: {error}.") from error

    def broken(self, records: Sequence[tuple[Any, ...]]) -> BrokenRules | None:
        """Which rows break which rules; None if they keep them all."""
        rows = [{name: record[place] for name, place in self._places} for record in records]
        # A query that is not optimized, of a frame in memory, costs a third of `frame.select`.
        query = self._frame(rows, schema=self._schema).lazy().select(self._verdicts)
        verdicts = query.collect(optimizations=self._as_written, engine="in-memory")
        # Of what is missing no rule says that it is wrong.
        if all(verdict.all() for verdict in verdicts.iter_columns()):
            return None
        return [
            tuple(rule for rule, keeps in zip(self._rules, row, strict=True) if keeps is False)
            for row in verdicts.iter_rows()
        ]


def _changed(rule: Rule, contract: Contract, here: Contract) -> str | None:
    """Why a rule is not the one of the same name here; None if it is, as far as one can tell."""
    same = next((its for its in here.rules if its.name == rule.name), None)
    if same is None:
        return "ml/schema.py has none of that name"
    if same.obstacle:
        return same.obstacle
    if rule.digest and rule.digest != same.digest:
        return "ml/schema.py states it in another way by now"
    then, now = ({column.name: column for column in its.columns} for its in (contract, here))
    for name in rule.columns:
        if name not in then or name not in now:
            return f"there is no column {name}"
        if (then[name].dtype, then[name].choices) != (now[name].dtype, now[name].choices):
            return f"{name} is of another type by now"
    return None
