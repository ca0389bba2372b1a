"""Many connections at a time, without looking at all of them for each request.

A connection pool of httpx goes through every one of its connections when a request comes and again
when it is done, and closes all above a hundred that are idle. With 256 requests at a time that
takes more of the processor than all else that the client does.

To be imported where OpenAI's package is installed.
"""

from __future__ import annotations

import asyncio
import socket
import urllib.request
from collections.abc import Callable

import httpx2
from openai import DefaultAsyncHttpxClient

POOLS = 256
"""So that a pool has one connection, or a handful where there are very many."""


class SpreadTransport(httpx2.AsyncBaseTransport):
    """Gives each request to the one of several transports that has the fewest under way.

    A further one is made when all that there are have something under way. It can be used again
    after it was closed, and in one event loop after another: connections of a loop that is no more
    are left to themselves.

    Args:
        make: Makes a transport.
        count: How many there are at most, at least 1.
    """

    def __init__(self, make: Callable[[], httpx2.AsyncBaseTransport], count: int = POOLS) -> None:
        self._make = make
        self._count = count
        self._loop: asyncio.AbstractEventLoop | None = None
        self._transports: list[httpx2.AsyncBaseTransport] = []
        self._under_way: list[int] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; what is still to be read of the answer does not count as under way."""
        if self._loop is not (loop := asyncio.get_running_loop()):
            self._loop, self._transports, self._under_way = loop, [], []
        transports, under_way = self._transports, self._under_way
        if 0 not in under_way and len(transports) < self._count:
            transports.append(self._make())
            under_way.append(0)
        place = under_way.index(min(under_way))
        under_way[place] += 1
        try:
            return await transports[place].handle_async_request(request)
        finally:
            under_way[place] -= 1

    async def aclose(self) -> None:
        """Close all connections of this event loop; the next request opens new ones."""
        if self._loop is asyncio.get_running_loop():
            transports, self._loop = self._transports, None
            for transport in transports:
                await transport.aclose()


class SpreadClient(DefaultAsyncHttpxClient):
    """A client for OpenAI's package that spreads its requests over several pools.

    It sets no limit on connections: how many calls there are at a time is for the gateway. As with
    LangChain's own client, the system looks after idle ones, so that a dead one is noticed.
    """

    def __init__(self) -> None:
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
        # One for all: making it reads every certificate that is trusted.
        trusted = httpx2.create_ssl_context()
        self._spread = SpreadTransport(
            lambda: httpx2.AsyncHTTPTransport(
                verify=trusted,
                limits=limits,
                socket_options=[(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)],
            )
        )
        super().__init__(transport=self._spread)

    async def drop_connections(self) -> None:
        """Close the connections of this event loop, and no more: the client can be used again."""
        await self._spread.aclose()


def spread_client() -> SpreadClient | None:
    """A client that spreads its requests.

    Returns:
        The client; ``None`` where the default one is needed: it knows the proxies that the
        environment names, and an older package of OpenAI is built on another kind of client.
    """
    proxied = {"http", "https", "all"} & urllib.request.getproxies().keys()
    if proxied or not issubclass(DefaultAsyncHttpxClient, httpx2.AsyncClient):
        return None
    return SpreadClient()
