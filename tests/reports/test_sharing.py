"""Sharing changes no value, and keeps what is equal once."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reports.sharing import Shared

SCALARS = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, -0.0, 1.0, 0.5]) | st.text(max_size=2)
JSON = st.recursive(
    SCALARS, lambda of: st.lists(of, max_size=3) | st.dictionaries(st.text(max_size=2), of, max_size=3), max_leaves=12
)


# Drawing takes long on a busy machine.
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["a", "b", "timing"]), JSON), max_size=5))
def test_a_shared_record_is_written_as_the_record(records: list[dict[str, object]]) -> None:
    shared = Shared()
    for values in records:
        record = {"experiment": values, **values}
        assert json.dumps(shared.record(record), sort_keys=True) == json.dumps(record, sort_keys=True)


def test_equal_parts_are_one() -> None:
    shared = Shared()
    records = ({"a": {"b": [1, 2]}, "experiment": {"c": [3], "d": number}} for number in (1, 2))
    first, second = map(shared.record, records)
    assert first != second and first["a"] is second["a"] and first["experiment"]["c"] is second["experiment"]["c"]


def test_what_is_equal_but_written_otherwise_is_not() -> None:
    shared = Shared()
    written = [json.dumps(shared.part({"a": [value]})) for value in (1, 1.0, True, 0.0, -0.0)]
    assert written == ['{"a": [1]}', '{"a": [1.0]}', '{"a": [true]}', '{"a": [0.0]}', '{"a": [-0.0]}']
