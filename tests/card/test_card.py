"""Training on a card that is not there: nothing forgets the device, and the losses are those of the CPU."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.card import library
from tests.card.tiny_experiments import HALF, STEPS, trained

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")


OF_TRAINING = (
    *("steps_match_a_reference", "rollback_restores_everything", "sleep_matches_a_reference", "resume_is_exact"),
    *("held_out_is_measured_whole", "measuring_changes_nothing", "any_order_works", "every_field_counts"),
    *("weights_start_as_specified", "operators_match_formulas", "mistakes_are_refused"),
)
OF_RECALL = ("recall_is_trained_as_specified", "gradients_reach_the_facts")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What answers for the card."""
    return library.build(tmp_path_factory.mktemp("card"))


def there(built: Path, folder: Path, *arguments: str) -> dict[str, Any]:
    """What is found on the card: in a process of its own, since the card must be there before torch is."""
    out = folder / "found.json"
    command = [sys.executable, "-m", "tests.card.train_there", str(built), str(out), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    process = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert process.returncode == 0, process.stderr[-3000:]
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize(
    "name",
    [
        "cortexgpt-stable",
        pytest.param("cortexgpt-original", marks=pytest.mark.slow),
        pytest.param("cortex-v2-hybrid", marks=pytest.mark.slow),
    ],
)
def test_a_training_on_a_card_has_the_losses_of_the_cpu_and_is_resumed_exactly(
    name: str, built: Path, tmp_path: Path
) -> None:
    on_card, on_cpu = there(built, tmp_path, "trained", name), trained(name, tmp_path / "cpu")
    assert (on_card["device"], on_cpu["device"]) == ("cuda", "cpu")
    assert on_card["losses"] == pytest.approx(on_cpu["losses"], rel=1e-4)
    assert on_card["validation"] == pytest.approx(on_cpu["validation"], rel=1e-4)
    assert len(on_card["resumed"]) == STEPS - HALF
    assert on_card["resumed"] == on_card["losses"][HALF:]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cortexgpt-stable", "cortex-v2-hybrid"])
def test_a_trained_run_is_used_on_a_card_as_on_the_cpu(name: str, built: Path, tmp_path: Path) -> None:
    found = there(built, tmp_path, "used", name)
    on_card, on_cpu = found["cuda"], found["cpu"]
    assert on_card.keys() == on_cpu.keys()
    assert on_card["generate"] == on_cpu["generate"]
    for measured in on_card.keys() - {"generate"}:
        assert on_card[measured] == pytest.approx(on_cpu[measured], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "properties"),
    [("cortexgpt-stable", OF_TRAINING), ("cortex-v2-hybrid", (*OF_TRAINING, *OF_RECALL))],
)
def test_properties_of_training_are_judged_on_a_card(
    name: str, properties: tuple[str, ...], built: Path, tmp_path: Path
) -> None:
    verdicts = there(built, tmp_path, "judged", name, *properties)
    assert list(verdicts) == list(properties)
    assert {each: verdict for each, verdict in verdicts.items() if not verdict.startswith("pass")} == {}
