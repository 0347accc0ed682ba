"""What a run on a card says of its trainings, and where a page has it; the run itself needs a card."""

import subprocess
import sys
from pathlib import Path

from cortexzoo.harness.bench import gpu
from cortexzoo.harness.bench.gpu.row import Row
from cortexzoo.harness.bench.gpu.trainings import Job, same_weights
from cortexzoo.harness.cli.docs_command import replaced

OUTPUT = "step 1/1 (9 tokens a second, 38 s in all)\nNot as expected: causality is fail instead of pass.\nnext: x"


def job(folder: Path, code: str) -> Job:
    log = folder / "log"
    with log.open("wb") as out:
        return Job(subprocess.Popen([sys.executable, "-c", code], stdout=out), log, folder, 0.0)


def test_a_training_says_how_long_it_took_and_which_verdicts_it_has(tmp_path: Path) -> None:
    code, _, said = job(tmp_path, f"print({OUTPUT!r}); raise SystemExit(1)").finish(60)
    assert (code, said) == (1, "trained in 38 s; Not as expected: causality is fail instead of pass")
    assert job(tmp_path, "print('it broke')").finish(60)[2] == "it broke"


def test_weights_of_a_training_that_was_cut_off_are_not_compared(tmp_path: Path) -> None:
    ended = [job(tmp_path, f"raise SystemExit({code})") for code in (0, 3)]
    for each in ended:
        each.process.wait()
    row = same_weights(*ended, "weights")
    assert (row.seen, row.fine) == ("exit codes 0 and 3: not compared", False)


def test_the_tables_stand_between_the_marks_of_a_page() -> None:
    rows = [Row("card", "name", "a | b"), Row("ops", "error", "1", False, "0")]
    page = replaced(gpu.EMPTY_PAGE, "gpu", lambda: gpu.tables(rows))
    assert "| name | a / b |  |  |" in page and "| error | 1 | 0 | **not within** |" in page
    assert replaced(page, "gpu", lambda: gpu.tables(rows)) == page
    assert all(mark in Path(__file__).parents[3].joinpath("docs", "gpu.md").read_text() for mark in gpu.MARKS)
