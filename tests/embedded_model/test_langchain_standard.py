"""LangChain's standard tests of chat models, the integration tests too: the model is local.

What it cannot do is listed by test and reason; nothing else may be skipped.
"""

from __future__ import annotations

from typing import Any

import pytest
from embedded_model.conftest import skip_fault
from embedded_model.planted import Planted
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from agentrec.embedded_model.chat_model import CatalogChatModel

TOOLS = "it calls no tools: it writes rankings and short texts"
IMAGES, PDF, AUDIO = "it reads no images", "it reads no files", "it hears nothing"
ONE_MODEL = "an instance is one trained model, which no call can exchange"
NETWORK = "it makes no requests that could be recorded"

SKIPPED = {
    "test_agent_loop": TOOLS,
    "test_anthropic_inputs": "it reads no content blocks of one provider",
    "test_audio_inputs": AUDIO,
    "test_ainvoke_with_model_override": ONE_MODEL,
    "test_astream_with_model_override": ONE_MODEL,
    "test_bind_runnables_as_tools": TOOLS,
    "test_image_inputs": IMAGES,
    "test_image_tool_message": IMAGES,
    "test_init_from_env": "it takes nothing from the environment: it needs no key",
    "test_invoke_with_model_override": ONE_MODEL,
    "test_json_mode": TOOLS,
    "test_pdf_inputs": PDF,
    "test_pdf_tool_message": PDF,
    "test_serdes": "it is saved as a folder, not as a serialised object",
    "test_stream_time": NETWORK,
    "test_stream_with_model_override": ONE_MODEL,
    "test_structured_few_shot_examples": TOOLS,
    "test_structured_output": TOOLS,
    "test_structured_output_async": TOOLS,
    "test_structured_output_optional_param": TOOLS,
    "test_structured_output_pydantic_2_v1": TOOLS,
    "test_tool_calling": TOOLS,
    "test_tool_calling_async": TOOLS,
    "test_tool_calling_with_no_arguments": TOOLS,
    "test_tool_choice": TOOLS,
    "test_tool_message_error_status": TOOLS,
    "test_tool_message_histories_list_content": TOOLS,
    "test_tool_message_histories_string_content": TOOLS,
    "test_unicode_tool_call_integration": TOOLS,
}


UNTESTED = {"test_bind_tool_pydantic", "test_with_structured_output"}
"""Standard tests that return at once where tools are not supported."""


class Standard:
    """The model under test, for both suites.

    What the suites take from the class itself, such as whether it binds tools, is left to them.
    """

    @pytest.fixture(autouse=True)
    def _untrained(self, films: Planted) -> None:
        self.catalog_model = films.untrained()

    @pytest.fixture
    def benchmark(self, benchmark: Any) -> Any:
        """That a model can be made is tested; measuring it is no part of these tests."""
        benchmark.disabled = True
        return benchmark

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return CatalogChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"catalog_model": self.catalog_model}


class TestUnit(Standard, ChatModelUnitTests):
    pass


class TestIntegration(Standard, ChatModelIntegrationTests):
    pass


def test_listed_skips_are_standard_tests() -> None:
    """That exactly these are skipped is checked test by test: see `conftest.py`."""
    standard = {*dir(ChatModelUnitTests), *dir(ChatModelIntegrationTests)}
    assert set(SKIPPED) | UNTESTED <= standard
    assert not set(SKIPPED) & UNTESTED
    assert all(SKIPPED.values())


def test_an_unlisted_skip_is_found() -> None:
    assert skip_fault("test_pdf_inputs", skipped=True, listed=SKIPPED) is None
    assert skip_fault("test_invoke", skipped=False, listed=SKIPPED) is None
    assert skip_fault("test_invoke", skipped=True, listed=SKIPPED)
    assert skip_fault("test_pdf_inputs", skipped=False, listed=SKIPPED)


def test_tools_are_refused_and_not_ignored(films: Planted) -> None:
    model = CatalogChatModel(catalog_model=films.untrained())
    with pytest.raises(NotImplementedError):
        model.bind_tools([])
    with pytest.raises(NotImplementedError):
        model.with_structured_output({"title": "x", "type": "object", "properties": {}})
