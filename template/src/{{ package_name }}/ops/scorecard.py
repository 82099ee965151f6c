"""`ops scorecard`: how ready for production the project is, by the evidence that lies in it.

The rows are those of "The ML Test Score" (Breck et al., Google, 2017): four groups of seven tests.
One that was done and has left its result gives half a point, one that is done again by itself a
whole one; the score is the least of the four sums. Nothing counts because somebody says so.
"""

import json
import re
import xml.etree.ElementTree as xml  # nosec B405
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple

from . import contract, git
from .bundle import Bundle
from .errors import UserError
from .files import read_json
from .project import Project
from .registry.tracking import CHAMPION, Store, Version, connected
from .settings import Settings
from .wording import number, table

FRESH, QUICK = 90, 24 * 60  # days that a champion may serve, minutes from a commit to a version
LOOKED_AT = 1000  # lines of the newest log
REVIEWED = re.compile(
    r"(?m)^(Reviewed-by: \S.*|Merge \w+ request #\d+.*|See \w+ request \S+|.*\(#\d+\))$"
)
"""How a commit says that somebody else has read it: git's own trailer, or the host's words."""
PIPELINES = (":/.git*", ".git*")  # wherever a host wants them
RESULTS = "build/tests.xml"  # of the last `make test`
TARGET = re.compile(r"`make (\w+)`")
AMISS = {"failure", "error", "skipped"}  # what pytest says of a test that did not pass


Found = tuple[object, str]
"""Whether it is evidence, and what it says."""


