"""The commands by name. One module is imported when its command runs, none for the list of commands."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

from cortexzoo.harness.cli.output import set_wide
from cortexzoo.specs.allowed_code import allow_in_this_process


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command is defined, and the first line of its help."""

    module: str
    """In `cortexzoo.harness.cli`."""
    function: str
    summary: str
    passes_arguments: bool = False
    """What follows its first argument belongs to another program."""

    def load(self) -> Callable[..., Any]:
        """The function that runs the command. Imports its module."""
        command: Callable[..., Any] = getattr(import_module(f"cortexzoo.harness.cli.{self.module}"), self.function)
        return command


PASSED_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "allow_interspersed_args": False}

COMMANDS = {
    "list": Entry("list_command", "list_specs", "List the shipped specs."),
    "show": Entry("show_command", "show", "Show every value of a spec and where it comes from, or a run."),
    "validate": Entry("validate_command", "validate", "Check spec files and report every mistake with its place."),
    "schema": Entry("schema_command", "schema", "Print the JSON Schema of a kind of spec, for editors."),
    "new": Entry("new_command", "new", "Write a spec file of your own that extends a shipped one."),
    "train": Entry("train_command", "train", "Train an experiment, draw its curves and check its properties."),
    "prepare": Entry(
        "prepare_command", "prepare", "Write token files from a corpus of any size, to train on without loading it."
    ),
    "allow-code": Entry(
        "allow_code_command",
        "allow_code",
        "Allow the code in a folder to run when a spec names it, or list the allowed folders.",
    ),
    "runs": Entry("runs_command", "runs", "List runs with their status and verdict."),
    "check": Entry("check_commands", "check", "Check the properties of a run, an experiment or a module of your own."),
    "replay": Entry("check_commands", "replay", "Repeat the case that a certificate names for a property."),
    "diff-certificates": Entry(
        "certificate_commands",
        "diff_certificates",
        "Compare two certificates, as a comment in Markdown for a pull request.",
    ),
    "badge": Entry("certificate_commands", "badge", "Draw the outcome of a certificate as a badge."),
    "evaluate": Entry(
        "evaluate_command", "evaluate", "Measure a trained run on a held-out part of its text, in nats a byte."
    ),
    "generate": Entry("generate_command", "generate", "Continue a text with a trained model."),
    "export": Entry("export_command", "export", "Write a trained model as a folder to share."),
    "stream": Entry("stream_command", "stream", "Read a text of any length through a trained model's memory."),
    "mutants": Entry("mutant_commands", "mutants", "Plant known defects and show which property catches each."),
    "regression": Entry("regression_commands", "regression", "Compare the shipped verdicts with the committed ones."),
    "drill": Entry("drill_commands", "drill", "Inject each fault into a short run and judge the response."),
    "frontier": Entry("study_commands", "frontier", "Find the learning rate at which training becomes unstable."),
    "ablate": Entry("study_commands", "ablate", "Switch off each ingredient in turn and measure what it is worth."),
    "bisect": Entry("bisect_command", "bisect", "Find the smallest set of spec values that flips a verdict."),
    "compare": Entry("compare_commands", "compare", "Compare experiments or runs, and write a report."),
    "sweep": Entry("compare_commands", "sweep", "Train every combination of a matrix and show one table."),
    "bench": Entry("bench_command", "bench", "Measure time and memory beside a peer, in turns in one process."),
    "study": Entry("program_commands", "study", "Repeat a study of the documentation.", passes_arguments=True),
    "docs": Entry("docs_command", "docs", "Write the generated tables of the documentation, or check them."),
    "monitor": Entry("monitor_commands", "monitor", "Follow runs while they train."),
    "fuzz": Entry("fuzz_command", "fuzz", "Attack the commands with hostile input and count what breaks."),
    "cache": Entry("cache_command", "cache", "List, verify or bound what is kept in the cache folder."),
    "aim-sync": Entry("aim_commands", "aim_sync", "Copy runs into Aim from their folders."),
}

BUILDS_MODELS = frozenset({
    "show", "train", "check", "replay", "evaluate", "generate", "export", "stream", "regression", "drill", "frontier",
    "ablate", "compare", "sweep", "bisect",
})  # fmt: skip
"""Commands that build the model of a spec or a run."""

BENCH_PROGRAM = Entry("program_commands", "bench_program", "Run a measurement.", passes_arguments=True)


def loaded(name: str, entry: Entry | None = None) -> TyperCommand:
    """One command with its arguments and options."""
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    entry = entry or COMMANDS[name]
    single.command(name, context_settings=PASSED_ON if entry.passes_arguments else None)(entry.load())
    command = get_command(single)
    assert isinstance(command, TyperCommand)
    command.help = unwrapped(command.help or "")
    command.params.append(_flag("wide", "Do not wrap tables to the terminal.", set_wide))
    allow_in_this_process(False)
    if name in BUILDS_MODELS:
        command.params.append(
            _flag("allow_code", "Run the Python file that a variant of the family module names.", allow_in_this_process)
        )
    return command


def unwrapped(text: str) -> str:
    """Each paragraph as one line, which the terminal wraps; examples keep theirs."""
    return "\n\n".join(
        paragraph if paragraph.startswith("Example:") else " ".join(paragraph.split("\n"))
        for paragraph in text.split("\n\n")
    )


def _flag(name: str, text: str, set_to: Callable[[bool], None]) -> TyperOption:
    """An option that many commands take and none of them sees: its value goes to `set_to`."""
    prototype = typer.Typer(add_completion=False)
    words = f"--{name.replace('_', '-')}"

    def command(value: Annotated[bool, typer.Option(words, help=text)] = False) -> None: ...

    prototype.command()(command)
    (option,) = (each for each in get_command(prototype).params if isinstance(each, TyperOption) and words in each.opts)
    option.expose_value = False
    option.callback = lambda context, parameter, value: set_to(value)
    return option


class LazyGroup(TyperGroup):
    """Lists commands by name and summary; the one that is called is imported."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: TyperCommand(name, help=entry.summary) for name, entry in COMMANDS.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """As of any group; `None` where no command is complete yet, as while a shell completes one."""
        name, command, rest = super().resolve_command(ctx, args)
        if name == "bench" and rest:
            from cortexzoo.harness.cli.program_commands import BENCH_PROGRAMS

            if rest[0] in BENCH_PROGRAMS:
                return name, loaded(name, BENCH_PROGRAM), rest
        return name, loaded(name) if name in COMMANDS else command, rest
