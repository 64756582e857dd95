"""User errors, and the nearest-name hint of their messages."""

from __future__ import annotations

import pytest

from i2ikd.errors import UserError, nearest, shortened


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("dc-cn", ["vdsr", "dc-cnn", "timm-unet"], "did you mean 'dc-cnn'?"),
        ("chanels", ["depth", "channels", "kernel"], "did you mean 'channels'?"),
        ("qqq", ["vdsr", "dc-cnn", "vdsr"], "known: dc-cnn, vdsr"),
        ("qqq", [], "there are none"),
        ("", ["a"], "known: a"),
    ],
)
def test_the_hint_is_the_nearest_name_or_all_known_names(name: str, known: list[str], hint: str) -> None:
    assert nearest(name, known) == hint
    assert nearest(name, iter(known)) == hint


def test_a_user_error_is_an_exception_with_its_message() -> None:
    with pytest.raises(Exception, match=r"^depth = 0 is too small$"):
        raise UserError("depth = 0 is too small")
    assert not issubclass(UserError, ValueError), "pydantic would convert it to a ValidationError inside a validator"


@pytest.mark.parametrize("remedy", ["lower a.b", "set a; or b; or c", "-o training.device=cuda " + "and so on " * 15])
def test_the_remedy_of_a_long_message_is_whole(remedy: str) -> None:
    line = shortened(f"the object: expected a; {'and more, ' * 5000}got b; {remedy.strip()}")
    assert len(line) <= 300
    assert line.startswith("the object: expected a") and line.endswith(f" ...; {remedy.strip()}")


def test_a_long_message_without_a_remedy_keeps_both_ends() -> None:
    line = shortened("the object is of a kind" + "-folder" * 100 + "-file.h5")
    assert len(line) <= 300
    assert line.startswith("the object is of a kind-folder") and line.endswith("-folder-file.h5")


def test_a_long_message_keeps_the_last_parts_of_its_paths_and_all_else() -> None:
    stated = "'import:package:name' stands in a file that came with the run; pass --trust"
    line = shortened("/folder" * 40 + "/store/0123/weights.pt (model): " + stated)
    assert line == ".../0123/weights.pt (model): " + stated
