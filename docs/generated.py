"""A hook of mkdocs: the pages that are made from the code when the documentation is built."""

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from cortexzoo.harness.cli.reference import command_reference, spec_reference

PAGES = {"spec-reference.md": spec_reference, "commands.md": command_reference}


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    for name, make in PAGES.items():
        files.append(File.generated(config, name, content=make()))
    return files
