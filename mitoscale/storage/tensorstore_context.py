"""tensorstore's threads, caches and retries, one set a process."""

from __future__ import annotations

import os
from functools import cache

import tensorstore as ts

_FILE_THREADS = 4
_REMOTE_THREADS = 16
_RETRIES = {"max_retries": 6, "initial_delay": "200ms", "max_delay": "8s"}
"""About 20 seconds in all: long enough for a store that asks to slow down, short enough for an address that is wrong."""


@cache
def context() -> ts.Context:
    """Small thread pools, because many workers share a machine; nothing is cached."""
    threads = max(1, int(os.environ.get("MITOSCALE_THREADS", "1")))
    return ts.Context(
        {
            "data_copy_concurrency": {"limit": threads},
            "file_io_concurrency": {"limit": _FILE_THREADS},
            "s3_request_concurrency": {"limit": _REMOTE_THREADS},
            "gcs_request_concurrency": {"limit": _REMOTE_THREADS},
            "http_request_concurrency": {"limit": _REMOTE_THREADS},
            "s3_request_retries": _RETRIES,
            "gcs_request_retries": _RETRIES,
            "http_request_retries": _RETRIES,
            "cache_pool": {"total_bytes_limit": 0},
        }
    )
