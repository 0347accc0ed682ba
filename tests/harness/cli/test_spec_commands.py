"""The commands that only read and write specs: what they print, what they end with, and what they never import."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cortexzoo.harness.cli import errors, list_command, main, show_command
from cortexzoo.specs import load, shipped_names
from cortexzoo.specs.kinds import KINDS
from cortexzoo.specs.loading.shipped import LIBRARY
from cortexzoo.zoo.costs import parameter_count
from tests.quick import every

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs one command in an empty folder: its exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def run_command(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run_command


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["train", "--help"],
        ["list"],
        ["show", "robust"],  # a model costs what torch counts of it
        ["validate", *map(str, LIBRARY.rglob("*.yaml"))],
    ],
    ids=["help", "help of a command", "list", "show", "validate"],
)
def test_nothing_heavy_is_imported(arguments: list[str]) -> None:
    heavy = ["torch", "numpy", "transformers", "faiss", "aim", "accelerate", "matplotlib", "hypothesis", "safetensors"]
    program = (
        "import sys; from cortexzoo.harness.cli import main; code = main(sys.argv[1:]); "
        f"assert not (found := set(sys.modules) & set({heavy})), found; sys.exit(code)"
    )
    ended = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    warned = [line for line in ended.stderr.splitlines() if "phase-1.yaml: consolidation.every is 500" not in line]
    assert (ended.returncode, warned) == (0, [])


def test_without_a_command_the_help_is_shown(run: Run) -> None:
    code, out, err = run()
    assert (code, err) == (0, "")
    assert all(command in out for command in ("list", "show", "validate", "schema", "new"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "transfromer"], "transfromer: no spec of this name is shipped; did you mean transformer?"),
        (["show", "transformer", "--seed", "-1"], "--set seed=-1: seed must be >= 0, got -1"),
        (["show", "transformer", "--seed", "three"], "--set seed=three: seed must be an integer, got 'three'"),
        (["show", "transformer", "--recipe", "robst"],
         "--set recipe=robst: no recipe called 'robst' is shipped; did you mean robust?"),
        (["show", "transformer", "--set", "steps=7"],
         "--set steps=7: steps is unknown; did you mean recipe.steps?"),
        (["show", "cortex-v2-hybrid", "--set", "variant.mixer.persistence.slowest_bias=1"],
         "--set variant.mixer.persistence.slowest_bias=1: variant.mixer.persistence is now variant.mixer.decay"),
        (["train", "robust"], "robust: is a recipe, and an experiment is needed here; use it with --recipe robust"),
        (["show", "transformer", "--recipe", "transformer"],
         "--set recipe=transformer: transformer is a variant, and a recipe is needed here"),
        (["schema"], "schema takes a kind, or --write, or --check"),
        (["schema", "recipe", "--check"], "schema takes a kind, or --write, or --check"),
        (["list", "--json", "no/x.json"], "--json no/x.json: cannot be written: No such file or directory"),
        (["new", "no/x.yaml", "--from", "robust"], "no/x.yaml: cannot be written: No such file or directory"),
        (["new", "x.yaml", "--from", "robst"], "robst: no spec of this name is shipped; did you mean robust?"),
        (["new", "x", "--from", "robust"], "x: a spec file ends in .yaml, as in x.yaml"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_code_2(run: Run, arguments: list[str], said: str) -> None:
    code, _, err = run(*arguments)
    assert (code, err) == (2, said + "\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lsit"], "No such command 'lsit'"),
        (["show"], "Missing argument 'NAME|FILE'"),
        (["show", "transformer", "--sed", "3"], "No such option: --sed"),
        (["list", "recipes"], f"'recipes' is not one of {', '.join(map(repr, KINDS))}"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(run: Run, arguments: list[str], said: str) -> None:
    code, _, err = run(*arguments)
    assert (code, err.count("\n")) == (2, 1)
    assert said in err and err.endswith(" (see --help)\n")


def test_list(run: Run) -> None:
    code, out, _ = run("list", "--json", "list.json")
    rows = json.loads(Path("list.json").read_text(encoding="utf-8"))
    assert code == 0
    assert {(row["kind"], row["name"]) for row in rows} == {(k, name) for k in KINDS for name in shipped_names(k)}
    assert all(row["description"] == load(row["name"], row["kind"]).description for row in rows)
    assert any(line.split()[:2] == ["experiment", "cortexgpt-stable"] for line in out.splitlines())
    _, only_recipes, _ = run("list", "recipe")
    assert [line.split()[1] for line in only_recipes.splitlines()[1:]] == shipped_names("recipe")


def test_show(run: Run) -> None:
    arguments = ["transformer", "--recipe", "original", "--set", "recipe.steps=7", "--seed", "3", "--json", "show.json"]
    code, out, _ = run("show", *arguments)
    changed = load("transformer", "experiment", ["recipe=original", "recipe.steps=7", "seed=3"])
    assert code == 0
    assert f"experiment transformer · hash {changed.hash()} · {parameter_count(changed.variant):,} parameters" in out
    rows = {line.split()[0]: line.split(maxsplit=2)[1:] for line in out.splitlines() if line}
    assert rows["recipe.steps"] == ["7", "--set recipe.steps=7"]
    assert rows["seed"] == ["3", "--set seed=3"]
    assert rows["recipe.optimizer.beta2"][1].startswith("library/recipes/original.yaml:")
    assert rows["recipe.monitor.validation_sequences"] == ["null", "default (ours: convention of this project)"]
    told = json.loads(Path("show.json").read_text(encoding="utf-8"))
    assert (told["kind"], told["name"], told["hash"]) == ("experiment", "transformer", changed.hash())
    assert told["values"]["recipe.steps"] == {"value": 7, "written": "--set recipe.steps=7", "source": None}
    assert told["values"]["recipe.batch_size"] == {
        "value": 8, "written": None, "source": {"kind": "ours", "where": "convention of this project"},
    }  # fmt: skip


def test_a_set_counts_over_the_short_option_wherever_it_stands(run: Run) -> None:
    _, out, _ = run("show", "transformer", "--set", "recipe=phase-1", "--recipe", "original")
    name = next(line for line in out.splitlines() if line.startswith("recipe.name "))
    assert name.split()[1] == "phase-1"


def test_show_of_another_kind(run: Run) -> None:
    _, out, _ = run("show", "transformer", "--kind", "variant")
    assert out.startswith("variant transformer · ")
    _, out, _ = run("show", "robust")
    assert out.splitlines()[0] == f"recipe robust · hash {load('robust').hash()}"


def test_show_says_what_an_experiment_costs(run: Run) -> None:
    _, out, _ = run("show", "cortexgpt-stable", "--set", "recipe.steps=7", "--json", "show.json")
    lines = [line.split(maxsplit=1) for line in out.splitlines()]
    assert ["trained,", "all together  918,092"] in lines
    assert ["moments", "of AdamW                      7.34 MB"] in lines
    assert "the whole training: 7 steps of 8 × 128 tokens, 29.2 GFLOP without validation" in out
    costs = json.loads(Path("show.json").read_text(encoding="utf-8"))["costs"]
    assert sum(costs["parameters"].values()) == 918_092


def test_only_experiments_and_variants_have_costs(run: Run) -> None:
    _, out, _ = run("show", "cortex-v2-hybrid-qwen", "--kind", "variant")
    assert "frozen: the base" in out
    _, out, _ = run("show", "robust", "--json", "show.json")
    assert "trained, all together" not in out
    assert "costs" not in json.loads(Path("show.json").read_text(encoding="utf-8"))


def test_show_measures_by_training_a_little(run: Run, tmp_path: Path) -> None:
    small = ["--set", "variant.hidden_size=16", "--set", "variant.num_layers=1", "--set", "recipe.sequence_length=16"]
    fewer = ["--set", "recipe.monitor.validation_sequences=4"]
    code, out, _ = run("show", "transformer", *small, *fewer, "--measure", "--json", "show.json")
    assert code == 0
    assert out.splitlines()[-1].startswith("expected duration: ")
    measured = json.loads(Path("show.json").read_text(encoding="utf-8"))["measured"]
    assert measured["steps"] == 500
    assert [file.name for file in tmp_path.iterdir()] == ["show.json"]


@pytest.mark.parametrize(("kind", "name"), every(2, [(kind, name) for kind in KINDS for name in shipped_names(kind)]))
def test_every_shipped_spec_can_be_shown(run: Run, kind: str, name: str) -> None:
    code, out, err = run("show", name, "--kind", kind, "--json", "show.json")
    assert (code, err) == (0, "")
    assert out.startswith(f"{kind} {name} · ")
    assert json.loads(Path("show.json").read_text(encoding="utf-8"))["values"]


def test_only_an_experiment_is_measured(run: Run) -> None:
    code, out, err = run("show", "robust", "--measure")
    assert (code, out) == (2, "")
    assert err == "--measure: only an experiment can be trained, got the recipe robust\n"


def test_validate_names_every_mistake_of_every_file(run: Run) -> None:
    Path("good.yaml").write_text("kind: recipe\nname: good\nsteps: 1000\n")
    Path("bad.yaml").write_text("kind: recipe\nname: bad\nsteps: 0\nstepz: 1\n")
    code, out, err = run("validate", "good.yaml", "bad.yaml", "none.yaml", "--json", "report.json")
    assert code == 2
    assert err.splitlines() == [
        "bad.yaml:3:8: steps must be > 0, got 0",
        "bad.yaml:4:1: stepz is unknown; did you mean steps?",
        "none.yaml: does not exist",
    ]
    assert out.splitlines()[1].split() == ["good.yaml", "recipe", "good", load("good.yaml").hash()]
    report = json.loads(Path("report.json").read_text(encoding="utf-8"))
    assert [entry["valid"] for entry in report] == [True, False, False]
    assert report[1]["problems"] == err.splitlines()[:2]
    assert run("validate", "good.yaml")[0] == 0


def test_validate_warns_of_a_recipe_that_never_consolidates_before_its_end(run: Run) -> None:
    code, _, err = run("validate", "phase-1")
    assert code == 0
    assert "consolidation.every is 500 and steps 500: long-term memory stays empty until the end of training" in err


@pytest.mark.parametrize(("room", "warned"), [(393_216, True), (619_199, True), (619_200, False)])
def test_validate_warns_of_two_texts_in_a_memory_with_room_for_one(run: Run, room: int, warned: bool) -> None:
    Path("two-texts.yaml").write_text(
        "kind: experiment\nname: two-texts\nrecipe: continual\ndata: python-library\nsuite: cortexgpt-stable\n"
        f"variant: {{extends: cortexgpt-stable, name: roomy, memory: {{long_term: {{capacity: {room}}}}}}}\n"
    )
    code, _, err = run("validate", "two-texts.yaml")
    assert code == 0
    assert (f"variant.memory.long_term.capacity is {room} and training makes 619200 entries" in err) == warned


def test_new_writes_a_file_that_loads_and_never_overwrites(run: Run) -> None:
    code, out, _ = run("new", "mine.yaml", "--from", "robust")
    assert (code, out) == (
        0,
        "mine.yaml written; `cortexzoo show mine.yaml` shows its values\n"
        ".cortexzoo-schema: schemas for editors, to be committed with it\n",
    )
    assert load("mine.yaml", "recipe").optimizer == load("robust", "recipe").optimizer
    before = Path("mine.yaml").read_bytes()
    assert run("new", "mine.yaml", "--from", "phase-1") == (2, "", "mine.yaml exists already; nothing was written\n")
    assert Path("mine.yaml").read_bytes() == before
    assert run("new", "v.yaml", "--from", "transformer", "--kind", "variant")[0] == 0
    assert load("v.yaml").name == "v"


def test_schema(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = run("schema", "recipe")
    assert (code, json.loads(out)["title"]) == (0, "cortexzoo recipe")
    monkeypatch.setattr("cortexzoo.specs.loading.schema_export.SCHEMAS", tmp_path / "schema")
    assert run("schema", "--check")[0] == 1
    assert run("schema", "--write") == (0, "", "")
    assert run("schema", "--check") == (0, "", "")
    (tmp_path / "schema" / "data.json").write_text("{}")
    assert run("schema", "--check") == (1, "", "schema/data.json is stale: run `cortexzoo schema --write`\n")


def test_a_defect_is_told_apart_from_bad_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("lost")

    monkeypatch.setattr(show_command, "load_with_origins", broken)
    code, _, err = run("show", "transformer")
    assert code == errors.FAILED
    assert "Traceback" in err and "bug in cortexzoo" in err


def test_a_full_disk_is_no_defect(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(list_command, "print_table", full)
    code, _, err = run("list")
    assert (code, err) == (errors.FAILED, "error: [Errno 28] No space left on device\n")


def test_a_reader_that_leaves_early_is_no_defect() -> None:
    """As in `cortexzoo show cortexgpt-stable | head -1`."""
    program = "import sys; from cortexzoo.harness.cli import main; sys.exit(main(['show', 'cortexgpt-stable']))"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == errors.CLOSED_PIPE


@pytest.mark.parametrize("name", shipped_names("experiment"))
def test_every_shipped_experiment_is_shown(name: str, run: Run, tmp_path: Path) -> None:
    code, out, _ = run("show", name, "--json", str(tmp_path / "shown.json"))
    assert code == 0
    assert "the whole training: " in out
    shown = json.loads((tmp_path / "shown.json").read_text())
    assert shown["values"]["recipe.steps"]["value"] == load(name, "experiment").model_dump()["recipe"]["steps"]
