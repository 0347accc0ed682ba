"""`checkpoints_survive_interruption`: passes as it is, and finds a mistake in how checkpoints are written and read."""

import pytest

from cortexzoo.harness.checking.judge import judge, judge_case
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.specs.suite import Check
from cortexzoo.zoo import checkpoints
from cortexzoo.zoo.checkpoints import CheckpointReader
from cortexzoo.zoo.training.state import snapshot
from tests.harness import tiny
from tests.harness.checking.properties.planted import is_caught

PROPERTY = REGISTRY["checkpoints_survive_interruption"]


def judged(what: str) -> Judgement:
    return judge_case(PROPERTY, Check(), tiny.subject(), {"what": what})


def test_it_passes_as_it_is() -> None:
    judgement = judge(PROPERTY, Check(), tiny.subject())
    assert judgement.verdict == "pass", judgement.reason
    assert judgement.cases_tried == 10


@pytest.mark.parametrize(
    ("what", "owner", "function", "old", "new"),
    [
        ("first", checkpoints, "begin", "shutil.rmtree(partial_folder(folder), ignore_errors=True)", "pass"),
        ("first", checkpoints, "encode_tensors", "shared[name] = owner[place]", "pass"),
        ("replaced", checkpoints, "_take_its_place", "folder.rename(previous)", "shutil.rmtree(folder)"),
        ("replaced", checkpoints, "exists", "(not folder.exists()", "(folder.exists()"),
        ("replaced", CheckpointReader, "__init__", "if interrupted else folder", "if False else folder"),
        ("replaced", checkpoints, "publish", "_take_its_place(folder)", "partial.rename(folder.with_name('other'))"),
        ("kept", checkpoints, "publish", "partial_folder(keep), copy_function", "keep, copy_function"),
        ("kept", checkpoints, "publish", "keep is not None and", "keep is None and"),
        ("pruned", checkpoints, "prune", "len(found) - keep", "len(found) - keep + 1"),
        ("nothing to prune", checkpoints, "prune", "max(0, len(found) - keep)", "len(found) - keep"),
        ("pruned", checkpoints, "_remove", "path.rename(partial_folder(path))", "shutil.rmtree(path)"),
        ("set back", checkpoints, "_remove", ".partial", ".other"),
        ("set back", checkpoints, "set_back", "int(n) > step", "int(n) >= step"),
        ("set back", checkpoints, "set_back", "begin(folder)", "partial_folder(folder).mkdir()"),
        ("damaged", CheckpointReader, "verified", "!= self.sums[file]", "== 'other'"),
        ("damaged", checkpoints, "begin", "folder.exists() and not", "False and not"),
        (
            "of another model",
            checkpoints,
            "load_weights",
            'CheckpointReader(folder).tensors("model")',
            "model.state_dict()",
        ),
        (
            "of another model",
            checkpoints,
            "set_weights",
            "set(required) ^ set(weights)",
            "set(required) - set(weights)",
        ),
        ("of policies", snapshot, "_require_type", "number and isinstance(saved, bool)", "False"),
        ("of policies", snapshot, "_require_scalars", "2**63", "2**73"),
        ("of policies", snapshot, "_require_alike", '_require_type(value, saved[key], f"{name}.{key}")', "pass"),
        ("not written", checkpoints, "abandon", "shutil.rmtree(partial_folder(folder), ignore_errors=True)", "pass"),
        ("not written", snapshot, "save", "storage.abandon(folder)", "pass"),
        ("not written", snapshot, "_together", "except OSError as error", "except KeyError as error"),
    ],
)
def test_a_small_mistake_is_found(what: str, owner: object, function: str, old: str, new: str) -> None:
    assert is_caught(owner, function, old, new, lambda: judged(what))
