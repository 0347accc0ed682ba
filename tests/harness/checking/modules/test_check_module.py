"""A user's module is judged as it stands: in a process of its own, with one clear line for each mistake."""

import json
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from cortexzoo.harness.checking.modules.account import Account, Found
from cortexzoo.harness.checking.modules.errors import ModuleError
from cortexzoo.harness.checking.modules.loading import Reference
from cortexzoo.harness.checking.modules.request import Request
from cortexzoo.harness.checking.modules.supervision import check_module
from cortexzoo.harness.checking.modules.worker import work
from cortexzoo.harness.checking.schema import certificate_schema, schema_text
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.harness.cli import main
from cortexzoo.harness.regression import replay
from cortexzoo.specs import SuiteSpec
from cortexzoo.specs.properties import PropertyName
from cortexzoo.specs.suite import Check
from tests.quick import in_slow

SUBJECTS = Path(__file__).parents[2] / "subjects"
ILL = SUBJECTS / "ill_behaved.py"
NAIVE = SUBJECTS / "naive_gated_attention.py"
FINITE: PropertyName = "finite_gradients"
LATER: PropertyName = "save_and_load"


def suite(*names: PropertyName) -> SuiteSpec:
    return SuiteSpec(name="some", properties={name: Check() for name in names})


def request_of(path: Path, name: str, *properties: PropertyName, seconds: float = 60) -> Request:
    return Request(Reference.parse(f"{path}:{name}"), suite(*properties), seconds=seconds, examples=20)


def checked(path: Path, name: str, *properties: PropertyName, seconds: float = 60) -> Found:
    return check_module(request_of(path, name, *properties, seconds=seconds))


def judged_here(request: Request, *properties: PropertyName, **further: object) -> Found:
    """What `check_module` finds, in this process: for what is judged, and not how its process is watched."""
    found = Found()
    account = Account(request, found, list(properties), lambda _: None)
    account.take("started", 0)
    account.take("prepared", None)
    work({**request.as_json(properties, request.seconds), **further}, account.take)
    return found


def test_the_naive_gated_attention_is_reported_with_its_smallest_length() -> None:
    """Padded to whole chunks it fails from one token on; without padding log 2 a token overflows float32 at 129."""
    for factory, length in (("make_model", 1), ("make_without_padding", 129)):
        found = judged_here(request_of(NAIVE, factory, FINITE), FINITE).judgements[FINITE]
        assert found.verdict == "fail"
        assert found.case["length"] == length
        assert "NaN" in found.reason and f"at length {length}" in found.reason


def test_a_healthy_module_passes_everything_that_it_offers() -> None:
    names: tuple[PropertyName, ...] = (
        "finite_gradients", "causality", "batch_isolation", "repeatability", "determinism", "any_shape_works",
        "every_parameter_learns", "own_token_counts", "save_and_load", "linear_time", "linear_memory",
    )  # fmt: skip
    found = checked(ILL, "Linear", *names, "chunk_invariance", "padding_changes_nothing", "gate_balance")
    assert found.inputs == {"kind": "vectors", "size": 8}
    assert {name: found.judgements[name].reason for name in names if found.judgements[name].verdict != "pass"} == {}
    unoffered = [found.judgements[name] for name in ("chunk_invariance", "padding_changes_nothing", "gate_balance")]
    assert all(j.verdict == j.expected == "skipped" and "offer" in j.reason for j in unoffered)


@pytest.mark.parametrize(
    ("factory", "said", "further"),
    [
        in_slow(("Exiting", "exit code 7", (LATER,))),
        ("Crashing", "SIGSEGV", ()),
        ("Hanging", "did not end within 3 s", ()),
        pytest.param("Crashing", "SIGSEGV", (LATER,), marks=pytest.mark.slow),
        pytest.param("Hanging", "did not end within 3 s", (LATER,), marks=pytest.mark.slow),
    ],
)
def test_what_dies_or_hangs_costs_one_row_and_is_named_with_its_case(
    factory: str, said: str, further: tuple[PropertyName, ...]
) -> None:
    """A further property takes a further process, which is only started where there is one."""
    found = checked(ILL, factory, "determinism", "batch_isolation", *further, seconds=10)
    verdicts = {name: judgement.verdict for name, judgement in found.judgements.items()}
    assert verdicts == {"determinism": "pass", "batch_isolation": "error", **dict.fromkeys(further, "pass")}
    died = found.judgements["batch_isolation"]
    assert said in died.reason and died.case["rows"] == 6


