"""The end of a program that used Aim: its own exit handler never returns once one of its finalisers fails."""

import atexit
import sys
from contextlib import suppress
from typing import Any

from cortexzoo.harness.tracking.deadlines import CLOSING, DeadlineMissed, call_within, close_at_exit, is_stuck


def bound_exit(aim: Any) -> None:
    """Put an exit handler with a deadline in place of Aim's, once."""
    cleaner = aim.ext.cleanup.AutoClean
    if getattr(cleaner, "_bounded", False):
        return
    cleaner._bounded = True
    atexit.unregister(cleaner.cleanup)
    cleaner._registered_with_atexit = True
    close_at_exit(lambda: close_all(cleaner))


def close_all(cleaner: Any) -> None:
    """Run the finalisers of all that is open by priority, also after one raises; one line where time runs out."""
    if is_stuck():
        return

    def close() -> None:
        for _, finaliser in sorted(cleaner._finalizers.values(), key=lambda entry: -entry[0]):
            with suppress(Exception):
                finaliser()

    try:
        call_within(CLOSING, "closing Aim", close)
    except (DeadlineMissed, KeyboardInterrupt):
        print("Aim did not close: `cortexzoo aim-sync` writes its runs again from their folders", file=sys.stderr)
