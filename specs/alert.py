"""A condition on a metric of which the user is told while a run trains."""

import re
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, create_model, model_validator

from cortexzoo.specs.base import PositiveInt, Spec
from cortexzoo.specs.provenance import OURS

CONDITION = re.compile(
    r"\s*(?P<metric>[A-Za-z][\w/.-]*)\s*(?P<sign><=|>=|<|>)\s*(?P<bound>[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?)\s*"
)


class Condition(Spec):
    """What `AlertSpec` consists of but for `for`, a word of Python."""

    when: str = Field(
        description="METRIC < NUMBER, or with <=, > or >=. A name stands for every metric whose path contains it: "
        "`gate_share` for each `memory/gate_share/…`."
    )

    @model_validator(mode="after")
    def _is_a_comparison(self) -> Self:
        if not CONDITION.fullmatch(self.when):
            raise ValueError(
                f"when must be METRIC, one of < <= > >=, and a number, as in loss_spikes > 3, got {self.when!r}"
            )
        return self

    @property
    def parts(self) -> tuple[str, str, float]:
        """Metric, sign and bound."""
        found = CONDITION.fullmatch(self.when)
        assert found is not None
        return found["metric"], found["sign"], float(found["bound"])

    @property
    def steps(self) -> int:
        """The value of `for`."""
        return int(getattr(self, "for"))


if TYPE_CHECKING:

    class AlertSpec(Condition):
        """As below."""

else:
    AlertSpec = create_model(
        "AlertSpec",
        __base__=Condition,
        __doc__="An alert: once the condition is true, and again after it was false.",
        **{
            "for": (
                Annotated[PositiveInt, OURS],
                Field(1, description="So many times in a row, of the steps that record the metric."),
            )
        },
    )
