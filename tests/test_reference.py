"""docs/reference tells of every operation, and of every error that one declares."""

import re

import pytest

from earnest.app import build_faces
from earnest.errors import code_of
from earnest.settings import Settings
from earnest.web.operations import Operation, operations
from earnest.web.reference import endpoints_reference, errors_reference


@pytest.fixture(scope="module")
def api() -> list[Operation]:
    return operations(build_faces(Settings(secret_key=b"k" * 32)).routes)


def test_every_operation_is_named_once_with_all_its_paths(api: list[Operation]) -> None:
    text = endpoints_reference(api)
    named = re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /[^`]*)`", text)
    assert sorted(named) == sorted(f"{one.method} {one.path}" for one in api)


def test_every_error_stands_under_its_status_with_a_text(api: list[Operation]) -> None:
    sections = re.split(r"^## (\d{3}) .*$", errors_reference(api), flags=re.MULTILINE)[1:]
    told = {
        (int(status), code)
        for status, rows in zip(sections[::2], sections[1::2], strict=True)
        for code in re.findall(r"^\| `(\w+)` \| \S.* \| \S.* \|$", rows, flags=re.MULTILINE)
    }
    declared = {
        (status, code_of(refusal))
        for one in api
        for status, refusals in one.refusals.items()
        for refusal in refusals
    }
    assert told == declared
