"""Where bytes lie: what tensorstore must know of a local path or an object store's address, credentials, and what errors mean.

Credentials come from the usual places alone: ``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY``, a profile, or the machine's role;
for ``gs://`` Google's default credentials. Without any, public data can be read. ``AWS_ENDPOINT_URL`` names another S3 server.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Literal

import tensorstore as ts

from mitoscale.core.errors import InputError
from mitoscale.storage.addresses import is_remote, join
from mitoscale.storage.tensorstore_context import context

_SAID = 240
"""Most letters of a library's own message that are passed on."""


def kvstore(path: str) -> dict[str, Any]:
    """tensorstore's description of a folder."""
    if path.startswith(("http://", "https://")):
        return {"driver": "http", "base_url": f"{path}/"}
    if not is_remote(path):
        return {"driver": "file", "path": f"{path}/"}
    bucket, _, inside = path.partition("://")[2].partition("/")
    if path.startswith("gs://"):
        if _google_credentials():
            return {"driver": "gcs", "bucket": bucket, "path": f"{inside}/"}
        host = os.environ.get("TENSORSTORE_GCS_HTTP_URL", "https://storage.googleapis.com")
        return {"driver": "http", "base_url": f"{host}/{bucket}/{inside}/"}
    spec: dict[str, Any] = {"driver": "s3", "bucket": bucket, "path": f"{inside}/", "aws_credentials": {"type": _aws_credentials()}}
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return spec | ({"endpoint": endpoint} if endpoint else {}) | ({"aws_region": region} if region else {})


def read_json(folder: str, names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """The JSON files of these names that are in a folder; of an address all are asked for at once.

    Parameters
    ----------
    folder : str
        Folder or address.
    names : sequence of str
        Files that may be there.

    Raises
    ------
    InputError
        If one holds no JSON object, or the folder cannot be read.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, content in (_read_remote if is_remote(folder) else _read_local)(folder, names).items():
        try:
            found[name] = json.loads(content)
        except ValueError as error:
            raise InputError(f"cannot read {join(folder, name)}: {error}; restore it") from error
        if not isinstance(found[name], dict):
            raise InputError(f"cannot read {join(folder, name)}: it holds no JSON object; restore it")
    return found


_UNREACHED = re.compile("retry attempts failed|Could not (connect|resolve)|UNAVAILABLE|DEADLINE|ABORTED|RESOURCE_EXHAUSTED")
_DENIED = re.compile("PERMISSION_DENIED|UNAUTHENTICATED|AccessDenied|Forbidden")


def is_of_the_store(error: Exception) -> bool:
    """Whether the store itself failed, and not what is stored there.

    Examples
    --------
    >>> is_of_the_store(ValueError("UNAVAILABLE: ...")), is_of_the_store(ValueError("DATA_LOSS: checksum"))
    (True, False)
    """
    said = str(error)
    return "NoSuchBucket" in said or _DENIED.search(said) is not None or _UNREACHED.search(said) is not None


def explained(path: str, error: Exception, *, doing: Literal["read", "written"] = "read") -> InputError:
    """What went wrong with a store, in one line with its cure.

    Parameters
    ----------
    path : str
        What was to be read or written.
    error : Exception
        What tensorstore raised.
    doing : {"read", "written"}
        Which.
    """
    said = " ".join(str(error).split())
    if "NoSuchBucket" in said:
        return InputError(f"there is no bucket {_bucket(path)} ({path}); correct the address, or AWS_ENDPOINT_URL")
    if _DENIED.search(said):
        return InputError(f"{path} may not be {doing}: {_credentials_told(path)}")
    if _UNREACHED.search(said):
        return InputError(f"{path} cannot be reached ({_short(said)}); check address and network, then repeat the command")
    return InputError(f"cannot {'read' if doing == 'read' else 'write'} {path}: {_short(said)}")


def nothing_at(path: str, wanted: str) -> InputError:
    """The error where an address has none of the files that were looked for.

    Parameters
    ----------
    path : str
        The address.
    wanted : str
        What was looked for.
    """
    if path.startswith("s3://"):
        folder, _, name = path.rpartition("/")
        try:  # a bucket that is not there answers a read as if only the key were missing
            ts.KvStore.open(kvstore(folder if folder != "s3:/" else path), context=context()).result().list(
                ts.KvStore.KeyRange(f"{name}/zarr.json", f"{name}/zarr.json\0")
            ).result()
        except (ValueError, OSError) as error:
            if "NoSuchBucket" in str(error):
                return explained(path, error)
    return InputError(f"there is nothing to read at {path}: it has no {wanted}; give the address of the image or array itself")


def _read_local(folder: str, names: tuple[str, ...]) -> dict[str, bytes]:
    found = {}
    for name in names:
        try:
            found[name] = Path(folder, name).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            continue
        except OSError as error:
            raise InputError(f"cannot read {join(folder, name)}: {error.strerror}; correct its permissions") from error
    return found


def _read_remote(folder: str, names: tuple[str, ...]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    failed: Exception | None = None
    try:
        store = ts.KvStore.open(kvstore(folder), context=context()).result()
    except (ValueError, OSError) as error:
        raise explained(folder, error) from error
    for name, reading in [(name, store.read(name)) for name in names]:
        try:
            result = reading.result()
        except (ValueError, OSError) as error:
            failed = error
            continue
        if result.state == "value":
            found[name] = bytes(result.value)
    # stores that may not be listed answer 403 for what is not there: only where nothing is found does it count
    if failed is not None and not found:
        raise explained(folder, failed) from failed
    return found


def _aws_credentials() -> str:
    """Where tensorstore is to look; its own search through all places writes warnings for each that is empty."""
    if os.environ.get("AWS_ACCESS_KEY_ID"):
        return "environment"
    if os.environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") or os.environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        return "ecs"
    shared = Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")).expanduser()
    if os.environ.get("AWS_PROFILE") or shared.is_file():
        return "profile"
    if os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
        return "default"
    vendor = Path("/sys/class/dmi/id/sys_vendor")
    return "imds" if vendor.is_file() and "Amazon EC2" in vendor.read_text() else "anonymous"


def _google_credentials() -> bool:
    named = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    return bool(named) or Path("~/.config/gcloud/application_default_credentials.json").expanduser().is_file()


def _credentials_told(path: str) -> str:
    if path.startswith("s3://"):
        kind = _aws_credentials()
        if kind == "anonymous":
            return "there are no credentials; give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        return f"the credentials ({kind}) do not allow it; give others, or have the bucket opened to them"
    if path.startswith("gs://") and not _google_credentials():
        return "there are no credentials; run gcloud auth application-default login, or give GOOGLE_APPLICATION_CREDENTIALS"
    return "the server denies access; correct the address, or have it opened"


def _bucket(path: str) -> str:
    return path.partition("://")[2].partition("/")[0]


def _short(said: str) -> str:
    return said if len(said) <= _SAID else said[:_SAID] + " ..."
