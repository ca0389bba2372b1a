"""Many connections at a time, without looking at all of them for each request.

A connection pool of httpx goes through every one of its connections when a request comes and again
when it is done, and closes all above a hundred that are idle. With 256 requests at a time that
takes more of the processor than all else that the client does.

To be imported where OpenAI's package is installed.
"""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Sequence

import httpx2
from openai import DefaultAsyncHttpxClient

POOLS = 32
"""So that a pool has a handful of connections where there are hundreds in all."""


class SpreadTransport(httpx2.AsyncBaseTransport):
    """Gives each request to the one of several transports that has the fewest under way.

    Args:
        transports: The transports, at least one; they are closed with this one.
    """

    def __init__(self, transports: Sequence[httpx2.AsyncBaseTransport]) -> None:
        self._transports = tuple(transports)
        self._under_way = [0] * len(transports)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; what is still to be read of the answer does not count as under way."""
        place = self._under_way.index(min(self._under_way))
        self._under_way[place] += 1
        try:
            return await self._transports[place].handle_async_request(request)
        finally:
            self._under_way[place] -= 1

    async def aclose(self) -> None:
        """Close all connections."""
        for transport in self._transports:
            await transport.aclose()


def spread_client() -> httpx2.AsyncClient | None:
    """A client for OpenAI's package that spreads its requests over several pools.

    It sets no limit on connections: how many calls there are at a time is for the gateway. As with
    LangChain's own client, the system looks after idle ones, so that a dead one is noticed.

    Returns:
        The client; ``None`` where the default one is needed: it knows the proxies that the
        environment names, and an older package of OpenAI is built on another kind of client.
    """
    proxied = {"http", "https", "all"} & urllib.request.getproxies().keys()
    if proxied or not issubclass(DefaultAsyncHttpxClient, httpx2.AsyncClient):
        return None
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    # One for all: making it reads every certificate that is trusted.
    trusted = httpx2.create_ssl_context()
    transports = [
        httpx2.AsyncHTTPTransport(
            verify=trusted,
            limits=limits,
            socket_options=[(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)],
        )
        for _ in range(POOLS)
    ]
    return DefaultAsyncHttpxClient(transport=SpreadTransport(transports))