class Facts:
    """What runs have left in a project and its registry; a LookupError or OSError if nothing."""

    def __init__(self, project: Project, store: Store) -> None:
        """Read the versions, which much is told by."""
        self.project, self.root, self.store = project, project.root, store
        self.versions = {its.number: its for its in store.versions()}
        self.menu = (self.root / "Makefile").read_text(encoding="utf-8")

    @cached_property
    def champion(self) -> Version:
        """The version in office."""
        return self.versions[self.store.aliases()[CHAMPION]]

    @cached_property
    def tests(self) -> dict[str, bool]:
        """Each test of the last `make test`, and whether it passed; none if code was changed."""
        path = self.root / RESULTS
        code = [it for folder in ("src", "tests") for it in (self.root / folder).rglob("*.py")]
        if path.stat().st_mtime < max(it.stat().st_mtime for it in code):
            return {}
        cases = xml.parse(path).findall(".//testcase")  # nosec B314
        return {
            f"{it.get('classname')}.{it.get('name')}": not AMISS & {e.tag for e in it}
            for it in cases
        }

    @cached_property
    def windows(self) -> list[dict[str, Any]]:
        """The windows of the champion's requests that the last look has judged."""
        told = read_json(self.project.served / "monitoring" / "monitoring.json")
        own = told["version"] == str(self.champion.number)
        return [its for its in told["windows"] if own and its["end"] and its["columns"]]

    @property
    def scored(self) -> dict[str, Any]:
        """The newest of these whose true score is known."""
        return [its for its in self.windows if its["score"] and its["score"]["expected"]][-1]

    def findings(self, name: str) -> Any:
        """What the last evaluation found."""
        return read_json(self.project.reports / "findings" / f"{name}.json")

    def beneficial(self) -> Found:
        """What each column is worth was measured, and none does harm, beyond chance."""
        worth = self.findings("importance")
        useful = all(its["importance"] >= -2 * its["deviation"] for its in worth)
        return useful, f"{len(worth)} columns, worth {number(worth[-1]['importance'])} or more"

    def private(self) -> Found:
        """The log goes no further back than it may, and the newest has no sensitive column."""
        logs = sorted((self.project.served / "predictions").glob("*.jsonl"))
        with logs[-1].open(encoding="utf-8") as file:
            lines = [json.loads(line) for line in islice(filter(str.strip, file), LOOKED_AT)]
        sensitive = {column.name for column in contract.load().columns if column.sensitive}
        quiet = all(sensitive.isdisjoint(line["inputs"]) for line in lines)
        days = Settings.load(self.project.params).retention.log_days
        oldest = f"{datetime.now(UTC) - timedelta(days=days or 0):%Y%m%d}"
        said = f"logs of {days} days, without any of {len(sensitive)} sensitive columns"
        return quiet and days and logs[0].name >= oldest, said

    def quick(self) -> Found:
        """A version came within a day of its commit: the first one of the last commit."""
        firsts = {its.tags["git.commit"]: its for its in reversed(self.versions.values())}
        version = max(firsts.values(), key=lambda its: its.number)
        at = git.output(self.root, "show", "-s", "--format=%ct", version.tags["git.commit"])
        took = (version.created.timestamp() - int(at or 0)) / 60
        return took < QUICK, f"version {version.number} came {took:.0f} min after its commit"

    @cached_property
    def commit(self) -> str:
        """What the champion was trained from; if that had changes, what brought it to dvc.lock."""
        tags = self.champion.tags
        if tags["git.dirty"] == "false":
            return tags["git.commit"]
        asked = ("log", "--format=%H", f"-Smd5: {tags['dvc.bundle']}", "--", "dvc.lock")
        return (git.output(self.root, *asked) or "").rpartition("\n")[2]

    def committed(self) -> Found:
        """A commit has all that the champion was trained from."""
        return bool(self.commit), f"commit {self.commit[:7]}"

    def reviewed(self) -> Found:
        """The last change of the model that the champion has was read by somebody else."""
        asked = ("log", "-1", "--first-parent", "--format=%B", self.commit)
        told = REVIEWED.search(git.output(self.root, *asked, "--", "src/*/ml", "params.yaml") or "")
        return told, f"its last change: {told and told[0]}"

    def agreed(self) -> Found:
        """The true score in service is that of the holdout, within chance."""
        name, value, low, high, expected = (
            self.scored["score"][its] for its in ("name", "value", "low", "high", "expected")
        )
        said = f"{name} {number(value)}, {number(expected)} on the holdout"
        return low <= expected <= high, said

    def searched(self) -> Found:
        """Parameters were searched for."""
        search = self.store.search()
        return search.trials, f"{search.trials} trials on {search.at:%F}"

    def tuned(self) -> Found:
        """The champion learnt with the parameters that won the search."""
        search, own = self.store.search(), self.store.known(self.champion).params
        same = all(own.get(f"train.{search.model}.{key}") == it for key, it in search.won.items())
        return same, f"the champion learnt with what won: {search.model}"

    def aged(self) -> Found:
        """A champion was measured on rows that came after those that it had learnt from."""
        for new in reversed(self.versions.values()):
            met = json.loads(new.tags.get("evidence", "{}")).get("champion") or {}
            old = self.versions.get(met.get("version", 0))
            if old and met["value"] and new.tags["dvc.train"] != old.tags["dvc.train"]:
                days, value = (new.created - old.created).days, number(met["value"])
                return True, f"version {old.number}, {days} days old, scored {value} on newer rows"
        return False, ""

    def compared(self) -> Found:
        """Other models than the one in service were tried on the same folds."""
        names = {record["model"] for record in self.findings("validation")}
        passed, said = gate(self, "baseline gain")
        return passed and len(names) > 2, f"{len(names)} models compared; {said}"

    def traced(self) -> Found:
        """Single rows are answered today as they were when the champion was judged."""
        bundle = Bundle(self.project.champion)
        rows = len(bundle.manifest["golden"]["answers"])
        return not bundle.obstacle(), f"{rows} known rows are answered as when it was judged"

    def canaried(self) -> Found:
        """The champion had answered in the shadow of the one before it."""
        events = [its for its in self.store.promotions() if its.version == self.champion.number]
        return True, f"{events[-1].at[:10]}: {events[-1].evidence['shadow']}"

    def fresh(self) -> Found:
        """The champion is young."""
        days = (datetime.now(UTC) - self.champion.created).days
        return days <= FRESH, f"trained {days} days ago, on {self.champion.created:%F}"


Evidence = Callable[[Facts], Found] | tuple[Any, ...]
"""What looks for it; or that, and what it is given beside the facts."""


