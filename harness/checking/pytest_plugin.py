"""A pytest plugin: `pytest --cortexzoo cortexgpt-stable` has one test for each property of an experiment's suite.

Nothing happens without the option. Trainings are kept in the cache folder, one for each spec. This file is loaded with
every pytest that runs where cortexzoo is installed, so it imports the rest only when it is asked for something.
"""

from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cortexzoo.harness.checking.effort import Effort
    from cortexzoo.harness.checking.subject import Subject
    from cortexzoo.harness.checking.verdict import Judgement
    from cortexzoo.harness.runs.run_folder import Run
    from cortexzoo.specs import ExperimentSpec
    from cortexzoo.specs.properties import PropertyName
    from cortexzoo.specs.suite import Check

OPTION, PROFILE_OPTION = "--cortexzoo", "--cortexzoo-profile"


class UnexpectedVerdict(Exception):
    """A verdict other than the expected one. The message is complete: no traceback is needed."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Two options."""
    group = parser.getgroup("cortexzoo", "stability properties of language models")
    group.addoption(
        OPTION, action="append", default=[], metavar="EXPERIMENT|FILE|RUN",
        help="one test for each property of this experiment's suite, or of a run folder's; trains what was never "
        "trained; without other arguments nothing else is collected; repeatable",
    )  # fmt: skip
    group.addoption(
        PROFILE_OPTION, default="dev", choices=("dev", "ci", "deep"),
        help="how thoroughly to search for counterexamples (default: dev)",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """With experiments and without files, only their tests run."""
    if config.getoption(OPTION) and config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = []


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Every named experiment is collected beside the files."""
    report = yield
    if isinstance(collector, pytest.Session) and report.result is not None:
        report.result += [ExperimentCollector.of(collector, target) for target in collector.config.getoption(OPTION)]
    return report


class ExperimentCollector(pytest.Collector):
    """The tests of one experiment or run; they share one trained subject."""

    target: str
    experiment: "ExperimentSpec"
    run: "Run | None"
    subject: "Subject"
    effort: "Effort"

    @classmethod
    def of(cls, session: pytest.Session, target: str) -> "ExperimentCollector":
        """Raises `UsageError` for what is neither an experiment nor a run folder."""
        from cortexzoo.specs import SpecError, load_experiment

        run = run_of(target)
        try:
            experiment = load_experiment(target) if run is None else run.spec
        except SpecError as mistake:
            raise pytest.UsageError(f"{OPTION} {mistake}") from None
        name = experiment.name if run is None else f"{experiment.name}/{run.path.name}"
        collector: ExperimentCollector = cls.from_parent(session, name=name, nodeid=name)
        collector.target, collector.experiment, collector.run = target, experiment, run
        return collector

    def collect(self) -> Iterator[pytest.Item]:
        """One test for each property, in the order of the suite."""
        for name, check in self.experiment.suite.properties.items():
            item: PropertyItem = PropertyItem.from_parent(self, name=name)
            item.property_name, item.check = name, check
            yield item

    def setup(self) -> None:
        """Before the first test: the trained subject, whose training prints its expected duration.

        What a user can mend fails each test with its line. The rest of the session, which has nothing to do with it,
        continues, as it would not after a `UsageError`.
        """
        from cortexzoo.harness.checking.effort import PROFILES
        from cortexzoo.harness.errors import lines_and_code
        from cortexzoo.harness.runs.train import subject_of

        self.effort = PROFILES[self.config.getoption(PROFILE_OPTION)].effort()
        try:
            self.subject = subject_of(self.run or self._trained())
        except Exception as problem:
            described = lines_and_code(problem)
            if described is None:
                raise
            raise pytest.fail.Exception(f"{OPTION} {self.target}: {'; '.join(described[0])}", pytrace=False) from None

    def _trained(self) -> "Run":
        from cortexzoo.harness.runs.cache import cache, cached_training, find_trained, work_ahead
        from cortexzoo.harness.runs.options import UNTRACKED

        folder = cache()
        if (found := find_trained(self.experiment, folder)) is not None:
            return found
        self._print(work_ahead(self.experiment))
        return cached_training(self.experiment, folder, replace(UNTRACKED, warn=self._print))

    def _print(self, line: str) -> None:
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        capture = self.config.pluginmanager.get_plugin("capturemanager")
        if reporter is not None and capture is not None:
            with capture.global_and_fixture_disabled():
                reporter.write_line("")
                reporter.write_line(line)
                reporter.flush()


class PropertyItem(pytest.Item):
    """One property of one experiment."""

    property_name: "PropertyName"
    check: "Check"

    def runtest(self) -> None:
        """Skipped or expected to fail as in the suite; every other verdict but `pass` is a failure, so is none."""
        from cortexzoo.harness.checking.judge import judge
        from cortexzoo.harness.checking.properties import REGISTRY

        parent = self.parent
        assert isinstance(parent, ExperimentCollector)
        judgement = judge(REGISTRY[self.property_name], self.check, parent.subject, parent.effort)
        self.add_report_section("call", "cortexzoo", _numbers(judgement))
        if judgement.unexpected:
            raise UnexpectedVerdict(
                f"{self.name} is {judgement.verdict} instead of {judgement.expected}: {_reason_of(judgement)}"
            )
        if judgement.verdict == "skipped":
            pytest.skip(judgement.expected_reason or judgement.reason)
        if judgement.verdict == "fail":
            pytest.xfail(judgement.expected_reason or judgement.reason)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *arguments: Any) -> Any:
        """An unexpected verdict in words; anything else as usual."""
        return (
            str(excinfo.value)
            if isinstance(excinfo.value, UnexpectedVerdict)
            else super().repr_failure(excinfo, *arguments)
        )

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Where the test belongs."""
        return self.path, None, f"{self.parent.name if self.parent else ''}: {self.name}"


def run_of(target: str) -> "Run | None":
    """The run of a folder; None: no folder. Raises `UsageError` for a folder without one."""
    from pathlib import Path

    if not Path(target).is_dir():
        return None
    from cortexzoo.harness.runs.run_folder import Run, RunFolderError

    try:
        return Run.open(target)
    except RunFolderError as mistake:
        raise pytest.UsageError(f"{OPTION} {mistake}") from None


def _reason_of(judgement: "Judgement") -> str:
    case = ", ".join(f"{key} {value}" for key, value in judgement.case.items())
    return judgement.reason + (f"\ncase: {case}" if case else "")


def _numbers(judgement: "Judgement") -> str:
    observed = "nothing" if judgement.observed is None else f"{judgement.observed!r} {judgement.unit}"
    return f"observed {observed}, bound {judgement.bound!r}, {judgement.cases_tried} cases, seed {judgement.seed}"
