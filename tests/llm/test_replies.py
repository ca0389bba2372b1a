from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from agentrec.llm.gateway.replies import read_reply


def test_an_answer_and_what_it_took() -> None:
    usage: Any = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
    reply = read_reply(AIMessage("fine \ud83d", usage_metadata=usage))
    assert (reply.text, reply.input_tokens, reply.output_tokens) == ("fine ?", 3, 2)
    assert reply.reported
    assert reply.problem is None


def test_a_model_that_does_not_count() -> None:
    for message in (AIMessage("fine"), HumanMessage("odd")):
        reply = read_reply(message)
        assert (reply.reported, reply.input_tokens, reply.problem) == (False, 0, None)


@pytest.mark.parametrize(
    ("text", "metadata", "extra", "kind"),
    [
        ("", {}, {}, "malformed"),
        (" \n", {"finish_reason": "stop"}, {}, "malformed"),
        ("", {"finish_reason": "length"}, {}, "malformed"),
        ("half an ans", {"finish_reason": "length"}, {}, None),
        ("half an ans", {"finish_reason": "content_filter"}, {}, "refused"),
        ("", {"stop_reason": "refusal"}, {}, "refused"),
        ("", {"stopReason": "guardrail_intervened"}, {}, "refused"),
        ("", {"finish_reason": "FinishReason.SAFETY"}, {}, "refused"),
        ("", {}, {"refusal": "I cannot help with that."}, "refused"),
        ("fine", {}, {"refusal": None}, None),
    ],
)
def test_what_is_no_answer(
    text: str, metadata: dict[str, Any], extra: dict[str, Any], kind: str | None
) -> None:
    message = AIMessage(text, response_metadata=metadata, additional_kwargs=extra)
    problem = read_reply(message).problem
    assert (None if problem is None else problem.kind) == kind


def test_a_tool_call_is_the_structured_answer_whatever_stands_beside_it() -> None:
    call: Any = {"name": "R", "args": {"a": ["é"]}, "id": "1"}
    message = AIMessage("Let me see.", tool_calls=[call])
    assert read_reply(message, structured=True).text == '{"a": ["é"]}'
    assert read_reply(message).text == "Let me see."
    broken: Any = {"name": "R", "args": '{"a": [', "id": "1", "error": None}
    assert read_reply(AIMessage("", invalid_tool_calls=[broken]), structured=True).text == '{"a": ['
    assert read_reply(AIMessage("plain"), structured=True).text == "plain"