class Row(NamedTuple):
    """A test: what shows that it was done, and is done again, and what brings each about.

    What needs no more to be done again is part of every training and registration.
    """

    title: str
    done: Evidence
    cure: str = "`make train`"
    again: Evidence = lambda _: (True, "")
    then: str = "`git push`, so that a pipeline repeats it"


class Result(NamedTuple):
    """What a row comes to, and what its next half point takes."""

    name: str
    title: str
    points: float
    evidence: str
    missing: str


def passed(facts: Facts, *names: str) -> Found:
    """There are tests of each of these names, and all have passed."""
    each = [[good for its, good in facts.tests.items() if name in its] for name in names]
    at = datetime.fromtimestamp((facts.root / RESULTS).stat().st_mtime, UTC)
    return all(its and all(its) for its in each), f"tests passed on {at:%F}: {sum(map(len, each))}"


def gate(facts: Facts, *names: str) -> Found:
    """The champion passed these gates, and was not spared them; without names, all that asked."""
    asked = {its["name"]: its for its in facts.champion.gates if not its.get("skipped")}
    chosen = [asked[name] for name in names or asked]
    said = " ".join(its["reason"] for its in chosen) if names else f"{len(chosen)} gates passed"
    return all(its["passed"] for its in chosen), f"{facts.champion.created:%F}: {said}"


def watched(facts: Facts, *checks: str) -> Found:
    """In the newest window that could tell, these checks found nothing."""
    window = facts.scored if "score" in checks else facts.windows[-1]
    held = f"{window['rows']} rows until {window['end'][:10]}, {window['refused']} refused"
    quiet = all(its["check"] not in checks for its in window["findings"])
    return quiet, f"{held}: nothing found by {', '.join(checks)}"


def repeated(facts: Facts, target: str) -> Found:
    """The host of the repository has a pipeline that runs a target of the Makefile."""
    newest = ("--sort=-committerdate", "--format=%(refname)", "refs/remotes")
    told = git.output(facts.root, "for-each-ref", "--count=1", *newest) or "no branch"
    asked = ("grep", "-lE", f"(run:|-) make {target}( |$)", told, "--", *PIPELINES)
    on = git.output(facts.root, "log", "-1", "--format=%cs", told, "--")
    return git.output(facts.root, *asked), f"`make {target}` in a pipeline of {on}"


TYPED = "`make {}`".format
TRAIN, TEST, TUNE, AGAIN = map(TYPED, ("train", "test", "tune", "retrain"))
MONITOR = f"{TYPED('serve')}, {TYPED('monitor')} once it was asked"
LABELS = f"{MONITOR} and /feedback was told enough ground truth"
GROUPS, COMPARE = f"gates.groups in params.yaml, {TRAIN}", f"train.model: auto, {TRAIN}"
SHADOW = f"registry.shadow_rows, {TRAIN}, {TYPED('serve')} with SHADOW=models/challenger"
MERGE = "have the last change of src/*/ml and params.yaml reviewed: merge it by a proposal"
TESTED, WATCHED, TRIED = (repeated, "test"), (repeated, "monitor"), (repeated, "trial")
INCOMING = ("missing", "out of range", "unknown categories", "vanished categories")
ROWS = {
    "Data": (
        Row("A schema holds what is expected", (passed, ".test_data."), TEST, TESTED),
        Row("All features are beneficial", Facts.beneficial, f"leave out what harms, {TRAIN}"),
        Row("No feature costs too much", (gate, "latency")),
        Row("Features are as they should be", (passed, "_no_feature", "_only_feat"), TEST, TESTED),
        Row("There are privacy controls", Facts.private, f"retention.log_days, {MONITOR}", WATCHED),
        Row("New features come quickly", Facts.quick, f"`git commit`, {TRAIN}", TRIED),
        Row("All code of features is tested", (passed, ".test_features."), TEST, TESTED),
    ),
    "Model": (
        Row("Its code is submitted and reviewed", Facts.committed, TRAIN, Facts.reviewed, MERGE),
        Row("Offline and online metrics agree", Facts.agreed, LABELS, WATCHED),
        Row("All hyperparameters are tuned", Facts.searched, TUNE, Facts.tuned, TRAIN),
        Row("What staleness costs is known", Facts.aged, AGAIN),
        Row("A simpler model is not better", Facts.compared, COMPARE),
        Row("Important slices are good enough", (gate, "worst slice")),
        Row("It is tested for inclusion", (gate, "fairness"), GROUPS),
    ),
    "Infrastructure": (
        Row("Training is reproducible", (passed, "_same_model"), TEST, TESTED),
        Row("The model's code is unit tested", (passed, ".test_model."), TEST, TESTED),
        Row("The pipeline is tested as a whole", (passed, ".test_smoke."), TEST, TESTED),
        Row("Quality is judged before service", gate),
        Row("The model can be debugged", Facts.traced),
        Row("Models are canaried", Facts.canaried, SHADOW),
        Row("Models can be rolled back", (passed, "_gives_way"), TEST, TESTED),
    ),
    "Monitoring": (
        Row("Changes upstream are told of", (watched, "contract"), MONITOR, (repeated, "audit")),
        Row("Inputs keep the data's invariants", (watched, *INCOMING), MONITOR, WATCHED),
        Row("Training and service do not differ", (passed, "_as_a_file"), TEST, TESTED),
        Row("The model is not too stale", Facts.fresh, AGAIN, (repeated, "challenge")),
        Row("The model is numerically stable", (gate, "export parity")),
        Row("Speed has not regressed", (gate, "latency")),
        Row("Quality has not regressed", (watched, "score"), LABELS, WATCHED),
    ),
}
"""By group, the tests in the paper's order."""

