"""An S3 server on loopback (moto) that fails as real ones do: it asks to slow down, breaks, and loses answers to what it has done.

With no faults asked for it is an ordinary server.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

NOT_IMPLEMENTED = ("501 Not Implemented", "NotImplemented", "A header you provided implies functionality that is not implemented.")
DENIED = ("403 Forbidden", "AccessDenied", "Access Denied")
SLOW_DOWN = ("503 Slow Down", "SlowDown", "Please reduce your request rate.")
BROKEN = ("500 Internal Server Error", "InternalError", "We encountered an internal error. Please try again.")

_ANSWERS = {"slow down": SLOW_DOWN, "broken": BROKEN, "denied": DENIED}

ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "never-written-down", "AWS_DEFAULT_REGION": "us-east-1"}
"""Credentials that the server takes, as all are."""


class S3Server:
    """The server; its address is in ``environment``, for clients.

    Parameters
    ----------
    seed : int
        Of which requests fail.
    """

    def __init__(self, seed: int = 0) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.rates: dict[str, float] = {}
        """How often a request ends otherwise, by fault: ``slow down``, ``broken``, ``denied``, ``answer lost``, ``late``."""
        self.conditions = True
        """Whether it knows conditional writes."""
        self.next: list[str] = []
        """Faults of the next requests, whatever the rates say."""
        self.counts: Counter[str] = Counter()
        """Requests by method, and faults by name."""
        self._draw, self._lock = random.Random(seed), threading.Lock()
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.environment = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._server.server_port}", **ENVIRONMENT}

    def client(self) -> Any:
        """A client of boto3."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id=ENVIRONMENT["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
            region_name=ENVIRONMENT["AWS_DEFAULT_REGION"],
        )

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if not self.conditions and request["REQUEST_METHOD"] == "PUT" and {"HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH"} & request.keys():
            request["wsgi.input"].read(int(request.get("CONTENT_LENGTH") or 0))
            return _failure(NOT_IMPLEMENTED, start)
        fault = self._fault()
        with self._lock:
            self.counts[request["REQUEST_METHOD"]] += 1
            self.counts[fault] += bool(fault)
        if fault == "late":
            time.sleep(0.3)
        if fault in _ANSWERS:
            request["wsgi.input"].read(int(request.get("CONTENT_LENGTH") or 0))
            return _failure(_ANSWERS[fault], start)
        if fault == "answer lost":
            list(self._moto(request, lambda *_: lambda _: None))
            return _failure(BROKEN, start)
        answer: Iterable[bytes] = self._moto(request, start)
        return answer

    def _fault(self) -> str:
        with self._lock:
            if self.next:
                return self.next.pop(0)
            drawn = self._draw.random()
        for name, rate in self.rates.items():
            if drawn < rate:
                return name
            drawn -= rate
        return ""


def _failure(kind: tuple[str, str, str], start: Callable[..., Any]) -> list[bytes]:
    status, code, text = kind
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{text}</Message></Error>".encode()
    start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]


@contextmanager
def serving(bucket: str, seed: int = 0) -> Iterator[S3Server]:
    """A server with an empty bucket.

    Parameters
    ----------
    bucket : str
        Its name.
    seed : int
        Of which requests fail.
    """
    server = S3Server(seed)
    try:
        server.client().create_bucket(Bucket=bucket)
        yield server
    finally:
        server.stop()
