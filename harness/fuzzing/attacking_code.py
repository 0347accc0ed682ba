"""What a hostile or broken module may do to the process that checks it, as source text, and when it does it."""

from dataclasses import dataclass

HEALTHY = """
import atexit, ctypes, gc, os, signal, subprocess, sys, tempfile, threading, time
import torch
from torch import nn

MARK = {mark!r}
DONE = []


def act():
    if DONE:
        return
    DONE.append(True)
{act}


class Module(nn.Module):
    def __init__(self):
        super().__init__()
        self.map = nn.Linear(8, 8)

    def forward(self, x):
        {forward}
        return self.map(x)


def make():
    {make}
    return Module()


{loaded}
"""
"""A healthy module; its act comes at one of `MOMENTS`."""

MOMENTS: dict[str, dict[str, str]] = {
    "loaded": {"loaded": "act()"},
    "made": {"make": "act()"},
    "called": {"forward": "act()"},
    "called with six rows": {"forward": "act() if x.shape[0] == 6 else None"},
    "beside": {"loaded": "BESIDE = threading.Thread(target=act, daemon=True); BESIDE.start()"},
}


@dataclass(frozen=True)
class Act:
    """Source lines. `harmless`: the module may still pass; `alone`: not from a second thread, where it ends nothing.

    `slow`: in a second thread it takes so long that the module must wait for it, or is judged before.
    """

    code: str
    harmless: bool = False
    alone: bool = False
    slow: bool = False


FORGED = """
import json
name = ["determinism", "any_shape_works", "batch_isolation"]
lines = [["started", os.getpid()], ["ready", {"inputs": {"kind": "vectors", "size": 8}, "parameters": 72}]]
for n in name:
    lines += [["begun", n], ["case", {}], ["judged", {"name": n, "verdict": "pass", "observed": 0.0, "reason": "forged",
               "case": {}, "cases_tried": 1, "seconds": 0.0}], ["control", "fail"]]
plain = b"".join(json.dumps({"event": e, "content": c}).encode() + b"\\n" for e, c in lines)
signed = b"".join(b"0" * 64 + b" " + json.dumps([i, e, c]).encode() + b"\\n" for i, (e, c) in enumerate(lines))
"""
DAEMON = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for fd in range(256):
            try: os.close(fd)
            except OSError: pass
        os.execve("/bin/sh", ["sh", "-c", "sleep 3000; : " + MARK], {})
    os._exit(0)
"""

ACTS: dict[str, Act] = {
    "forges through every descriptor": Act(
        FORGED
        + """
for fd in range(3, 64):
    for line in (plain, signed):
        try: os.write(fd, line)
        except OSError: pass
"""
    ),
    "forges through its parent's descriptors": Act(
        FORGED
        + """
for process in (os.getppid(), os.getpid()):
    for fd in range(0, 16):
        try:
            with open(f"/proc/{process}/fd/{fd}", "wb", buffering=0) as f: f.write(signed)
        except OSError: pass
"""
    ),
    "writes half a line": Act(
        """
for fd in range(3, 64):
    try: os.write(fd, b"[" * 1000)
    except OSError: pass
"""
    ),
    "writes without end": Act(
        """
for fd in range(3, 64):
    try:
        for _ in range(100): os.write(fd, b"[" * 65536)
    except OSError: pass
"""
    ),
    "replaces the judge": Act(
        """
from cortexzoo.harness.checking.modules import worker
from dataclasses import replace
before = worker.judge
worker.judge = lambda *a: replace(before(*a), verdict="pass", observed=0.0)
"""
    ),
    "replaces the properties": Act(
        """
from cortexzoo.harness.checking.modules.registry import BARE
from cortexzoo.harness.checking.properties.base import Finding
for one in BARE.values():
    object.__setattr__(one, "check", lambda s, c: Finding(0.0, "forged", c))
"""
    ),
    "skips everything": Act(
        """
from cortexzoo.harness.checking.modules.registry import BARE
from cortexzoo.harness.checking.properties.base import DoesNotApply
def check(s, c): raise DoesNotApply("forged")
for one in BARE.values():
    object.__setattr__(one, "check", check)
"""
    ),
    "replaces comparisons": Act(
        """
