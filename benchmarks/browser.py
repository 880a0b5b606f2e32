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


def chromium() -> str | None:
    """Path of the browser; None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def picture(link: str, size: tuple[int, int], *, shows: str, settle: float = 2.0, seconds: float = 120.0) -> bytes:
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

    Raises
    ------
    TimeoutError
        If the page never shows it.
    """
    with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as profile, _browser(profile) as port:
        return asyncio.run(_picture(port, link, size, shows, settle, time.monotonic() + seconds))


@contextmanager
def _browser(profile: str) -> Iterator[int]:
    """Start the browser, and end it; yields the port on which it is driven."""
    program = chromium()
    if program is None:
        raise SystemExit("no chromium here: install it (Debian: apt-get install chromium)")
    command = [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
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


async def _picture(port: int, link: str, size: tuple[int, int], shows: str, settle: float, deadline: float) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=30) as answer:
        tab = next(t for t in json.load(answer) if t["type"] == "page")
    connection = await websocket_connect(tab["webSocketDebuggerUrl"], max_message_size=2**28)
    numbers = itertools.count(1)

    async def do(method: str, **parameters: Any) -> dict[str, Any]:
        return await _do(connection, next(numbers), method, parameters)

    await do("Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1, mobile=False)
    await do("Page.navigate", url=link)
    while not (await do("Runtime.evaluate", expression=f"Boolean({shows})"))["result"].get("value"):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{link} never shows {shows}")
        await asyncio.sleep(0.2)
    await asyncio.sleep(settle)
    return base64.b64decode((await do("Page.captureScreenshot", format="png"))["data"])


async def _do(connection: WebSocketClientConnection, number: int, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Send a command and wait for its answer; what the browser tells in between is passed over."""
    await connection.write_message(json.dumps({"id": number, "method": method, "params": parameters}))
    while True:
        message = await connection.read_message()
        if message is None:
            raise ConnectionError("the browser has closed the connection")
        answer = json.loads(message)
        if answer.get("id") == number:
            if "error" in answer:
                raise RuntimeError(f"{method}: {answer['error']}")
            result: dict[str, Any] = answer["result"]
            return result
