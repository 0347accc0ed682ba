"""The process between a check and a module: `python -m cortexzoo.harness.checking.modules.warden`.

It starts the worker, which runs the module, and ends everything that the worker has started once the worker or the
check has ended. It reads nothing from the module, so nothing that the module does can confuse it; if the module kills
it, the worker ends too and the check takes over the rest.
"""

import os
import select
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

PAUSE = 20
"""Milliseconds between two looks at the worker."""


def main() -> None:
    """Start the worker and wait. Ends as the worker did: with its exit code, or by its signal."""
    if not hasattr(os, "fork"):
        _work()
        return
    from cortexzoo.harness.checking.modules.processes import adopt_orphans, end_descendants

    adopt_orphans()
    warden = os.getpid()
    worker = os.fork()
    if worker == 0:
        _begin(warden)
        _work()
        return
    _silence(1)
    ended = _ending_of(worker)
    end_descendants(warden)
    _end_as(ended)


def _begin(warden: int) -> None:
    from cortexzoo.harness.checking.modules.processes import die_with_parent

    die_with_parent()
    if os.getppid() != warden:
        os._exit(1)
    os.setpgid(0, 0)


def _work() -> None:
    """Read the request, which names key and limits, then import torch and the module's check."""
    from cortexzoo.harness.checking.modules.channel import sender
    from cortexzoo.harness.checking.modules.limits import limit_this_process

    request = _request()
    results = os.dup(1)
    for descriptor in (0, 1):
        _silence(descriptor)
    send = sender(results, bytes.fromhex(request["key"]))
    limit_this_process(request["memory"])
    send("started", os.getpid())
    from cortexzoo.harness.checking.modules.worker import run

    run({name: value for name, value in request.items() if name != "key"}, send)


def _request() -> Mapping[str, Any]:
    import json

    content = b""
    while not content.endswith(b"\n"):
        if not (piece := os.read(0, 1 << 16)):
            sys.exit(1)
        content += piece
    request: Mapping[str, Any] = json.loads(content)
    return request


def _silence(descriptor: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, descriptor)
    os.close(nothing)


def _ending_of(worker: int) -> int | None:
    """The wait status of the worker; None once the check itself has ended, which closes the pipe of the request."""
    check = select.poll()
    check.register(0, 0)
    while True:
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                if found[0] == worker:
                    return found[1]
        if check.poll(PAUSE):
            return None


def _end_as(status: int | None) -> None:
    if status is not None and os.WIFSIGNALED(status):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with suppress(OSError):  # SIGKILL and SIGSTOP have no other disposition
            signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(0 if status is None else os.WEXITSTATUS(status))


if __name__ == "__main__":
    main()
