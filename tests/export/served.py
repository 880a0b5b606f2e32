"""A folder served to a browser as any object store does it: with ranges, and to pages of other hosts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Ranges(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        content = path.read_bytes() if path.is_file() else None
        if content is None:
            self.server.lacking.append(self.path)  # type: ignore[attr-defined]
            self._answer(404, b"")
            return
        asked = self.headers.get("Range", "")
        if asked.startswith("bytes="):
            first, _, last = asked[6:].partition("-")
            low = int(first) if first else max(0, len(content) - int(last))
            high = min(int(last) + 1 if first and last else len(content), len(content))
            self._answer(206, content[low:high], {"Content-Range": f"bytes {low}-{high - 1}/{len(content)}"})
        else:
            self._answer(200, content)

    def do_OPTIONS(self) -> None:
        self._answer(200, b"")

    def _answer(self, code: int, content: bytes, more: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*", **(more or {})}.items():
            self.send_header(name, value)
        self.send_header("Access-Control-Expose-Headers", "*")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Its address, and what was asked for in vain."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Ranges, directory=str(folder)))
    lacking: list[str] = []
    server.lacking = lacking  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", lacking
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
