"""``check_distiller`` names a distiller that states ``uses_output = False`` and uses the teacher's output image."""

from __future__ import annotations

import pytest

from i2ikd import Batch, Features, Knowledge
from i2ikd.builtin.distillers.attention import Attention
from i2ikd.testing import check_distiller


class UsesTheOutput(Attention):
    """The loss of attention; its knowledge has the image, too."""

    def knowledge(self, teacher: Features, batch: Batch) -> Knowledge:
        return super().knowledge(teacher, batch) | {"image": teacher.image().detach()}


def test_a_distiller_that_uses_the_output_and_states_that_it_does_not_is_named() -> None:
    with pytest.raises(AssertionError, match="states uses_output = False, but its knowledge fails without the output"):
        check_distiller(UsesTheOutput)