def test_a_factory_that_kills_the_process_is_an_error_in_every_row() -> None:
    found = checked(ILL, "exits_at_once", "causality", "repeatability")
    assert [judgement.verdict for judgement in found.judgements.values()] == ["error", "error"]
    assert all("exit code 5" in judgement.reason for judgement in found.judgements.values())


def test_an_exception_is_an_error_at_the_smallest_length_that_raises() -> None:
    found = judged_here(request_of(ILL, "Raising", FINITE), FINITE).judgements[FINITE]
    assert (found.verdict, found.case["length"]) == ("error", 41)
    assert "ValueError: anything but 41, got 41 (ill_behaved.py:" in found.reason


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        ("raises", "the factory raised RuntimeError: weights are gone (ill_behaved.py:"),
        ("returns_a_number", "must return a torch.nn.Module, got int"),
        ("needs_arguments", "must need no arguments, got width, depth without default"),
        ("Wordy", "the output must be a floating point tensor, or a tuple or object that begins with one, got str"),
        ("Pooling", "must give one output for each token, [2, 3, …], got [2, 8]"),
        ("Lineal", "has nothing named Lineal: did you mean Linear?"),
        ("NOT_A_FUNCTION", "must be a function that returns a module, got int"),
    ],
)
def test_what_cannot_be_tested_is_refused_in_one_line(factory: str, said: str) -> None:
    """In this process: what the child would report is what counts, and it takes a while to start one."""
    request = Request(Reference.parse(f"{ILL}:{factory}"), suite("repeatability"))
    events: list[tuple[str, object]] = []
    work(request.as_json(["repeatability"], 5.0), lambda event, content: events.append((event, content)))
    ((event, content),) = events
    assert event == "refused"
    assert said in str(content) and "\n" not in str(content)


@pytest.mark.slow  # the last of the bad inputs below comes the same way
def test_a_refusal_of_the_child_reaches_the_caller() -> None:
    with pytest.raises(ModuleError, match="weights are gone"):
        checked(ILL, "raises", "repeatability")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    small = runs / "small.yaml"
    small.write_text(
        "kind: suite\nname: small\nproperties:\n  finite_gradients: {}\n  repeatability: {}\n  chunk_invariance: {}\n"
    )
    command = ["check", "--module", f"{NAIVE}:make_model", "--suite", str(small), "--budget", "60s"]
    assert main([*command, "--runs", str(runs)]) == 1
    return runs / "modules" / "naive_gated_attention.make_model" / "verdict.json"


def test_the_certificate_fits_its_schema(certificate: Path) -> None:
    content = json.loads(certificate.read_text())
    jsonschema.validate(content, certificate_schema())
    committed = Path(__file__).parents[4] / "harness" / "schema" / "certificate.json"
    assert committed.read_text(encoding="utf-8") == schema_text(), "run `cortexzoo schema --write`"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**content, "format": 1}, certificate_schema())


def test_replay_runs_the_falsifying_case_again(certificate: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(certificate), "--property", "finite_gradients"]) == 0
    told = capsys.readouterr().out
    assert "case: length 1, rows 1, dtype float32" in told
    then, now = (line.split(maxsplit=1)[1] for line in told.splitlines() if line.startswith(("then", "now")))
    assert then == now and "fail" in then


