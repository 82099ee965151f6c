"""The story: a model that is served while the world changes, from end to end.

A project with the sample `support-mail` is trained and served. Customers' mails come in, window by
window; where they belonged is told one window later. Then products are merged and renamed, and
customers write differently. All that happens is done by the project's own commands, and the mails
go through its service; only the mails are simulated.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

WORLD = Path(__file__).with_name("world.py")

BEFORE = 4
"""Windows in the world that the model knows."""
WINDOWS = 14
ROWS = 1000
"""Mails in a window: as many as `ops monitor` judges together by default."""
SPARE = 400
"""More mails of a window, for those who ask all the time and never tell the truth."""
AGAIN = (7, 11)
"""Windows after which one more model is trained, as more of the new truth has come."""
NEW = ("wallet", "investing")
ASKED_AT_ONCE = 50
SAME = 200
"""Mails that every champion is asked, to compare its answers before and after."""
OK, ACCEPTED = 200, 202
PAUSE = 0.2
"""Seconds between the requests of those who ask all the time."""
PATIENCE = 60
"""Seconds until the service must have taken a champion."""

NUMBER = re.compile(rb'"prediction_id":"[0-9a-f]+",?')

Mail = Mapping[str, Any]


@dataclass
class Window:
    """What happened in a window."""

    rows: int
    right: int
    version: str
    """Of the model that answered last."""
    decision: str = "none"
    reasons: str = ""

    @property
    def accuracy(self) -> float:
        """The share of mails that went to the right queue."""
        return self.right / self.rows


@dataclass
class Story:
    """All that is told."""

    control: list[Window] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    trained: dict[int, str] = field(default_factory=dict)
    """By window, the champion that came after it."""
    accuracy: dict[str, float] = field(default_factory=dict)
    """Of each champion, on very many mails of the changed world."""
    kind: str = ""
    limit: float = 0.0
    """The same of a model of the champion's kind that learnt from such mails without limit."""
    best: list[float] = field(default_factory=list)
    """The accuracy that no model can exceed, before and after the change."""
    refusal: str = ""
    refused_with: int = 0
    restored: bool = False
    """Whether a rollback brought the earlier answers back, byte by byte."""
    asked: int = 0
    """Requests of those who ask all the time."""
    dropped: int = 0
    """How many of these got anything but an answer."""
    history: str = ""
    seconds: float = 0.0

    @property
    def recovered(self) -> float:
        """The share of the lost accuracy that the last champion has regained."""
        first, *_, last = self.accuracy.values()
        return (last - first) / (self.limit - first)


