"""A model for tests whose answers follow from what it is asked, however the prompts are put."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from langchain_core.messages import BaseMessage

from agentrec.catalog import Catalog, Item
from agentrec.components import Components
from agentrec.llm.gateway.gateway import ModelGateway
from agentrec.llm.gateway.retry_policy import RetryPolicy
from agentrec.llm.prompts.templates import Prompts
from agentrec.policies.hint_policies.untrained import NoHintPolicy
from agentrec.session_encoding.embeddings import HashedWordEmbeddings
from agentrec.sessions import Session
from agentrec.stores.hints.logged_store import InMemoryHintStore
from agentrec.testing.scripted_chat_model import ScriptedChatModel

DIMENSION = 64
WRONG = "wrong"
"""A place for the target that is in no list."""

TITLES = (
    "Toy Story",
    "Heat",
    "Heathers",
    "Amélie",
    "Postman, The",
    "Usual Suspects, The",
    "Alien",
    "Brazil",
    "Casablanca",
    "Dune",
    "Fargo",
    "Gattaca",
    "Hamlet",
    "Hamlet",
    "Ikiru",
    "Jaws",
    "Kundun",
    "Leon",
    "Metropolis",
    "Network",
    "Oliver",
    "Persona",
    "Quiz Show",
    "Rashomon",
    "Se7en",
    "Titanic",
)

_BLOCK = re.compile(r"^<(\w+)>\n(.*?)\n</\1>$", re.MULTILINE | re.DOTALL)
_CANDIDATE = re.compile(r"^(C\d+) \| (.+)$", re.MULTILINE)

Place = Callable[[str | None, str], int | str]
"""Where a hint (or none) puts the target of the session whose last item has a label: 1, 2, ...
or ``WRONG``."""


def task_of(messages: Sequence[BaseMessage]) -> str:
    """The task that a conversation is for; ``repair`` where it ends in such a request."""
    if messages[-1].text.startswith("Your answer could not be used"):
        return "repair"
    found = re.search(r"^Task: (\w+)$", messages[-1].text, re.MULTILINE)
    assert found is not None
    return found[1]


def blocks_of(messages: Sequence[BaseMessage]) -> Mapping[str, str]:
    """The data blocks of the last message, by tag."""
    return dict(_BLOCK.findall(messages[-1].text))


def last_item(messages: Sequence[BaseMessage]) -> str:
    return blocks_of(messages)["history"].splitlines()[-1].split(". ", 1)[1]


def candidates_of(messages: Sequence[BaseMessage]) -> list[tuple[str, str]]:
    """Handles and labels as shown."""
    return _CANDIDATE.findall(blocks_of(messages)["candidates"])


def ranking_with(messages: Sequence[BaseMessage], target: str, place: int | str) -> str:
    """A clean answer with the target at a place, the others as they were shown."""
    lines = [f"{handle} | {label}" for handle, label in candidates_of(messages)]
    (own,) = [line for line in lines if line.endswith(f"| {target}")]
    others = [line for line in lines if line != own]
    count = min(10, len(lines))
    if isinstance(place, int):
        others.insert(place - 1, own)
    return "\n".join(f"{n}. {line}" for n, line in enumerate(others[:count], start=1))


def world(
    place: Place,
    targets: Mapping[str, str],
    hints: Sequence[str] = ("Prefer old films.",),
) -> Callable[[Sequence[BaseMessage]], str]:
    """Answers to every task.

    Args:
        place: Where the target goes.
        targets: The target's label by the label of a session's last item.
        hints: What is proposed.
    """

    def answer(messages: Sequence[BaseMessage]) -> str:
        task = task_of(messages)
        if task == "rank":
            last = last_item(messages)
            hint = blocks_of(messages).get("hint")
            return ranking_with(messages, targets[last], place(hint, last))
        if task == "hints":
            return "\n".join(f"{n}. {text}" for n, text in enumerate(hints, start=1))
        return f"A {task} of {last_item(messages)}."

    return answer


def make_catalog() -> Catalog:
    return Catalog(
        Item(item_id=f"i{n}", title=title, attributes={"year": 1970 + n})
        for n, title in enumerate(TITLES)
    )


def make_session(number: int, session_id: str | None = None) -> Session:
    """Session whose last item is ``TITLES[number]`` and whose target is the one after it."""
    ids = [f"i{n}" for n in range(len(TITLES))]
    target = ids[(number + 1) % len(ids)]
    last = ids[number % len(ids)]
    candidates = [i for i in ids if i != last][:24]
    if target not in candidates:
        candidates[0] = target
    return Session(
        session_id=session_id or f"s{number}",
        items=(ids[(number + 5) % len(ids)], last),
        target=target,
        candidates=tuple(candidates),
    )


def targets_of(sessions: Sequence[Session], catalog: Catalog) -> dict[str, str]:
    labels = catalog.labels
    return {labels[s.items[-1]]: labels[s.target or ""] for s in sessions}


class TitleEncoder:
    """Session vectors from the titles alone."""

    def __init__(self, catalog: Catalog) -> None:
        self._embeddings = HashedWordEmbeddings(DIMENSION)
        self._catalog = catalog

    def state(self, session: Session) -> npt.NDArray[np.float32]:
        return self.query(session)

    def query(self, session: Session) -> npt.NDArray[np.float32]:
        text = " ".join(self._catalog[item_id].title for item_id in session.items)
        return np.array(self._embeddings.embed_query(text), dtype=np.float32)

    def states(self, sessions: Sequence[Session]) -> npt.NDArray[np.float32]:
        return self.queries(sessions)

    def queries(self, sessions: Sequence[Session]) -> npt.NDArray[np.float32]:
        rows = [self.query(session) for session in sessions]
        return np.array(rows, dtype=np.float32).reshape(-1, DIMENSION)


def make_components(model: ScriptedChatModel, **changes: object) -> Components:
    catalog = make_catalog()
    parts: dict[str, object] = {
        "catalog": catalog,
        # A failure in a script is one: nothing is asked twice behind a test's back.
        "model": ModelGateway(model, "scripted", retries=RetryPolicy(max_attempts=1)),
        "prompts": Prompts.load(),
        "embeddings": HashedWordEmbeddings(DIMENSION),
        "encoder": TitleEncoder(catalog),
        "hint_store": InMemoryHintStore(DIMENSION),
        "hint_policy": NoHintPolicy(),
        **changes,
    }
    return Components(**parts)  # type: ignore[arg-type]


def prompts_of(model: ScriptedChatModel, task: str) -> list[str]:
    """The whole text of every call made for a task."""
    return [
        "\n".join(message.text for message in messages)
        for messages in model.calls
        if task_of(messages) == task
    ]
