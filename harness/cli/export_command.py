"""The command that writes a trained model as a folder to share. Everything heavy is imported inside it."""

from pathlib import Path
from typing import Annotated

import typer

from cortexzoo.harness.cli.errors import BadInput
from cortexzoo.harness.cli.options import RUNS, RunArgument, require_checkpoint
from cortexzoo.harness.cli.output import print_text, without_foreign_warnings


def export(
    run: RunArgument,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write; an export there is replaced.")],
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", metavar="best|last", help="Which checkpoint of the run.")
    ] = "best",
    push: Annotated[
        str | None,
        typer.Option("--push", metavar="ID", help="Then upload it to the Hugging Face hub as this repository."),
    ] = None,
) -> None:
    """Write a trained model as a folder to share.

    It has weights, memory, specs, verdicts and a model card; `cortexzoo.zoo.load_exported(DIR)` loads it. The data's
    spec is left out, because it may contain paths of this machine.

    Example: cortexzoo export runs/cortexgpt-stable/20250101-120000-000-abcd stable-500
    """
    from cortexzoo.harness.runs.export import export as write
    from cortexzoo.harness.runs.find import run_path
    from cortexzoo.harness.runs.run_folder import Run

    without_foreign_warnings()
    require_checkpoint(checkpoint)
    opened = Run.open(run_path(run, RUNS))
    print_text(f"wrote {write(opened, folder, checkpoint)}")
    if push is not None:
        print_text(f"uploaded to {_upload(folder, push)}")


def _upload(folder: Path, repository: str) -> str:
    """Raises `BadInput` without an account, a network or a valid name."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    api = HfApi()
    try:
        api.whoami()
        api.create_repo(repository, exist_ok=True)
        return str(api.upload_folder(repo_id=repository, folder_path=folder))
    except (HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BadInput(f"--push {repository}: not uploaded; {folder} is written: {reason}") from None