LEVELS = {
    "Google": (
        {"Data 1", "Infrastructure 1", "Infrastructure 4", "Monitoring 4"},
        {"Data 7", "Infrastructure 2", "Infrastructure 3", "Infrastructure 7"},
    ),
    "Microsoft": (
        {"Data 7", "Infrastructure 3"},
        {"Infrastructure 1", "Infrastructure 4", "Model 1"},
        {"Infrastructure 6", "Infrastructure 7", "Monitoring 3"},
        {"Model 2", "Monitoring 4", "Monitoring 7"},
    ),
}
"""Rows that each level of MLOps above 0 asks for, whole, besides those of the levels before it."""


def run(project: Project) -> None:
    """Print the scorecard."""
    results, sums = scorecard(project), []
    for group in ROWS:
        own = [its for its in results if its.name.startswith(group)]
        sums.append(sum(its.points for its in own))
        heads = ("points", group, f"{sums[-1]:g} of 7", "evidence")
        rows = [(f"{it.points:g}", it.name, it.title, f"{it.evidence} {it.missing}") for it in own]
        print(f"{table(heads, rows)}\n")
    print(f"ML Test Score: {min(sums):g}, the least of the four; together {sum(sums):g} of 28.")
    whole = {its.name for its in results if its.points == 1}
    for name, steps in LEVELS.items():
        lacking = [*(", ".join(sorted(step - whole)) for step in steps), "nothing"]
        level = next(place for place, its in enumerate(lacking) if its)
        print(f"MLOps by {name}: level {level} of {len(steps)}; more needs {lacking[level]}.")


def scorecard(project: Project) -> list[Result]:
    """What each row comes to, in the paper's order."""
    with connected(project) as store:
        facts = Facts(project, store)
        return [
            judged(f"{group} {place}", row, facts)
            for group, rows in ROWS.items()
            for place, row in enumerate(rows, 1)
        ]


def judged(name: str, row: Row, facts: Facts) -> Result:
    """Look for the evidence of a row."""
    found: list[str] = []
    with suppress(LookupError, OSError, ValueError, UserError):
        for evidence in (row.done, row.again):
            look, *given = evidence if isinstance(evidence, tuple) else (evidence,)
            holds, said = look(facts, *given)
            if not holds:
                break
            found.append(said)
    cure = (row.cure, row.then, "")[len(found)]
    lacking = [its for its in TARGET.findall(cure) if f"\n{its}:" not in facts.menu]
    if lacking:
        cure = f"a project that can {lacking[0]}, see docs/ops/updating.md#change-an-answer"
    missing = f"Missing: {cure}." if len(found) < 2 else ""
    return Result(name, row.title, len(found) / 2, "; ".join(filter(None, found)), missing)
