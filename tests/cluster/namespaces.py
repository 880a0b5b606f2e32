"""Machines for tests: network namespaces with an address of their own, joined by a bridge, whose links can be cut."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

_NETS = "10.213"
"""Machines take a /24 of these that no interface of this host has."""


def why_not() -> str:
    """Why there can be no namespaces here; empty where there can."""
    if shutil.which("ip") is None:
        return "the command ip is missing (apt-get install iproute2)"
    if os.geteuid() != 0:
        return "making network namespaces needs root"
    name = f"mito-probe-{os.getpid()}"
    done = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if done.returncode:
        return f"network namespaces cannot be made ({done.stderr.strip()})"
    _ip("netns", "del", name)
    return ""


@dataclass(frozen=True)
class Machine:
    """A namespace."""

    name: str
    """Of the namespace."""
    address: str
    """Its IPv4 address."""
    link: str
    """Our end of its cable."""

    @property
    def inside(self) -> list[str]:
        """Command that runs another one there."""
        return ["ip", "netns", "exec", self.name]

    def cut(self) -> None:
        """Pull the cable: nothing is refused or reset, it is silent."""
        _ip("link", "set", self.link, "down")


@contextmanager
def machines(count: int) -> Iterator[list[Machine]]:
    """``count`` machines on one network, which this process is on too."""
    mark = f"{os.getpid() % 100_000}"
    bridge, net = f"mb{mark}", _free_net()
    with ExitStack() as stack:
        _ip("link", "add", bridge, "type", "bridge")
        stack.callback(_ip, "link", "del", bridge)
        _ip("addr", "add", f"{net}.254/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        made = []
        for number in range(1, count + 1):
            machine = Machine(name=f"mito-{mark}-{number}", address=f"{net}.{number}", link=f"mv{mark}-{number}")
            _ip("netns", "add", machine.name)
            stack.callback(_ip, "netns", "del", machine.name)
            _ip("link", "add", machine.link, "type", "veth", "peer", "name", "eth0", "netns", machine.name)
            stack.callback(_gone, machine.link)
            _ip("link", "set", machine.link, "master", bridge, "up")
            for command in (f"addr add {machine.address}/24 dev eth0", "link set eth0 up", "link set lo up"):
                _ip("-n", machine.name, *command.split())
            made.append(machine)
        yield made


def _free_net() -> str:
    """A network that nothing here is on: another test's machines, or those that a killed test left behind, have theirs."""
    taken = subprocess.run(["ip", "-o", "-4", "addr"], check=True, capture_output=True, text=True).stdout
    start = os.getpid() % 256
    nets = (f"{_NETS}.{(start + step) % 256}" for step in range(256))
    return next(net for net in nets if f" {net}." not in taken)


def _gone(link: str) -> None:
    """Remove a cable, which may have gone with its machine."""
    with suppress(subprocess.CalledProcessError):
        _ip("link", "del", link)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
