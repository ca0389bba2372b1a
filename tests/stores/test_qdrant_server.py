"""A server that is not there, or that refuses: one line, and never the key."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from agentrec.errors import StoreError
from agentrec.stores.qdrant import QdrantHintStore
from agentrec.stores.qdrant_connection import API_KEY_VARIABLE

KEY = "k3y-that-nobody-may-see"


class Refusing(BaseHTTPRequestHandler):
    """Answers with the key it was given, as a careless server would."""

    keys: list[str]

    def do_GET(self) -> None:
        key = self.headers.get("api-key", "none")
        type(self).keys.append(key)
        body = f'{{"status": {{"error": "invalid key {key}"}}}}'.encode()
        self.send_response(401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


@pytest.fixture
def refusing() -> Iterator[str]:
    Refusing.keys = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
async def test_a_refusal_does_not_show_the_key(
    refusing: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(API_KEY_VARIABLE, KEY)
    caplog.set_level("DEBUG")
    with pytest.raises(StoreError, match="API key") as caught:
        await QdrantHintStore.open_server(f"http://{refusing}", 2)
    assert set(Refusing.keys) == {KEY}
    message = str(caught.value)
    assert f"http://{refusing}" in message
    assert "401" in message
    assert "\n" not in message
    assert caught.value.__cause__ is None
    assert KEY not in message + caplog.text


async def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(API_KEY_VARIABLE, raising=False)
    with pytest.raises(StoreError, match=r"http://127.0.0.1:9: .*is a Qdrant server there") as e:
        await QdrantHintStore.open_server("http://user:secret@127.0.0.1:9", 2)
    assert "secret" not in str(e.value)
