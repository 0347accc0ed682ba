"""What a module's process reports, compared with the check's own list: each event in its place, each verdict checked.

The process reports what it found. Which properties there are, their order, bounds and expected verdicts are the check's
own, and so is the judgement whether a value lies within its bound.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from cortexzoo.harness.checking.judge import margin_of, within
from cortexzoo.harness.checking.modules.channel import Tampered
from cortexzoo.harness.checking.modules.errors import ModuleError
from cortexzoo.harness.checking.modules.request import Request
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.specs.plain_text import one_line
from cortexzoo.specs.properties import PROPERTIES, PropertyName, Verdict

MOST = 1 << 40
Words = Annotated[str, Field(max_length=1 << 16)]
Event = Literal["started", "prepared", "refused", "ready", "begun", "case", "judged", "control"]
FOLLOWS: dict[Event | None, tuple[Event, ...]] = {
    None: ("started",),
    "started": ("prepared",),
    "prepared": ("refused", "ready"),
    "ready": ("begun",),
    "begun": ("case", "judged"),
    "case": ("case", "judged"),
    "judged": ("control", "begun"),
    "control": ("begun",),
    "refused": (),
}
"""Which event may come after which."""
ALTERED = "a planted defect passed in the same process: the module changed code that judges it"


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class _Inputs(_Strict):
    kind: Literal["tokens", "vectors"]
    size: Annotated[int, Field(ge=1, le=MOST)]


class _Ready(_Strict):
    inputs: _Inputs
    parameters: Annotated[int, Field(ge=0, le=MOST)]


class _Judged(_Strict):
    name: Words
    verdict: Verdict
    observed: float | None
    reason: Words
    case: dict[Words, int | float | Words]
    cause: dict[Literal["module", "class", "words", "input", "file", "line"], int | Words]
    cases_tried: Annotated[int, Field(ge=0)]
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass
class Found:
    """The outcome: the judgements in the order of the suite, and what the module takes."""

    judgements: dict[PropertyName, Judgement] = field(default_factory=dict)
    inputs: Mapping[str, Any] | None = None
    parameters: int | None = None


class Account:
    """The events of one process. A property leaves `waiting` once it is judged, and its control, where it has one."""

    def __init__(
        self, request: Request, found: Found, waiting: list[PropertyName], begun: Callable[[PropertyName], None]
    ) -> None:
        self._request, self._found, self.waiting, self._begun = request, found, waiting, begun
        self._last: Event | None = None
        self._judgement: Judgement | None = None
        self._cases = 0
        self.process: int | None = None
        """The process that runs the module."""
        self.ready = False
        self.case: dict[str, Any] = {}
        self.judged: list[PropertyName] = []

    def take(self, event: str, content: Any) -> None:
        """One event. Raises `Tampered` where it does not belong, `ModuleError` when the module cannot be tested."""
        pending = self._judgement is not None
        if event not in FOLLOWS[self._last] or (event == "begun" and pending) or (event == "control" and not pending):
            raise Tampered(f"the event {one_line(event, 40)} out of place")
        match event:
            case "started":
                self.process = _valid(int, content)
            case "refused":
                raise ModuleError(one_line(_valid(str, content)))
            case "ready":
                given = _valid(_Ready, content)
                self.ready = True
                self._found.inputs, self._found.parameters = given.inputs.model_dump(), given.parameters
            case "begun":
                if [content] != self.waiting[:1]:
                    raise Tampered("a property that is not the next")
                self._begun(content)
                self.case, self._cases = {}, 0
            case "case":
                self.case = _valid(dict[Words, int | float | Words], content)
                self._cases += 1
            case "judged":
                self._judgement = self._checked(_valid(_Judged, content))
                if self._judgement.verdict in ("fail", "error"):
                    self._accept(self._judgement)
            case "control":
                assert self._judgement is not None
                altered = _valid(Verdict, content) in ("pass", "skipped")
                name = self._judgement.name
                self._accept(self.error(name, ALTERED, {}) if altered else self._judgement)
        self._last = next(known for known in FOLLOWS if known == event)

    def error(self, name: PropertyName, reason: str, case: Mapping[str, Any]) -> Judgement:
        """The judgement `error` on a property."""
        check, seed = self._request.suite.properties[name], self._request.seed
        return Judgement.of(name, check, "error", one_line(reason), case=dict(case), seed=seed)

    def _accept(self, judgement: Judgement) -> None:
        self.waiting.remove(judgement.name)
        self.judged.append(judgement.name)
        self._found.judgements[judgement.name] = judgement
        self._judgement = None

    def _checked(self, given: _Judged) -> Judgement:
        name = self.waiting[0]
        if given.name != name:
            raise Tampered("a verdict on a property that was not tried")
        if given.verdict in ("pass", "fail") and (given.observed is None or not self._cases):
            raise Tampered("a verdict without a case")
        if given.cases_tried > self._cases:
            raise Tampered("more cases than were tried")
        check, direction = self._request.suite.properties[name], PROPERTIES[name].direction
        margin = None
        if given.verdict in ("pass", "fail") and given.observed is not None:
            margin = margin_of(given.observed, check.bound_of(name), direction)
            if within(margin, direction) != (given.verdict == "pass"):
                raise Tampered("a verdict that its value contradicts")
        return Judgement.of(
            name, check, given.verdict, one_line(given.reason), observed=given.observed, margin=margin, case=given.case,
            cause={**given.cause}, cases_tried=given.cases_tried, seconds=given.seconds, seed=self._request.seed,
        )  # fmt: skip


def _valid(kind: Any, content: Any) -> Any:
    try:
        return TypeAdapter(kind).validate_python(content, strict=True)
    except ValidationError as problem:
        raise Tampered("an event of another form") from problem
