"""Links into Aim's explorer carry what the page shows, written as JavaScript writes it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortexzoo.harness.tracking.aim.link import encoded, metrics_link
from tests.aim_reading import decoded

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(value=JSON)
def test_what_is_encoded_can_be_decoded(value: object) -> None:
    text = encoded(value)
    assert text.startswith("O-") and "=" not in text and "+" not in text and "/" not in text
    assert decoded(text) == value


def test_it_is_what_a_browser_computes() -> None:
    """`"O-" + btoa(encodeURI(JSON.stringify({"a": "b c/ü#"})))` with the letters and padding of base64url."""
    assert encoded({"a": "b c/ü#"}) == "O-JTdCJTIyYSUyMjolMjJiJTIwYy8lQzMlQkMjJTIyJTdE"


def test_a_link_names_runs_metrics_and_groups() -> None:
    link = metrics_link("http://127.0.0.1:1", ["abc", "def"], ["train/loss"], ["variant", "recipe"])
    address, _, query = link.partition("?")
    parts = {name: decoded(value) for name, _, value in (part.partition("=") for part in query.split("&"))}
    assert address == "http://127.0.0.1:1/metrics"
    assert parts["select"]["query"] == 'run.hash in ["abc", "def"]'
    assert [option["value"]["option_name"] for option in parts["select"]["options"]] == ["train/loss"]
    assert parts["grouping"]["color"] == ["run.params.variant", "run.params.recipe"]
    assert parts["chart"]["ignoreOutliers"] is False
    assert parts["chart"]["aggregationConfig"]["isApplied"] is True


@pytest.mark.parametrize("run_hash", ['a"b', "a\\b"])
def test_a_hash_cannot_leave_its_quotes(run_hash: str) -> None:
    link = metrics_link("", [run_hash])
    query = decoded(link.rpartition("select=")[2])["query"]
    assert query.count('"') - query.count('\\"') == 2
