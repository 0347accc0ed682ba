"""One case of a certificate, tried again."""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import BaseModel, Field, ValidationError

from cortexzoo.harness.checking.judge import judge_case
from cortexzoo.harness.checking.modules.certifying import source_sum
from cortexzoo.harness.checking.modules.hugging_face import Pretrained
from cortexzoo.harness.checking.modules.loading import Reference
from cortexzoo.harness.checking.modules.request import Request
from cortexzoo.harness.checking.modules.supervision import replay_module
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.verdict import VERDICT, Certificate, Judgement, OldCertificate
from cortexzoo.harness.errors import UserError
from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.runs.train import subject_of
from cortexzoo.harness.tracking.jsonl import from_json_value
from cortexzoo.specs import SuiteSpec
from cortexzoo.specs.properties import PROPERTIES, PropertyName
from cortexzoo.specs.regular_files import read_regular
from cortexzoo.specs.suite import Check
from cortexzoo.zoo import keyed

MOST_ROWS = 10**9


class ReplayError(UserError):
    """A certificate or a case that cannot be replayed. The message is one line."""


@dataclass(frozen=True)
class Replayed:
    """A case as in the certificate, and the same case now."""

    then: Judgement
    now: Judgement

    @property
    def same(self) -> bool:
        return self.then.verdict == self.now.verdict


def replay_case(path: Path, name: str) -> Replayed:
    """Run exactly the case again that the certificate names. Raises `ReplayError`, `RunFolderError`, `ModuleError`."""
    certificate, then = named_judgement(path, name)
    path = path / VERDICT if path.is_dir() else path
    if then.verdict == "skipped":
        raise ReplayError(f"{path}: {name} was skipped ({then.reason}): there is no case to replay")
    check = Check(expect="pass", bound=then.bound)
    if "module" in certificate.circumstances:
        return Replayed(then, _of_module(certificate.circumstances, then, check, path))
    run = Run.open(path.parent)
    checkpoint = certificate.circumstances.get("checkpoint")
    if checkpoint not in ("best", "last"):
        raise ReplayError(f"{path}: names no checkpoint: it must be best or last, got {checkpoint!r}")
    subject = subject_of(run, checkpoint)
    return Replayed(then, judge_case(REGISTRY[then.name], check, subject, then.case))


def named_judgement(path: Path, name: str) -> tuple[Certificate, Judgement]:
    """The certificate of a file or folder, and its judgement of that property. Raises `ReplayError`."""
    path = path / VERDICT if path.is_dir() else path
    certificate = read_certificate(path)
    return certificate, _judgement(certificate, name, path)


def read_certificate(path: Path) -> Certificate:
    """Raises `ReplayError` unless the file is a certificate of this version, with its sum where there is a key."""
    try:
        content = json.loads(read_regular(path))
        if isinstance(content, dict) and (wrong := keyed.mistake(VERDICT, content)):
            raise ReplayError(f"{path}: {wrong}")
        plain = {name: value for name, value in content.items() if name != keyed.FIELD}
        return Certificate.from_json(from_json_value(plain))
    except OldCertificate as problem:
        raise ReplayError(f"{path}: {problem}") from problem
    except OSError as problem:
        raise ReplayError(f"{path}: cannot be read: {problem.strerror or problem}") from problem
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise ReplayError(f"{path}: is no certificate: it must be the verdict.json that a check wrote") from problem


def _judgement(certificate: Certificate, name: str, path: Path) -> Judgement:
    known = {judgement.name: judgement for judgement in certificate.judgements}
    then = known.get(cast(PropertyName, name))
    if then is None:
        nearest = difflib.get_close_matches(name, list(known), n=1)
        hint = f": did you mean {nearest[0]}?" if nearest else f": it has {', '.join(known)}"
        raise ReplayError(f"{path}: has no property {name}{hint}")
    if name not in PROPERTIES or then.version != PROPERTIES[then.name].version:
        now = PROPERTIES[then.name].version if name in PROPERTIES else "none"
        raise ReplayError(f"{path}: {name} is of version {then.version}, here it has version {now}: check again")
    return then


class _MadeWith(BaseModel):
    """The circumstances of a module's certificate that its replay needs."""

    module: str
    module_sha256: str
    vocab_size: Annotated[int, Field(ge=1, le=MOST_ROWS)] | None
    width: Annotated[int, Field(ge=1, le=MOST_ROWS)] | None
    max_length: Annotated[int, Field(ge=1, le=MOST_ROWS)]
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    environment: list[str] = []
    """Names of the variables that were passed on."""


def _of_module(certificate: Mapping[str, Any], then: Judgement, check: Check, path: Path) -> Judgement:
    try:
        made = _MadeWith.model_validate(certificate, strict=True)
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False)[0]
        raise ReplayError(f"{path}: is damaged: {'.'.join(map(str, first['loc']))}: {first['msg']}") from problem
    named = made.module
    reference = Pretrained.parse(named.removeprefix("hf:")) if named.startswith("hf:") else Reference.parse(named)
    if source_sum(reference.path) != made.module_sha256:
        raise ReplayError(f"{reference.path}: differs from the module of {path} (another sha256): check again")
    suite = SuiteSpec(name="replay", properties={then.name: check})
    request = Request(
        reference, suite, made.vocab_size, made.width, made.max_length,
        seconds=240.0, seed=made.seed, environment=tuple(made.environment),
    )  # fmt: skip
    return replay_module(request, then.name, then.case)
