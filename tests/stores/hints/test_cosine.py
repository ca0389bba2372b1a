from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrec.stores.hints.cosine import nearest_first, unit_vector

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(finite, min_size=1, max_size=12))
def test_every_finite_vector_but_zero_has_a_direction_of_length_one(entries: list[float]) -> None:
    if not any(entries):
        with pytest.raises(ValueError, match="zeros"):
            unit_vector(entries, len(entries))
        return
    direction = unit_vector(entries, len(entries))
    assert np.linalg.norm(direction) == pytest.approx(1.0)
    assert np.all(np.sign(direction) * np.sign(entries) >= 0)


def test_a_matrix_is_not_a_vector() -> None:
    matrix: Any = np.eye(2)
    with pytest.raises(ValueError, match=r"\(2, 2\)"):
        unit_vector(matrix, 2)


def test_what_is_equal_on_paper_is_ordered_by_id() -> None:
    found = nearest_first([(0.1 + 0.2, "b", 2), (0.3, "a", 1)], 2)
    assert found == [(0.3, 1), (0.3, 2)]
    assert nearest_first([(1.0000001, "b", 2), (0.9, "a", 1)], 1) == [(1.0, 2)]
