"""Pages name only what is there: properties, mutants, pictures, pages. The generated references leave nothing out."""

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from cortexzoo.harness.checking.mutants.library import MUTANTS
from cortexzoo.harness.cli import main
from cortexzoo.harness.cli.commands import COMMANDS
from cortexzoo.harness.cli.docs_command import stale_pages
from cortexzoo.harness.cli.reference import command_reference, spec_reference
from cortexzoo.specs.base import Spec
from cortexzoo.specs.kinds import KINDS
from cortexzoo.specs.loading.slots import field_slots
from cortexzoo.specs.properties import PROPERTY_NAMES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GENERATED = {"spec-reference.md", "commands.md"}


def rows(page: str) -> list[list[str]]:
    """The cells of every table of a page, header and rule apart."""
    lines = [line for line in (DOCS / page).read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_every_property_and_mutant_of_the_prototypes_page_exists() -> None:
    mutants = {mutant.name for mutant in MUTANTS}
    table = [row for row in rows("prototypes.md") if names(row[-1])]
    assert len(table) > 15
    for row in table:
        assert set(names(row[-1])) <= mutants, row
        assert set(names(row[-2])) <= set(PROPERTY_NAMES), row


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_every_picture_is_there_and_small(page: Path) -> None:
    for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        assert (DOCS / picture).stat().st_size < 200_000, picture


def test_the_menu_names_every_page() -> None:
    menu = YAML(typ="safe", pure=True).load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    named = set(re.findall(r"[a-z0-9-]+\.md", str(menu)))
    assert named == {page.name for page in DOCS.glob("*.md")} | GENERATED


def spec_classes(outer: type[Spec] = Spec) -> set[type[Spec]]:
    found = {each for each in outer.__subclasses__() if each.__module__.startswith("cortexzoo.specs.")}
    return found | {inner for each in found for inner in spec_classes(each)}


def test_the_spec_reference_has_every_value_with_its_source() -> None:
    text = spec_reference()
    abstract = {each for each in spec_classes() if spec_classes(each)}
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", text, re.DOTALL | re.MULTILINE))
    assert {each.__name__ for each in spec_classes() - abstract} - {"Origin"} == set(sections)
    assert re.findall(r"^## (\w+)$", text, re.MULTILINE) == list(KINDS)
    for spec_class in spec_classes() - abstract:
        if spec_class.__name__ == "Origin":
            continue
        section = sections[spec_class.__name__]
        for name, slot in field_slots(spec_class).items():
            if name in ("name", "description", "provenance"):
                continue
            assert f"`{name}" in section, f"{spec_class.__name__}.{name}"
            line = next((line for line in section.splitlines() if line.startswith(f"| `{name}` |")), None)
            assert line is None or slot.source is None or str(slot.source) in line


def test_the_command_reference_has_every_command() -> None:
    text = command_reference()
    assert set(re.findall(r"^## `cortexzoo ([a-z-]+)`$", text, re.MULTILINE)) == set(COMMANDS)
    assert "`--executor <local|slurm>`" in text


def test_generated_tables_are_fresh() -> None:
    assert stale_pages(DOCS) == {}, "run `cortexzoo docs --write`"


def test_a_stale_table_is_found_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- begin properties -->\nstale\n<!-- end properties -->\nafter\n")
    assert main(["docs", "--docs", str(tmp_path), "--check"]) == 1
    assert capsys.readouterr().err == f"{page} is stale: run `cortexzoo docs --write`\n"
    assert main(["docs", "--docs", str(tmp_path), "--write"]) == 0
    assert main(["docs", "--docs", str(tmp_path), "--check"]) == 0
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "stale" not in text
    assert [row for row in text.splitlines() if row.startswith("| `causality` |")]
    assert all(f"`{name}`" in text for name in PROPERTY_NAMES)


def test_docs_needs_something_to_do() -> None:
    assert main(["docs"]) == 2