@dataclass(frozen=True)
class Project:
    """A rendered project, and the shell that its commands run in."""

    root: Path
    environment: Mapping[str, str]

    def run(self, *command: str | Path, code: int = 0, **environment: str) -> str:
        """Run a command; give what it printed.

        Raises:
            RuntimeError: if it does not end with `code`.
        """
        ended, said = self.end(*command, **environment)
        if ended != code:
            raise RuntimeError(f"{command} ended with {ended}:\n{said}")
        return said

    def end(self, *command: str | Path, **environment: str) -> tuple[int, str]:
        """Run a command; give how it ended, and what it printed."""
        print(f"\033[1m$ {' '.join(map(str, command))}\033[0m", flush=True)
        done = subprocess.run(
            command,
            cwd=self.root,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    def ops(self, *arguments: str, code: int = 0) -> str:
        """Run a verb of the project, and show how it ended."""
        said = self.run("uv", "run", "ops", *arguments, code=code)
        print("\n".join(said.strip().splitlines()[-4:]), flush=True)
        return said

    def world(self, *arguments: str | Path) -> str:
        """Ask `world.py`."""
        return self.run("uv", "run", "python", WORLD, *arguments)

    def commit(self, message: str) -> None:
        """Commit what a training leaves for git."""
        self.run("git", "add", "--all", ".")
        self.run("git", "commit", "--quiet", "--no-verify", "--message", message)


class Service:
    """The project's service, as one of its callers sees it."""

    def __init__(self, port: int, key: str = "") -> None:
        """Remember the port, and the key that the caller has."""
        self.port = port
        self.headers = {"Content-Type": "application/json"}
        if key:
            self.headers["X-API-Key"] = key

    def ask(self, path: str, body: object = None) -> tuple[int, bytes]:
        """Send a request; give its status and its body."""
        method = "GET" if body is None else "POST"
        sent = None if body is None else json.dumps(body)
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)) as connection:
            connection.request(method, path, sent, self.headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def predict(self, mails: Sequence[Mail]) -> bytes:
        """Ask where some mails belong.

        Raises:
            RuntimeError: if that is not answered.
        """
        status, body = self.ask("/predict", [inputs(mail) for mail in mails])
        if status != OK:
            raise RuntimeError(f"/predict said {status}: {body.decode()}")
        return body

    def tell(self, truths: Mapping[str, str]) -> None:
        """Tell the truth of some predictions, by their ids.

        Raises:
            RuntimeError: if it is not taken.
        """
        if not truths:
            return
        told = [{"prediction_id": number, "truth": truth} for number, truth in truths.items()]
        status, body = self.ask("/feedback", told)
        if status != ACCEPTED:
            raise RuntimeError(f"/feedback said {status}: {body.decode()}")

    def version(self) -> str:
        """The version that answers."""
        return str(json.loads(self.ask("/version")[1])["model_version"])


def inputs(mail: Mail) -> Mail:
    """What is known of a mail when it arrives."""
    return {name: value for name, value in mail.items() if name != "queue"}


def ready(port: int) -> bool:
    """Whether the service has a model to answer with."""
    try:
        return Service(port).ask("/ready")[0] == OK
    except ConnectionRefusedError:
        return False


@contextmanager
def served(project: Project, logs: Path, **environment: str) -> Iterator[int]:
    """Serve the champion at a free port, and keep the log in a folder."""
    logs.mkdir(parents=True, exist_ok=True)
    said = logs / "said.txt"
    variables = {"PREDICTIONS": str(logs), "FLUSH_SECONDS": "0.1", "POLL_SECONDS": "0.1"}
    variables |= environment
    with said.open("w") as file:
        process = subprocess.Popen(
            ["uv", "run", "ops", "serve", "--port", "0"],
            cwd=project.root,
            env={**project.environment, **variables},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        try:
            while not (found := re.search(r"served at http://.*:(\d+)", said.read_text())):
                if process.poll() is not None:
                    raise RuntimeError(said.read_text())
                time.sleep(0.1)
            port = int(found[1])
            while not ready(port):
                time.sleep(0.1)
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


class Asker:
    """Somebody who asks all the time, whatever happens: one mail after the other."""

    def __init__(self, port: int) -> None:
        """Begin with no mails."""
        self.port = port
        self.mails: Sequence[Mail] = ()
        self.asked = self.dropped = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._ended.set()
        self._thread.join()

    def _ask(self) -> None:
        service = Service(self.port)
        while not self._ended.wait(PAUSE):
            mails = self.mails
            if not mails:
                continue
            try:
                status = service.ask("/predict", inputs(mails[self.asked % len(mails)]))[0]
            except OSError:
                status = 0
            self.asked += 1
            self.dropped += status != OK


def windows(folder: Path) -> Iterator[tuple[list[Mail], list[Mail]]]:
    """The mails of each window: those whose truth will be told, and those of the asker."""
    for number in range(WINDOWS):
        lines = (folder / f"{number}.jsonl").read_text().splitlines()
        mails = [json.loads(line) for line in lines]
        yield mails[:ROWS], mails[ROWS:]


def answers(service: Service, rows: Sequence[Mail]) -> Iterator[dict[str, Any]]:
    """What the service says of many rows, in order."""
    for start in range(0, len(rows), ASKED_AT_ONCE):
        yield from json.loads(service.predict(rows[start : start + ASKED_AT_ONCE]))


def pour(service: Service, mails: Sequence[Mail]) -> tuple[Window, dict[str, str]]:
    """Send the mails of a window; give what became of them, and their truth by prediction."""
    window, truths = Window(len(mails), 0, ""), {}
    for mail, answer in zip(mails, answers(service, mails), strict=True):
        truths[answer["prediction_id"]] = mail["queue"]
        window.right += answer["prediction"] == mail["queue"]
        window.version = answer["model_version"]
    return window, truths


def looked(project: Project, logs: Path) -> dict[str, Any]:
    """Let the project look at what came in; give what its report says."""
    time.sleep(1)  # the log is written a tenth of a second after the answer
    project.run("uv", "run", "ops", "monitor", PREDICTIONS=str(logs))
    told: dict[str, Any] = json.loads((logs / "monitoring" / "monitoring.json").read_text())
    return told


def awaited(service: Service, but: Sequence[str] | Mapping[str, bytes]) -> str:
    """The version that answers, once it is none of these.

    Raises:
        TimeoutError: if none comes.
    """
    end = time.monotonic() + PATIENCE
    while (version := service.version()) in but:
        if time.monotonic() > end:
            raise TimeoutError(f"Version {version} still answers.")
        time.sleep(0.1)
    return version


def keep_kind(project: Project) -> None:
    """Train the kind of model that won from now on, as a team does that has seen it win.

    Of a blend it is the member that weighs most.
    """
    model = json.loads((project.root / "models" / "bundle" / "manifest.json").read_text())["model"]
    kind, members = model["kind"], model["parameters"]
    if kind == "blend":
        kind = max(members, key=lambda name: members[name]["weight"])
    params = project.root / "params.yaml"
    params.write_text(params.read_text().replace("model: blend", f"model: {kind}"))


class Teller:
    """Lets the story happen in a project."""

    def __init__(self, project: Project, folder: Path, calm: int = WINDOWS) -> None:
        """Prepare.

        Args:
            project: with the sample `support-mail`, set up.
            folder: an empty one for mails, logs, scores and pages that are worth a look.
            calm: how many windows the control run looks at.
        """
        self.project, self.folder, self.months = project, folder, calm
        self.story = Story()

    def tell(self) -> Story:
        """Let it happen."""
        start, project, story = time.monotonic(), self.project, self.story
        project.run("make", "train")
        shutil.copy(
            project.root / "reports" / "cards" / "model.html", self.folder / "model-card.html"
        )
        keep_kind(project)
        project.commit("Train the first model, and keep to its kind")
        plan = {"before": BEFORE, "windows": WINDOWS, "rows": ROWS, "spare": SPARE}
        project.world("mails", self.folder, json.dumps(plan))
        self.calm()
        logs = project.root / "data" / "served"
        with served(project, logs) as port, Asker(port) as asker:
            self.live(Service(port), asker, logs)
            self.shuffled()
        story.asked, story.dropped = asker.asked, asker.dropped
        versions = ["1", *story.trained.values()]
        mails = str(self.folder / "judged.parquet")
        for version in versions:
            scored = str(self.folder / f"scored-{version}.parquet")
            project.ops("score", mails, scored, "--model", version)
        said = project.world("judge", self.folder, json.dumps(versions))
        told = json.loads(said.splitlines()[-1])
        story.accuracy, story.kind = told["accuracy"], told["kind"]
        story.limit, story.best = told["limit"], told["best"]
        story.history = project.run("uv", "run", "ops", "history")
        story.seconds = time.monotonic() - start
        return story

    def calm(self) -> None:
        """The control run: the same months in a world that stays as it is."""
        logs, before = self.folder / "calm", dict[str, str]()
        with served(self.project, logs) as port:
            service = Service(port)
            for mails, _ in islice(windows(self.folder / "control"), self.months):
                window, truths = pour(service, mails)
                service.tell(before)
                self.monitor(window, logs)
                self.story.control.append(window)
                before = truths

    def live(self, service: Service, asker: Asker, logs: Path) -> None:
        """Months of mail, a change of the world, what the loop makes of it, and one step back."""
        story, before = self.story, dict[str, str]()
        same: list[Mail] = []
        answers: dict[str, bytes] = {}
        for number, (mails, spare) in enumerate(windows(self.folder / "story")):
            asker.mails = spare
            window, truths = pour(service, mails)
            service.tell(before)
            self.monitor(window, logs)
            story.windows.append(window)
            before = truths
            if window.decision == "retrain" or number in AGAIN:
                if not same:
                    shutil.copy(
                        logs / "monitoring" / "report.html", self.folder / "monitoring.html"
                    )
                same = same or mails[:SAME]
                answers[service.version()] = service.predict(same)
                self.project.ops("retrain", *(f"--declare=queue={queue}" for queue in NEW))
                self.project.commit("Learn what was labelled since")
                story.trained[number] = awaited(service, but=answers)
        last = service.version()
        self.project.ops("rollback", "--reason", "Try the way back")
        earlier = awaited(service, but=[last])
        again = service.predict(same)
        story.restored = NUMBER.sub(b"", again) == NUMBER.sub(b"", answers[earlier])
        self.project.ops("promote", last, "--reason", "It was only tried")
        awaited(service, but=[earlier])

    def monitor(self, window: Window, logs: Path) -> None:
        """Let the project look at what came in, and keep what it decided."""
        told = looked(self.project, logs)
        window.decision, window.reasons = told["decision"], " ".join(told["reasons"])
        print(f"{window.accuracy:.1%} by version {window.version}; {window}", flush=True)

    def shuffled(self) -> None:
        """Offer a challenger that learnt from shuffled queues."""
        project, story = self.project, self.story
        project.run("uv", "run", "ops", "stage", "split")
        project.world("shuffle")
        for stage in ("train", "evaluate"):
            project.ops("stage", stage)
        story.refused_with, story.refusal = project.end("uv", "run", "ops", "register")
        print(story.refusal, flush=True)
        project.run("git", "restore", ".")
        project.run("uv", "run", "dvc", "checkout", "--force")
