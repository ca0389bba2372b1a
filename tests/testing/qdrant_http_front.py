"""A small REST front over Qdrant's local mode, for tests where no server can be had.

It speaks the calls that the hint store makes through ``qdrant-client``, and no more. It is no
Qdrant server: that one does its own searching and storing.
"""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pydantic import TypeAdapter
from qdrant_client import QdrantClient, models


class QdrantHttpFront:
    """What a server would answer.

    Args:
        version: The version it says it is.
        api_key: The key it asks for; empty for none.
    """

    def __init__(self, version: str = "1.17.0", api_key: str = "") -> None:
        self.client = QdrantClient(":memory:")
        self.version = version
        self.api_key = api_key
        self.requests: list[str] = []
        self.url = ""
        self.lock = threading.Lock()

    def answer(self, method: str, path: list[str], body: Any) -> Any:
        """Answer a request, whose path is split at slashes."""
        client = self.client
        match method, path:
            case "GET", ["collections"]:
                return client.get_collections()
            case "GET", ["collections", name, "exists"]:
                return {"exists": client.collection_exists(name)}
            case "PUT", ["collections", name]:
                vectors = TypeAdapter(models.VectorParams).validate_python
                config = vectors(body["vectors"]) if body.get("vectors") else {}
                return client.create_collection(name, vectors_config=config)
            case "PUT", ["collections", name, "points"]:
                points = [models.PointStruct.model_validate(each) for each in body["points"]]
                mode = body.get("update_mode")
                mode = None if mode is None else models.UpdateMode(mode)
                return client.upsert(name, points, update_mode=mode)
            case "POST", ["collections", name, "points"]:
                return client.retrieve(
                    name,
                    body["ids"],
                    with_payload=body.get("with_payload", True),
                    with_vectors=body.get("with_vector", False),
                )
            case "POST", ["collections", name, "points", "delete"]:
                return client.delete(name, body["points"])
            case "POST", ["collections", name, "points", "query"]:
                return client.query_points(
                    name,
                    query=body["query"]["nearest"],
                    limit=body["limit"],
                    with_payload=body["with_payload"],
                    with_vectors=body["with_vector"],
                )
        raise LookupError(f"{method} {path}")


@contextmanager
def qdrant_http_front(**options: Any) -> Iterator[QdrantHttpFront]:
    """Serve the front on a free port of this computer."""
    front = QdrantHttpFront(**options)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = [part for part in self.path.partition("?")[0].split("/") if part]
            status, content = 200, {}
            if front.api_key and self.headers.get("api-key") != front.api_key:
                status, content = 401, {"status": {"error": f"key {self.headers.get('api-key')}"}}
            elif not path:
                content = {"title": "qdrant", "version": front.version}
            else:
                with front.lock, warnings.catch_warnings():
                    front.requests.append(f"{self.command} {self.path.partition('?')[0]}")
                    result = front.answer(self.command, path, json.loads(body or b"{}"))
                    result = TypeAdapter(Any).dump_python(result, mode="json")
                content = {"result": result, "status": "ok", "time": 0.0}
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def __getattr__(self, name: str) -> Any:
            if name in {"do_GET", "do_PUT", "do_POST"}:
                return self.handle_any
            raise AttributeError(name)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        front.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield front
        finally:
            server.shutdown()
            thread.join()
            front.client.close()
