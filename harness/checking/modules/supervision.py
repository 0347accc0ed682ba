"""Checking a module from outside: another process does it, and a hang or a crash in it is a verdict, not an end."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from cortexzoo.harness.checking.modules.account import Account, Found
from cortexzoo.harness.checking.modules.channel import Tampered
from cortexzoo.harness.checking.modules.child import MOST_WRITTEN, Child, started
from cortexzoo.harness.checking.modules.limits import MOST_PROCESSES
from cortexzoo.harness.checking.modules.patience import Patience
from cortexzoo.harness.checking.modules.processes import memory_and_number, on_guard
from cortexzoo.harness.checking.modules.request import Request
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.specs.properties import PropertyName

POLL = 0.02
LOOK = 0.5
"""Seconds between two looks at what the processes take."""
START_LIMIT = 60.0
"""Seconds that a child may compute, or idle, to start Python and torch."""
MAKING = 4
"""Times what one case may take, to make the module and to find out what it takes."""
HINT = " (the limit follows --budget: raise it if the module is only slow)"
MOST_HANGS = 3
"""After so many the rest is not tried: each costs its limit."""
FOREIGN = "the channel of results brought {}, which this check did not send: no verdict of the process counts"


def check_module(request: Request, begun: Callable[[PropertyName], None] = lambda _: None) -> Found:
    """Judge every property of the suite. A child that hangs or dies costs the property it was at, not the others.

    Raises `ModuleError` when the module cannot be tested at all.
    """
    found = Found()
    over = time.monotonic() + request.seconds
    waiting = list(request.suite.properties)
    hangs = 0
    with on_guard() as orphans:
        while waiting:
            seconds = max(1.0 * len(waiting), over - time.monotonic())
            account = Account(request, found, waiting, begun)
            try:
                with started(request.as_json(waiting, seconds), orphans) as child:
                    ended = _follow(child, account, request.case_limit)
            except Tampered as problem:
                reason = FOREIGN.format(problem)
                found.judgements |= {n: account.error(n, reason, {}) for n in [*account.judged, *waiting]}
                break
            if ended is None:
                break
            # Before it was ready the module itself hangs or crashes, and would do so for every property.
            blamed = [waiting[0]] if account.ready else list(waiting)
            for name in blamed:
                waiting.remove(name)
                found.judgements[name] = account.error(name, ended, account.case if account.ready else {})
            hangs += "did not end" in ended
            if hangs >= MOST_HANGS:
                reason = f"not tried: {hangs} others hung"
                found.judgements |= {n: account.error(n, reason, {}) for n in waiting}
                break
    found.judgements = {name: _unoffered(found.judgements[name]) for name in request.suite.properties}
    return found


def replay_module(request: Request, name: PropertyName, case: Mapping[str, Any]) -> Judgement:
    """Judge one case of one property. Raises `ModuleError`."""
    found = Found()
    account = Account(request, found, [name], lambda _: None)
    try:
        with (
            on_guard() as orphans,
            started({**request.as_json([name], request.seconds), "case": dict(case)}, orphans) as child,
        ):
            ended = _follow(child, account, request.case_limit)
    except Tampered as problem:
        ended = FOREIGN.format(problem)
    return found.judgements[name] if ended is None else account.error(name, ended, case)


def _follow(child: Child, account: Account, case_limit: float) -> str | None:
    """Listen until everything is judged (None), or give the reason why it will not be. Raises `Tampered`."""
    patience = Patience(child.process.pid, START_LIMIT)
    look = time.monotonic() + LOOK
    while True:
        dead = child.process.poll() is not None
        for event, content in child.last_news() if dead else child.news(POLL):
            account.take(event, content)
            if event == "started" and account.process is not None:
                patience = Patience(account.process, START_LIMIT)
            patience.renew(case_limit if account.ready else MAKING * case_limit if event == "prepared" else START_LIMIT)
        if not account.waiting:
            return None
        if dead:
            return child.how_it_died()
        if patience.is_over:
            what = "the case" if account.ready else "making it, or its first call,"
            return f"{what} did not end within {patience.limit:.0f} s{HINT}"
        if child.written > MOST_WRITTEN:
            return f"it wrote more than {MOST_WRITTEN >> 20} MB to standard error"
        if time.monotonic() > look:
            look = time.monotonic() + LOOK
            memory, number = memory_and_number(child.process.pid)
            if memory > child.memory:
                return f"its processes took more than {child.memory / 1e9:.1f} GB of memory together"
            if number > MOST_PROCESSES:
                return f"it started more than {MOST_PROCESSES} processes"


def _unoffered(judgement: Judgement) -> Judgement:
    """A property that needs something the module does not offer is expected to be skipped."""
    if judgement.verdict == "skipped":
        return replace(judgement, expected="skipped", expected_reason="")
    return judgement
