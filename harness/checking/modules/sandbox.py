"""The check of a module within bubblewrap, where that is installed: no network, no files of the user's, own processes.

The whole command starts again inside, so that the process that judges is confined as well as the module.
"""

import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import cortexzoo.specs
from cortexzoo.harness.checking.modules.environment import scrubbed
from cortexzoo.harness.errors import BadInput

PROGRAM = "bwrap"
INSIDE = "CORTEXZOO_IN_SANDBOX"
HIDDEN = ("/tmp", "/var/tmp", "/run", "/home", "/root", "/mnt", "/media", "/srv")


def enter(reads: Sequence[Path], writes: Sequence[Path], names: Sequence[str]) -> None:
    """Start this command again in a sandbox, in place of this process; nothing, when this is inside already.

    Raises `BadInput` where bubblewrap is not installed.
    """
    if os.environ.get(INSIDE):
        return
    program = shutil.which(PROGRAM)
    if program is None:
        raise BadInput("--sandbox: bubblewrap is not installed (apt install bubblewrap); use a container instead")
    for folder in writes:
        folder.mkdir(parents=True, exist_ok=True)
    again = [sys.executable, "-m", "cortexzoo", *sys.argv[1:]]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(program, [*command(program, reads, writes), *again], environment(names))


def environment(names: Sequence[str], given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What the command sees inside: the same as a module's process."""
    return {**scrubbed(Path("/tmp"), given, names), INSIDE: "1"}


def command(program: str, reads: Sequence[Path], writes: Sequence[Path]) -> list[str]:
    """The command line of bubblewrap without the command that it runs.

    The system is there to read; the folders of users and temporary files are empty, but for Python, this package and
    `reads`, and for `writes`, where files can be written.
    """
    home = os.path.expanduser("~")
    hidden = [folder for folder in dict.fromkeys((*HIDDEN, home)) if os.path.isdir(folder) and folder != "/"]
    package = Path(cortexzoo.specs.__file__).resolve().parents[1]
    python: list[str | Path] = [sys.prefix, sys.base_prefix, *filter(None, sys.path), package]
    here = os.getcwd()
    return [
        program, "--die-with-parent", "--unshare-all", "--new-session", "--ro-bind", "/", "/", "--dev", "/dev",
        "--proc", "/proc", *(part for folder in hidden for part in ("--tmpfs", folder)),
        *_bound("--ro-bind", [*python, *reads]), *_bound("--bind", writes), "--dir", here, "--chdir", here,
    ]  # fmt: skip


def _bound(option: str, paths: Iterable[str | Path]) -> list[str]:
    found = dict.fromkeys(str(Path(path).absolute()) for path in paths if os.path.exists(path))
    return [part for path in found for part in (option, path, path)]
