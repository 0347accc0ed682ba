"""Variants from elsewhere: a module of a file of the user's, and architectures of transformers from scratch."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, ValidationError, ValidatorFunctionWrapHandler, WrapValidator, model_validator

from cortexzoo.specs.base import FilePath, NamedSpec, PathText, PositiveInt
from cortexzoo.specs.provenance import OURS


def _in_one_message(value: Any, inner: ValidatorFunctionWrapHandler) -> Any:
    """For a union, whose members would have a message each."""
    try:
        return inner(value)
    except ValidationError:
        raise ValueError("must be a number, a word, or true or false") from None


Argument = Annotated[bool | int | float | str, WrapValidator(_in_one_message)]
MaxLength = Annotated[PositiveInt | None, OURS]
MAX_LENGTH = (
    "Most tokens that one call takes; a document is then read in pieces of so many, each without those before it. "
    "Null: any number."
)


class ModuleSpec(NamedSpec):
    """A module that a function in a file of yours returns. Runs with `--allow-code` only."""

    kind: Literal["variant"] = "variant"
    family: Literal["module"] = "module"
    source: Annotated[PathText, FilePath()] = Field(description="FILE.py:FACTORY, as in my_model.py:make_model.")
    sha256: Annotated[str, OURS] = Field(
        "", pattern=r"^([0-9a-f]{64})?$", description="Sum of the file, written when the spec is loaded."
    )
    arguments: dict[str, Argument] = Field(
        default_factory=dict, description="Arguments of the factory by name, compared with its annotations."
    )
    vocab_size: Annotated[PositiveInt, OURS] = Field(256, description="Number of logits. 256: bytes.")
    max_length: MaxLength = Field(None, description=MAX_LENGTH)

    @model_validator(mode="after")
    def _names_a_function(self) -> Self:
        if not self.file.endswith(".py") or not self.factory.isidentifier():
            raise ValueError(f"source must be FILE.py:FACTORY, as in my_model.py:make_model, got {self.source}")
        return self

    @property
    def file(self) -> str:
        """The path of the file."""
        return self.source.rpartition(":")[0]

    @property
    def factory(self) -> str:
        """The name of the function."""
        return self.source.rpartition(":")[2]


class HuggingFaceSpec(NamedSpec):
    """Any causal language model of transformers with fresh weights, by its configuration: a control.

    Without carried state: what follows a text is computed from the whole text again.
    """

    kind: Literal["variant"] = "variant"
    family: Literal["huggingface"] = "huggingface"
    model_type: str = Field(min_length=1, description="As in a `config.json`, such as `mamba2`.")
    config: dict[str, JsonValue] = Field(
        default_factory=dict, description="Values of its configuration; the others have the defaults of transformers."
    )
    vocab_size: Annotated[PositiveInt, OURS] = Field(256, description="Bytes.")
    max_length: MaxLength = Field(None, description=MAX_LENGTH)
