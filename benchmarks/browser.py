"""A picture of a web page that goes on changing, taken in headless Chromium once the page shows what it should.

Chromium's own ``--screenshot`` takes the picture when the page has loaded, before a Bokeh page has drawn anything; so
the browser is driven over its debugging protocol.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tornado.websocket import WebSocketClientConnection, websocket_connect

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)

WEBGL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")
"""In place of ``--disable-gpu``: WebGL computed on the CPU."""


def chromium() -> str | None:
    """Path of the browser; None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def picture(
    link: str,
    size: tuple[int, int],
    *,
    shows: str,
    settle: float = 2.0,
    seconds: float = 120.0,
    webgl: bool = False,
    errors: list[str] | None = None,
) -> bytes:
    """A PNG of a page.

    Parameters
    ----------
    link : str
        The page.
    size : (width, height)
        Of the page's view, in pixels.
    shows : str
        JavaScript that is true once the page shows what it should.
    settle : float
        Seconds to wait then, for what is still being drawn.
    seconds : float
        How long to wait for it at most.
    webgl : bool
        The page draws with WebGL.
    errors : list of str, optional
        Gets what the page complains of: uncaught exceptions, errors in the console, answers that failed.

    Raises
    ------
    TimeoutError
        If the page never shows it.
    """
    with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as profile, _browser(profile, webgl) as port:
        return asyncio.run(_picture(port, link, size, shows, settle, time.monotonic() + seconds, [] if errors is None else errors))


@contextmanager
def _browser(profile: str, webgl: bool) -> Iterator[int]:
    """Start the browser, and end it; yields the port on which it is driven."""
    program = chromium()
    if program is None:
        raise SystemExit("no chromium here: install it (Debian: apt-get install chromium)")
    flags = [flag for flag in FLAGS if flag != "--disable-gpu"] + list(WEBGL) if webgl else list(FLAGS)
    command = [program, *flags, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        note = Path(profile, "DevToolsActivePort")
        for _ in range(600):
            if note.exists() and "\n" in note.read_text():
                break
            time.sleep(0.1)
        yield int(note.read_text().splitlines()[0])
    finally:
        process.terminate()
        process.wait(timeout=30)


async def _picture(
    port: int, link: str, size: tuple[int, int], shows: str, settle: float, deadline: float, errors: list[str]
) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=30) as answer:
        tab = next(t for t in json.load(answer) if t["type"] == "page")
    connection = await websocket_connect(tab["webSocketDebuggerUrl"], max_message_size=2**28)
    numbers = itertools.count(1)

    async def do(method: str, **parameters: Any) -> dict[str, Any]:
        return await _do(connection, next(numbers), method, parameters, errors)

    await do("Runtime.enable")
    await do("Log.enable")
    await do("Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1, mobile=False)
    await do("Page.navigate", url=link)
    while not (await do("Runtime.evaluate", expression=f"Boolean({shows})"))["result"].get("value"):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{link} never shows {shows}")
        await asyncio.sleep(0.2)
    await asyncio.sleep(settle)
    return base64.b64decode((await do("Page.captureScreenshot", format="png"))["data"])


def _complaint(told: dict[str, Any]) -> str:
    """What the page complains of, if that is what the browser tells."""
    what, method = told.get("params", {}), told.get("method")
    if method == "Runtime.exceptionThrown":
        return json.dumps(what["exceptionDetails"])
    if method == "Runtime.consoleAPICalled" and what["type"] in ("error", "assert"):
        return json.dumps(what["args"])
    return what["entry"]["text"] if method == "Log.entryAdded" and what["entry"]["level"] == "error" else ""


async def _do(
    connection: WebSocketClientConnection, number: int, method: str, parameters: dict[str, Any], errors: list[str]
) -> dict[str, Any]:
    """Send a command and wait for its answer; of what the browser tells in between, complaints are kept."""
    await connection.write_message(json.dumps({"id": number, "method": method, "params": parameters}))
    while True:
        message = await connection.read_message()
        if message is None:
            raise ConnectionError("the browser has closed the connection")
        answer = json.loads(message)
        if complaint := _complaint(answer):
            errors.append(complaint)
        if answer.get("id") == number:
            if "error" in answer:
                raise RuntimeError(f"{method}: {answer['error']}")
            result: dict[str, Any] = answer["result"]
            return result
