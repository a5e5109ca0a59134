"""What each phase asks: the files beside the code, and how they are filled in."""

import re

import pytest

from agentd.agent.message import Purpose
from agentd.protocol.lifecycle.forms import PHASES, fill, form, places, unknown_places
from agentd.tools.schema import check_schema, compile_arguments


@pytest.mark.parametrize("purpose", PHASES)
def test_the_prompts_name_what_they_are_given(purpose: Purpose) -> None:
    prompt = form(purpose).prompt
    assert unknown_places(purpose, prompt) == []
    assert "goal" in re.findall(r"\{\{(\w+)\}\}", prompt)
    assert unknown_places(purpose, "{{goal}} {{weather}}") == ["weather"]


@pytest.mark.parametrize("purpose", PHASES)
def test_the_prompts_and_schemas_belong_together(purpose: Purpose) -> None:
    submission = form(purpose).submission
    if purpose is Purpose.EXECUTION:
        assert submission is None
        return
    assert submission is not None
    assert f"`{submission.id}`" in form(purpose).prompt
    check_schema(submission.input_schema_json, "schema", of_object=True)
    assert compile_arguments(submission).check("{}") is not None


def test_an_empty_section_is_left_out_with_its_heading() -> None:
    prompt = "Do {{goal}}.\n\n# Notes\n{{notes}}\n\n# Done\n{{done}}\n\nGo."
    assert fill(prompt, {"goal": "it", "done": "this"}) == "Do it.\n\n# Done\nthis\n\nGo."


def test_what_is_filled_in_is_not_filled_in_again() -> None:
    assert fill("{{goal}} {{notes}}", {"goal": "{{notes}}", "notes": "x"}) == "{{notes}} x"


def test_every_place_can_be_filled() -> None:
    for purpose in PHASES:
        values = {place: f"<{place}>" for place in places(purpose)}
        filled = fill(form(purpose).prompt, values)
        used = set(re.findall(r"\{\{(\w+)\}\}", form(purpose).prompt))
        assert all(f"<{place}>" in filled for place in used)
        assert "{{" not in filled
