"""yt-dlp in a process of its own that no redirect can lead to an address of this network.

    python -m audioreason.acquire.downloader [--allow-private] yt-dlp's arguments

Every name is looked up through one place, and what does not lead out of this network is refused there.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from typing import Any

_lookup = socket.getaddrinfo


def public_only(host: Any, port: Any, *options: Any, **named: Any) -> Any:
    """As `socket.getaddrinfo`, for addresses of the web alone.

    Raises:
        OSError: if one of the addresses is of this machine or its network.
    """
    found = _lookup(host, port, *options, **named)
    for *_, address in found:
        if not is_public(str(address[0])):
            raise OSError(f"{host} is an address of this network, which no dataset may ask for")
    return found


def is_public(address: str) -> bool:
    """Whether an IP address leads out of this machine and its network."""
    return ipaddress.ip_address(address.partition("%")[0]).is_global


def main(arguments: list[str]) -> None:
    """Run yt-dlp with these arguments; it ends the process."""
    import yt_dlp

    if arguments[:1] == ["--allow-private"]:
        arguments = arguments[1:]
    else:
        socket.getaddrinfo = public_only
    yt_dlp.main(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
