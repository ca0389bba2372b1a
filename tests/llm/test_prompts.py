import re
import shutil
from importlib import resources
from pathlib import Path
from typing import get_args

import pytest
from langchain_core.messages import HumanMessage, SystemMessage

from agentrec.errors import InputError
from agentrec.llm.prompts.templates import PromptName, Prompts

VALUES: dict[PromptName, dict[str, str | int]] = {
    "recommend": {"history": "1. Alien", "candidates": "C01 | Heat", "hint": "", "count": 10},
    "same": {"first": "Prefer old films.", "second": "Avoid new films."},
    "repair": {"valid": 3, "illegal": 7, "count": 10},
    "critique": {"history": "1. Alien", "predictions": "1. Heat"},
    "diagnose": {"history": "h", "predictions": "p", "target": "t", "critique": "c"},
    "hints": {"history": "h", "predictions": "p", "target": "t", "diagnosis": "d", "count": 3},
    "factors": {"items": "1. Alien", "count": 8},
    "preference": {"history": "1. Alien", "factors": "period"},
    "question": {"history": "1. Alien", "candidates": "C01 | Heat"},
}
REPAIR = "Only $valid of them, $illegal wrong, $count please."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with resources.as_file(resources.files("agentrec.llm") / "prompts") as packaged:
        shutil.copytree(packaged, tmp_path / "own")
    return tmp_path / "own"


@pytest.mark.parametrize("name", get_args(PromptName))
def test_every_packaged_prompt_is_valid_and_renders_all_its_values(
    name: PromptName, folder: Path
) -> None:
    # The copy goes through the checks that the package's own files are spared.
    own = Prompts.load(folder)
    assert own == Prompts.load()
    marked = {key: f"value-of-{key}" for key in VALUES[name]}
    messages = own.render(name, marked)
    assert isinstance(messages[-1], HumanMessage)
    text = "\n".join(message.text for message in messages)
    assert all(value in text for value in marked.values())
    assert "$" not in text


def test_the_reflecting_prompts_have_a_system_part_and_repair_has_none() -> None:
    prompts = Prompts.load()
    for name, values in VALUES.items():
        kinds = [type(message) for message in prompts.render(name, values)]
        assert kinds == ([HumanMessage] if name == "repair" else [SystemMessage, HumanMessage])


def test_no_packaged_prompt_but_the_ones_that_may_shows_the_target() -> None:
    prompts = Prompts.load()
    shown = {name for name, text in prompts.texts.items() if "$target" in text}
    assert shown == {"diagnose", "hints"}


def test_some_files_of_ones_own_and_the_rest_from_the_package(tmp_path: Path) -> None:
    (tmp_path / "repair.md").write_text("Be brief.\n---\n" + REPAIR)
    prompts = Prompts.load(tmp_path)
    system, user = prompts.render("repair", VALUES["repair"])
    assert isinstance(system, SystemMessage)
    assert (system.text, user.text) == ("Be brief.", "Only 3 of them, 7 wrong, 10 please.")
    assert prompts.texts["recommend"] == Prompts.load().texts["recommend"]


@pytest.mark.parametrize(
    "start", ["---\n", "\n \n---\n", "\n---  \n", "\ufeff---\n", "\r\n---\r\n"]
)
def test_an_empty_system_part_is_no_message(tmp_path: Path, start: str) -> None:
    (tmp_path / "repair.md").write_bytes((start + REPAIR).encode())
    messages = Prompts.load(tmp_path).render("repair", VALUES["repair"])
    assert [message.text for message in messages] == ["Only 3 of them, 7 wrong, 10 please."]


def test_only_the_first_line_of_hyphens_parts() -> None:
    texts = dict(Prompts.load().texts)
    texts["repair"] = f"S\n---\n{REPAIR}\n---\n| a | --- |"
    system, user = Prompts(texts).render("repair", VALUES["repair"])
    assert system.text == "S"
    assert user.text.endswith("please.\n---\n| a | --- |")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        Prompts.load(tmp_path / "nowhere")
    assert caught.value.file == tmp_path / "nowhere"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("recomend.md", "did you mean recommend.md?"),
        ("Repair.md", "did you mean repair.md?"),
        ("hint.MD", "did you mean hints.md?"),
        ("critique.md.md", "did you mean critique.md?"),
        ("zebra.md", "known are recommend.md, repair.md"),
    ],
)
def test_a_file_that_would_be_passed_over_is_named(folder: Path, name: str, said: str) -> None:
    (folder / name).write_text("whatever")
    with pytest.raises(InputError) as caught:
        Prompts.load(folder)
    assert caught.value.file == folder / name
    assert said in str(caught.value)