def test_a_failing_case_becomes_a_test_file_that_needs_torch_alone(certificate: Path, tmp_path: Path) -> None:
    command = ["replay", str(certificate), "--property", "finite_gradients", "--pytest"]
    file = tmp_path / "test_naive.py"
    assert main([*command, str(file)]) == 0
    written = file.read_text()
    assert "cortexzoo" not in written and str(certificate) not in written
    with pytest.raises(AssertionError):
        runpy.run_path(str(file))["test_finite_gradients"]()
    assert main([*command, str(file)]) == 2  # it is there already
    assert main(["replay", str(certificate), "--property", "repeatability", "--pytest", str(tmp_path / "t.py")]) == 2


def test_explain_and_the_reports_of_a_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "small.yaml").write_text("kind: suite\nname: small\nproperties:\n  batch_isolation: {}\n")
    command = ["check", "--module", f"{SUBJECTS / 'defective.py'}:Normed", "--suite", str(tmp_path / "small.yaml")]
    junit, sarif = tmp_path / "junit.xml", tmp_path / "found.sarif"
    options = ["--explain", "--annotate", "--junit", str(junit), "--sarif", str(sarif), "--runs", str(tmp_path)]
    assert main([*command, *options]) == 1
    told = capsys.readouterr().out
    assert "batch_isolation: row 1 sees row 0 through `norm` (BatchNorm1d)" in told
    assert "defective.py:" in told and "::error file=" in told
    assert 'failures="1"' in junit.read_text() and "BatchNorm1d" in sarif.read_text()
    assert main([*command, "--junit", str(tmp_path / "none" / "junit.xml")]) == 2


def test_replay_tells_a_verdict_that_changed(
    certificate: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The case is judged in this process, which says the same and need not be started."""

    def here(request: Request, name: PropertyName, case: Mapping[str, Any]) -> Judgement:
        return judged_here(request, name, case=dict(case)).judgements[name]

    monkeypatch.setattr(replay, "replay_module", here)
    content = json.loads(certificate.read_text())
    content["properties"]["repeatability"]["verdict"] = "fail"
    changed = tmp_path / "verdict.json"
    changed.write_text(json.dumps(content))
    assert main(["replay", str(changed), "--property", "repeatability"]) == 1
    assert "the verdict was fail and is now pass" in capsys.readouterr().out


def _old(content: dict[str, object]) -> None:
    del content["format"]


def _old_property(content: dict[str, object]) -> None:
    content["properties"]["finite_gradients"]["version"] = 0  # type: ignore[index]


def _other_file(content: dict[str, object]) -> None:
    content["module_sha256"] = "0"


@pytest.mark.parametrize(
    ("change", "name", "said"),
    [
        (_old, "repeatability", "is a certificate of format 1, format 2 is required: check again"),
        (_old_property, "finite_gradients", "finite_gradients is of version 0, here it has version 2: check again"),
        (_other_file, "finite_gradients", "(another sha256): check again"),
        (lambda _: None, "finite_gradient", "has no property finite_gradient: did you mean finite_gradients?"),
        (lambda _: None, "chunk_invariance", "chunk_invariance was skipped"),
    ],
)
def test_what_cannot_be_replayed_is_told_in_one_line(
    certificate: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: object, name: str, said: str
) -> None:
    content = json.loads(certificate.read_text())
    change(content)  # type: ignore[operator]
    changed = tmp_path / "verdict.json"
    changed.write_text(json.dumps(content))
    assert main(["replay", str(changed), "--property", name]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "check needs a run folder, an experiment, --module FILE.py:FACTORY or --hf"),
        (["--module", "model.py"], "must be FILE.py:FACTORY"),
        (["--module", "none.py:make"], "there is no file none.py"),
        (["--module", f"{ILL}:Linear", "--budget", "soon"], "--budget: must be a time above 0"),
        (["--module", f"{ILL}:Linear", "--suite", "transformer"], "a trained model"),
        (["--module", f"{ILL}:Linear", "--set", "seed=1"], "cannot be combined with --set"),
        (["--module", f"{ILL}:Linear", "--vocab-size", "4", "--width", "4"], "cannot be combined"),
        (["--module", f"{ILL}:Linear", "--vocab-size", "4"], "took no token ids of shape [2, 3]"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *arguments, "--runs", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
