"""Where a value comes from: each default of a spec carries one `Source`, spec files theirs under `provenance:`."""

from dataclasses import dataclass
from typing import Literal

SourceKind = Literal["user", "paper", "reference-code", "measured-here", "ours"]


@dataclass(frozen=True, slots=True)
class Source:
    """The origin of one value: `where` names the document, paper or measurement; `kind` its sort of authority."""

    where: str
    kind: SourceKind = "ours"

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}"


PHASE_1 = Source("CortexGPT Phase 1 stability document", "user")
PROTOTYPE = Source("public CortexGPT prototype, original model", "reference-code")
PROBE = Source("learning-rate and ablation runs, docs/results.md", "measured-here")
MEASURED_GUARDS = Source("guards replayed on recorded runs and on noise, docs/stability.md", "measured-here")
CONTEXTS = Source("probes of context memories on validation text, docs/long-term-memory.md", "measured-here")
CONTINUAL = Source("probe runs on two texts in turn, docs/continual.md", "measured-here")
OURS = Source("convention of this project", "ours")
RECALL = Source("probe runs on the one-token kv task, one or two seeds each", "measured-here")
USER_RUN = Source("the user's Cortex v2 training command", "user")
