"""A trained model as a folder to share: weights, memory, specs, verdicts, and a model card. Loads without this room."""

import shlex
import shutil
from pathlib import Path

from cortexzoo.harness.checking.table import DIRECTION
from cortexzoo.harness.checking.verdict import VERDICT, Certificate
from cortexzoo.harness.runs.run_folder import CHECKPOINTS, CURVES, Run, RunFolderError
from cortexzoo.harness.runs.tokenizer import kept_tokenizer
from cortexzoo.specs import dump_yaml
from cortexzoo.zoo import checkpoints
from cortexzoo.zoo.checkpoints import CheckpointReader
from cortexzoo.zoo.exported import VARIANT
from cortexzoo.zoo.models.own_source import CODE

CARD, RECIPE = "README.md", "recipe.yaml"
LOADER = """```python
from cortexzoo.zoo import load_exported

model, memory = load_exported("{name}")
```"""


def export(run: Run, folder: Path, checkpoint: str = "best") -> Path:
    """Write the model of a finished run to `folder`, whole or not at all.

    The spec of the data stays behind, since it may name paths of this machine. Raises `RunFolderError` before training
    ended or where `folder` is something else than an export, and `CheckpointError` for a damaged checkpoint.
    """
    source = run.path / CHECKPOINTS / checkpoint
    if not checkpoints.exists(source):
        raise RunFolderError(f"{source}: no such checkpoint: training ended before it was saved")
    reader = CheckpointReader(source)
    for file in reader.sums:
        if file.startswith(("model.", "memory.s")):
            reader.verified(file)
    tokenizer = kept_tokenizer(run)
    checkpoints.begin(folder)
    partial = checkpoints.partial_folder(folder)
    try:
        for file in reader.sums:
            if file.startswith(("model.", "memory.s")):
                shutil.copyfile(reader.folder / file, partial / file)
        if tokenizer is not None:
            shutil.copyfile(tokenizer, partial / tokenizer.name)
        for name in (VERDICT, CURVES, CODE):
            if (run.path / name).is_file():
                shutil.copyfile(run.path / name, partial / name)
        (partial / VARIANT).write_text(dump_yaml(run.spec.variant), encoding="utf-8")
        (partial / RECIPE).write_text(dump_yaml(run.spec.recipe), encoding="utf-8")
        (partial / CARD).write_text(card(run, folder.name), encoding="utf-8")
        checkpoints.publish(folder)
    except BaseException:
        checkpoints.abandon(folder)
        raise
    return folder


def card(run: Run, name: str) -> str:
    """The model card as Markdown: what it is, how it was made, how to load it, and which properties it has."""
    spec, summary = run.spec, run.summary
    command = shlex.join(str(part) for part in run.manifest.get("command", ()))
    lines = [
        "---",
        "library_name: cortexzoo",
        "tags: [cortexzoo, memory-augmented-language-model]",
        "---",
        "",
        f"# {_plain(spec.name)}",
        "",
        f"{_plain(spec.description or spec.name)}. Variant `{spec.variant.name}`, recipe `{spec.recipe.name}`, data "
        f"`{spec.data.name}`, seed {spec.seed}, {summary.get('steps', spec.recipe.steps)} steps.",
        "",
        "Made by:",
        "",
        f"    {_plain(command)}",
        "",
        "Load it:",
        "",
        LOADER.format(name=_plain(name)),
        "",
    ]
    if (run.path / CURVES).is_file():
        lines += [f"![Curves of the run]({CURVES})", ""]
    if (run.path / VERDICT).is_file():
        lines += [*verdicts(run.certificate), ""]
    else:
        lines += ["No property was checked: `cortexzoo check RUN`, then export again.", ""]
    versions = ", ".join(f"{package} {version}" for package, version in run.manifest.get("versions", {}).items())
    lines += [f"Spec hash `{spec.hash()}`, data sum `{run.manifest.get('data_sha256')}`; {_plain(versions)}.", ""]
    return "\n".join(lines)


def verdicts(certificate: Certificate) -> list[str]:
    """The verdicts as a Markdown table."""
    rows = ["| property | verdict | expected | observed | bound |", "|---|---|---|---|---|"]
    for judgement in certificate.judgements:
        observed = "–" if judgement.observed is None else f"{judgement.observed:.4g}"
        bound = f"{DIRECTION[judgement.direction]} {judgement.bound:.4g}"
        rows.append(f"| {judgement.name} | {judgement.verdict} | {judgement.expected} | {observed} | {bound} |")
    return rows


def _plain(text: str) -> str:
    """One line in which nothing is Markdown or HTML."""
    escaped = "".join(f"\\{character}" if character in "`*_[]<>|#" else character for character in text)
    return " ".join("".join(character for character in escaped if character.isprintable()).split())
