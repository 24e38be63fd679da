"""Every control of every stored lesson, moved through the comm channel of a real kernel."""

from pathlib import Path

import pytest
from driven import driven

LESSONS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_every_slider_redraws_at_every_value(path):
    with driven(path) as lesson:
        for model, state in lesson.models("IntSliderModel").items():
            drawn = set()
            for value in range(state["min"], state["max"] + 1):
                caused = lesson.move(model, value=value)
                assert not [m["content"] for m in caused if m["msg_type"] in ("error", "stream")]
                changed = [m["content"]["data"]["state"] for m in caused if m["msg_type"] == "comm_msg"]
                drawn |= {s["value"] for s in changed if "<svg" in str(s.get("value"))}
            assert len(drawn) >= state["max"] - state["min"], f"{state['description']} changes nothing"


def test_the_line_under_the_panel_gives_what_the_panel_shows():
    lesson_00 = next(p for p in LESSONS if p.stem.startswith("00"))
    with driven(lesson_00) as lesson:
        lesson.value_of("panel = shop.panel('http://order-service', 'order')")
        for replicas, nodes in ((1, 1), (7, 2), (10, 6)):
            lesson.value_of(f"panel.replicas.value = {replicas}; panel.nodes.value = {nodes}; cluster = panel.cluster")
            shown = lesson.value_of("{address: round(share, 12) for _, _, address, share, _ in panel.rows}")
            computed = lesson.value_of("{address: round(float(s), 12) for address, s in eval(panel.line).items()}")
            assert shown == computed and shown.count(":8081") == replicas
