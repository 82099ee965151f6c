"""Chromium, driven over its own pipe: no driver, no port, no library."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 60
"""Seconds that a page may take for anything."""


class Page:
    """The only page of a browser that knows no host but this machine.

    Attributes:
        trouble: what the page complained of: exceptions, errors, what its policy forbids.
        asked: the address of everything that it loaded.
    """

    def __init__(self, process: subprocess.Popen[bytes], ask: int, answer: int) -> None:
        """Open a blank page; `ask` and `answer` are the browser's pipes."""
        self.trouble: list[str] = []
        self.asked: list[str] = []
        self._process = process
        self._ask = ask
        self._answer = os.fdopen(answer, "rb")
        self._numbers = itertools.count(1)
        self._session: dict[str, str] = {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """A command of the DevTools protocol: https://chromedevtools.github.io/devtools-protocol."""
        number = next(self._numbers)
        command = {"id": number, "method": method, "params": parameters, **self._session}
        os.write(self._ask, json.dumps(command).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                result: dict[str, Any] = message["result"]
                return result
            self._note(message)

    def open(self, address: str) -> Self:
        """Go somewhere."""
        self.call("Page.navigate", url=address)
        return self

    def value(self, expression: str) -> Any:  # noqa: ANN401  JavaScript may say anything
        """What an expression is worth on the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, f"{expression}: {found['exceptionDetails']}"
        return found["result"].get("value")

    def until(self, expression: str) -> Any:  # noqa: ANN401
        """Wait until an expression is worth something, and give it."""
        deadline = time.monotonic() + PATIENCE
        while not (found := self.value(expression)):
            assert time.monotonic() < deadline, f"{expression}: {found}, {self.trouble}"
            time.sleep(0.02)
        return found

    def click(self, selector: str) -> None:
        """Click where something is, as a mouse does."""
        box = self.value(
            f"(() => {{ const it = document.querySelector({json.dumps(selector)});"
            "it.scrollIntoView({block: 'center'}); const box = it.getBoundingClientRect();"
            "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        where = {"x": box[0], "y": box[1], "button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, **where)

    def write(self, selector: str, text: str) -> None:
        """Write into a field, over what was there."""
        self.click(selector)
        self.value(f"document.querySelector({json.dumps(selector)}).select()")
        self.call("Input.insertText", text=text)

    def picture(self, path: Path, scheme: str, width: int = 1200) -> bytes:
        """The whole page in a colour scheme, light or dark, as a PNG."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))
        return path.read_bytes()

    def _message(self) -> dict[str, Any]:
        letters = bytearray()
        while (letter := self._answer.read(1)) != b"\0":
            assert letter, f"the browser has ended: {self._process.wait()}"
            letters += letter
        message: dict[str, Any] = json.loads(letters)
        return message

    def _note(self, message: dict[str, Any]) -> None:
        said = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                self.trouble.append(str(said["exceptionDetails"]))
            case "Log.entryAdded" if said["entry"]["level"] in ("warning", "error"):
                self.trouble.append(said["entry"]["text"])
            case "Network.requestWillBeSent":
                self.asked.append(said["request"]["url"])


def program() -> str | None:
    """The browser of this machine, if it has one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """A headless Chromium that keeps everything in `folder` and cannot leave this machine."""
    found = program()
    assert found, "Chromium is missing: apt-get install chromium"
    command = [
        found,
        "--headless=new",
        "--no-sandbox",  # which needs privileges that a container lacks
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--remote-debugging-pipe",
        f"--user-data-dir={folder / 'profile'}",
    ]
    ask, asked = os.pipe()
    said, say = os.pipe()
    # The browser reads from descriptor 3 and writes to 4, and nothing else will do.
    descriptors = f'exec "$@" 3<&{ask} 4>&{say}'
    process = subprocess.Popen(
        ["bash", "-c", descriptors, "bash", *command],
        pass_fds=(ask, say),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(ask)
    os.close(say)
    watchdog = threading.Timer(3 * PATIENCE, process.kill)
    watchdog.start()
    page = None
    try:
        page = Page(process, asked, said)
        yield page
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        os.close(asked)
        if page:
            page._answer.close()  # noqa: SLF001