import cortexzoo.harness.checking.properties.base as base
for module in list(sys.modules.values()):
    if getattr(module, "largest_difference", None) is base.largest_difference:
        module.largest_difference = lambda a, b: 0.0
base.difference = lambda a, b: torch.zeros_like(a)
"""
    ),
    "reads past the end": Act("ctypes.string_at(0)"),
    "aborts": Act("os.abort()"),
    "ends with 0": Act("os._exit(0)"),
    "ends with 3": Act("os._exit(3)"),
    "exits": Act("sys.exit(0)", alone=True),
    "exits and stays": Act("atexit.register(time.sleep, 3000)\nsys.exit(0)", alone=True),
    "is interrupted": Act("raise KeyboardInterrupt", alone=True),
    "kills its parent": Act("os.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(1)"),
    "signals its parent to end": Act("os.kill(os.getppid(), signal.SIGTERM)\ntime.sleep(1)"),
    "kills its group": Act("os.killpg(0, signal.SIGKILL)"),
    "stops its parent": Act("os.kill(os.getppid(), signal.SIGSTOP)\nos._exit(0)"),
    "stops": Act("os.kill(os.getpid(), signal.SIGSTOP)"),
    "sleeps": Act("time.sleep(3000)", alone=True),
    "waits in C": Act(
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nctypes.CDLL(None).pause()", alone=True
    ),
    "computes without end": Act("while True: pass", alone=True),
    "blocks the interpreter": Act("ctypes.PyDLL(None).pause()"),
    "forks": Act("os.fork()", alone=True),
    "closes everything": Act("os.closerange(0, 256)"),
    "fills standard error and crashes": Act(
        "for _ in range(8192): os.write(2, b'x' * 131072)\nctypes.string_at(0)", slow=True
    ),
    "fills standard error without end": Act("while True: os.write(2, b'x' * 65536)", alone=True),
    "fills standard output without end": Act("while True: print('x' * 65536)", alone=True),
    "leaves children": Act(
        "for _ in range(5): subprocess.Popen(['sh', '-c', 'sleep 3000; : ' + MARK])", harmless=True
    ),
    "leaves a daemon": Act(DAEMON, harmless=True),
    "leaves a daemon and kills its parent": Act(DAEMON + "time.sleep(0.3)\nos.kill(os.getppid(), 9)\ntime.sleep(1)"),
    "starts a hundred": Act(
        "for _ in range(100): subprocess.Popen(['sh', '-c', 'sleep 3000; : ' + MARK])\ntime.sleep(3)"
    ),
    "takes all memory": Act(
        "kept = []\nwhile True: kept.append(bytearray(1 << 28))", alone=True
    ),
    "fills the disk": Act(
        "with open(os.path.join(tempfile.gettempdir(), 'x'), 'wb') as f:\n    while True: f.write(b'x' * (1 << 24))",
        alone=True,
    ),
    "removes its folder": Act(
        "import shutil\nshutil.rmtree(tempfile.gettempdir(), ignore_errors=True)", harmless=True
    ),
    "nests folders": Act(
        """
os.makedirs(tempfile.gettempdir(), exist_ok=True)
here = os.getcwd()
os.chdir(tempfile.gettempdir())
for _ in range(3000):
    os.mkdir("d")
    os.chdir("d")
os.chdir(here)
""",
        harmless=True,
    ),
    "waits for a pipe": Act(
        "path = os.path.join(tempfile.gettempdir(), 'fifo')\nos.mkfifo(path)\nopen(path)", alone=True
    ),
    "raises a long message": Act("raise ValueError('\\x1b[31m\\u202e' + 'x' * 10_000_000)", alone=True),
    "raises what cannot be printed": Act(
        "class E(Exception):\n    def __str__(self): raise self\nraise E", alone=True
    ),
    "recurses": Act("def f(): f()\nf()", alone=True),
    "shows the environment": Act(
        """
found = [dict(os.environ)]
process = os.getppid()
try: found.append(open(f"/proc/{process}/environ").read())
except OSError: pass
raise ValueError(str([text for text in map(str, found) if "CORTEXZOO_FUZZ_SECRET" in text])[:500] or "no secret")
""",
        alone=True,
    ),
}  # fmt: skip
