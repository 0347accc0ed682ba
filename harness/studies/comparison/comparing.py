"""From names to a comparison: the contenders, whether it is fair, what is missing, the results."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.studies.comparison.contenders import Contender
from cortexzoo.harness.studies.comparison.fairness import differences, require_equal, text_differences
from cortexzoo.harness.studies.comparison.reading import read
from cortexzoo.harness.studies.comparison.result import Comparison, ContenderResult

FOLDER = "comparisons"


def compared(
    contenders: Sequence[Contender], runs: Sequence[Sequence[Run]], *, command: Sequence[str], allow_different: bool
) -> Comparison:
    """Read the runs of each entrant. Raises `Incomparable`, `RunFolderError` for a folder that is half written."""
    records = [[read(run) for run in result] for result in runs]
    labels = [contender.label for contender in contenders]
    unequal = [*differences(contenders), *text_differences(records, labels)]
    require_equal(unequal, allow_different)
    results = [ContenderResult(e.label, e, tuple(found)) for e, found in zip(contenders, records, strict=True)]
    return Comparison(tuple(results), tuple(unequal), tuple(command))


def folder_of(comparison: Comparison, runs: Path) -> Path:
    """Where its report belongs: the same comparison always has the same folder."""
    names = "-vs-".join(re.sub(r"[^a-z0-9.-]+", "-", result.label.lower()) for result in comparison.contenders)
    content = " ".join(str(record.spec_hash) for record in comparison.records)
    return runs / FOLDER / f"{names[:100]}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def telling_apart(contenders: Sequence[Contender]) -> tuple[str, ...]:
    """The run parameters that distinguish the contenders in Aim."""
    variants = [contender.experiment.variant.name for contender in contenders]
    if len(set(variants)) == len(variants):
        return ("variant",)
    with_recipes = {(contender.experiment.variant.name, contender.experiment.recipe.name) for contender in contenders}
    return ("variant", "recipe") if len(with_recipes) == len(contenders) else ("spec_hash",)