def test_what_is_plainly_no_prompt_may_lie_there_too(folder: Path) -> None:
    for name in ("README.md", "notes.txt", ".#repair.md", "repair.md~", "repair.md.bak"):
        (folder / name).write_text("whatever")
    (folder / "old").mkdir()
    assert Prompts.load(folder) == Prompts.load()


@pytest.mark.parametrize(
    ("name", "sections"),
    [
        ("recommend", ["history", "candidates"]),
        ("critique", ["history", "predictions"]),
        ("preference", ["history", "factors"]),
        ("question", ["history", "candidates"]),
    ],
)
def test_tasks_and_sections_that_other_parts_rely_on(name: PromptName, sections: list[str]) -> None:
    text = Prompts.load().render(name, VALUES[name])[-1].text
    task = "rank" if name == "recommend" else name
    assert text.startswith(f"Task: {task}\n")
    assert re.findall(r"^<(\w+)>\n.+\n</\1>$", text, re.MULTILINE) == sections


@pytest.mark.parametrize(
    ("text", "field", "said"),
    [
        ("$valid and $illegal", "count", "lacks the placeholder $count"),
        (REPAIR + " $target", "target", "unknown placeholder $target; known are $count, $illegal"),
        (REPAIR + " ${Count}", "Count", "unknown placeholder $Count"),
    ],
)
def test_wrong_placeholders_name_file_and_field(
    tmp_path: Path, text: str, field: str, said: str
) -> None:
    file = tmp_path / "repair.md"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        Prompts.load(tmp_path)
    assert (caught.value.file, caught.value.field) == (file, field)
    assert said in str(caught.value)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("bare", ["5 $ each", "$5", "100$", "${count", "$é"])
def test_a_bare_dollar_is_refused_with_its_line(tmp_path: Path, bare: str) -> None:
    (tmp_path / "repair.md").write_text(f"First.\n---\n{bare}\n{REPAIR}", encoding="utf-8")
    with pytest.raises(InputError, match=r"write \$\$ for the sign") as caught:
        Prompts.load(tmp_path)
    assert caught.value.file == tmp_path / "repair.md"
    assert caught.value.line == 3


def test_two_dollars_are_one(tmp_path: Path) -> None:
    (tmp_path / "repair.md").write_text("5 $$ each. " + REPAIR)
    assert Prompts.load(tmp_path).render("repair", VALUES["repair"])[0].text.startswith("5 $ each.")


@pytest.mark.parametrize("name", get_args(PromptName))
def test_what_is_no_utf8_is_an_input_error(tmp_path: Path, name: PromptName) -> None:
    (tmp_path / f"{name}.md").write_bytes(b"caf\xe9 $valid")
    with pytest.raises(InputError, match="UTF-8") as caught:
        Prompts.load(tmp_path)
    assert caught.value.file == tmp_path / f"{name}.md"


def test_a_prompt_without_a_user_part_is_refused(tmp_path: Path) -> None:
    (tmp_path / "repair.md").write_text(REPAIR + "\n---\n  \n")
    with pytest.raises(InputError, match="no user part"):
        Prompts.load(tmp_path)


@pytest.mark.parametrize("hostile", ["$target", "${history}", "$$", "$", "\n---\n", "%s {count}"])
def test_a_value_is_never_looked_at_again(hostile: str) -> None:
    messages = Prompts.load().render(
        "diagnose",
        {"history": hostile, "predictions": hostile, "target": "SECRET", "critique": hostile},
    )
    assert len(messages) == 2
    assert messages[1].text.count("SECRET") == 1
    assert messages[1].text.count(hostile) >= 3


def test_the_hash_changes_with_any_file_and_only_then(folder: Path) -> None:
    hashes = {Prompts.load(folder).content_hash}
    assert hashes == {Prompts.load().content_hash}
    for name in get_args(PromptName):
        with (folder / f"{name}.md").open("a", encoding="utf-8") as file:
            file.write("!")
        hashes.add(Prompts.load(folder).content_hash)
    assert len(hashes) == 1 + len(get_args(PromptName))
