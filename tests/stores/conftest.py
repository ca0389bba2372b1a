"""Programs that are killed: forks of one process, which has imported what takes long."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

_FORKING = """
import json, os, sys, traceback
import agentrec.stores.hints.opening
import agentrec.session_encoding.embeddings, agentrec.testing.preference_sink_conformance

for line in sys.stdin:
    code, arguments = json.loads(line)
    child = os.fork()
    if child == 0:
        sys.argv = ["-c", *arguments]
        try:
            exec(code, {"__name__": "__main__"})
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="session")
def run_forked() -> Iterator[Callable[..., int]]:
    """Runs a program with arguments in a process of its own, and gives its exit status."""
    with subprocess.Popen(
        [sys.executable, "-c", _FORKING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def run(code: str, *arguments: object) -> int:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps([code, [str(one) for one in arguments]]) + "\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield run
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == 0
