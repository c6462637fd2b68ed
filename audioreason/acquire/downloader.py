"""yt-dlp in a process of its own that no redirect can lead to an address of this network.

    python -m audioreason.acquire.downloader [--allow-private] yt-dlp's arguments

Every name is looked up through one place, and what does not lead out of this network is refused there.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from typing import Any

_ENDS_IN_IPV4 = tuple(map(ipaddress.IPv6Network, ("::/96", "::ffff:0:0:0/96", "64:ff9b::/96")))
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")  # RFC 8215

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
    """Whether an IP address leads out of this machine and its network; an IPv4 address inside counts too."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = _inner_address(found)
        local = found.is_site_local or found in _LOCAL_NAT64
        return _leads_out(found) and not local and (inner is None or _leads_out(inner))
    return _leads_out(found)


def _leads_out(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address.is_global and not address.is_multicast


def _inner_address(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address leads to: mapped or compatible (RFC 4291), translated (RFC 2765),
    NAT64 (RFC 6052), 6to4 (RFC 3056) or Teredo (RFC 4380); None if it is of none of these."""
    last = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    if any(address in network for network in _ENDS_IN_IPV4):
        return last
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)


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
