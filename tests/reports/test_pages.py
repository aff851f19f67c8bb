"""What pages say of records."""

from __future__ import annotations

from reports.pages import Described, facts


def test_facts_are_escaped() -> None:
    assert facts([("a<b", "1 & 2")]) == "<dt>a&lt;b</dt><dd>1 &amp; 2</dd>\n"


def test_a_part_is_described_with_its_settings_beside_its_fields() -> None:
    rows = Described().rows("model", {"frames": 8, "backbone": "", "settings": {"ratio": 0.5}})
    assert rows == facts([("model.frames", "8"), ("model.backbone", "-"), ("model.ratio", "0.5")])


def test_a_shared_part_is_described_once_and_by_the_name_it_goes_by() -> None:
    described, part = Described(), {"batch": 2}
    assert described.rows("timing", part) is described.rows("timing", part)
    assert described.rows("evaluation", part) == facts([("evaluation.batch", "2")])
