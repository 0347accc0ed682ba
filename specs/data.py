"""What to train on: text from the interpreter itself, from files or from JSONL, or a memory task."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cortexzoo.specs.base import FilePath, FilePaths, NamedSpec, PathText, PositiveFloat, Spec
from cortexzoo.specs.provenance import OURS
from cortexzoo.specs.task import TaskSpec
from cortexzoo.specs.text_vocabulary import ByteTokens, TextVocabularySpec


class PydocTopics(Spec):
    """The English help texts of the running Python (`pydoc_data.topics`, about 465 kB): no file, no network."""

    kind: Literal["pydoc_topics"] = "pydoc_topics"


Letter = Annotated[str, Field(pattern="^[a-z]$")]


class PythonLibrary(Spec):
    """Sources of the running Python's standard library: top-level modules whose names begin with these letters."""

    kind: Literal["python_library"] = "python_library"
    first: Annotated[Letter, OURS] = "n"
    last: Annotated[Letter, OURS] = "z"

    @model_validator(mode="after")
    def _some_letters(self) -> Self:
        if self.first > self.last:
            raise ValueError(f"last must not come before first = {self.first}, got {self.last}")
        return self


class TextFiles(Spec):
    """UTF-8 text files, by path or glob; relative paths are relative to the spec file that names them."""

    kind: Literal["files"] = "files"
    paths: Annotated[tuple[PathText, ...], Field(min_length=1), FilePaths()]


class JsonLines(Spec):
    """One JSON object a line; the text is under `field`. Paths as for `files`."""

    kind: Literal["jsonl"] = "jsonl"
    paths: Annotated[tuple[PathText, ...], Field(min_length=1), FilePaths()]
    field: Annotated[str, OURS] = "text"


class Almanac(Spec):
    """Generated facts about invented people, each stated once and asked for more than 10,000 bytes later.

    A volume states four facts of each of `people`, then four of each of `others`, then repeats the first ones in
    another order. No person is in two volumes.
    """

    kind: Literal["almanac"] = "almanac"
    volumes: Annotated[int, Field(ge=3, le=1000), OURS] = 10
    people: Annotated[int, Field(ge=1, le=10_000), OURS] = 80
    others: Annotated[int, Field(ge=110, le=10_000), OURS] = 120
    seed: Annotated[int, Field(ge=0), OURS] = 0


TextSource = Annotated[PydocTopics | PythonLibrary | TextFiles | JsonLines | Almanac, Field(discriminator="kind")]


class TextSpec(NamedSpec):
    """Language modelling on a text in three parts: training, then validation, then test.

    All choices are made on the validation part, the best checkpoint included. The test part is measured once, with that
    checkpoint, when training has finished.
    """

    kind: Literal["data"] = "data"
    family: Literal["text"] = "text"
    source: Annotated[TextSource, OURS] = PydocTopics.defaults()
    vocabulary: Annotated[TextVocabularySpec, OURS] = Field(
        ByteTokens.defaults(), description="The tokens that the text is read in."
    )
    validation_fraction: Annotated[float, Field(gt=0, lt=1), OURS] = 0.1
    test_fraction: Annotated[float, Field(gt=0, lt=1), OURS] = 0.1

    @model_validator(mode="after")
    def _something_to_train_on(self) -> Self:
        _require_training_part(self.validation_fraction, self.test_fraction)
        if isinstance(self.source, Almanac):
            for name, fraction in (("validation", self.validation_fraction), ("test", self.test_fraction)):
                volumes = fraction * self.source.volumes
                if abs(volumes - round(volumes)) > 1e-9:
                    raise ValueError(
                        f"{name}_fraction must be a whole number of the {self.source.volumes} volumes, got {fraction}: "
                        "a question must be in the same part as its statement"
                    )
        return self


class PreparedSpec(NamedSpec):
    """Language modelling on token files that `cortexzoo prepare` wrote: read as they are needed, never loaded whole.

    The folder has the three parts of the text and its tokenizer.
    """

    kind: Literal["data"] = "data"
    family: Literal["prepared"] = "prepared"
    path: Annotated[PathText, FilePath()] = Field(description="The folder that `cortexzoo prepare` wrote.")
    documents: Annotated[Literal["carry", "reset"], OURS] = Field(
        "carry",
        description="carry: sequences run on from one document into the next; reset: each is of one document, begins "
        "without memory of others, and what is left of its length is not scored.",
    )


Weight = Annotated[PositiveFloat, Field(le=1e6)]


class TextPart(Spec):
    """A text, read whole into memory."""

    kind: Literal["text"] = "text"
    weight: Weight
    source: TextSource


class PreparedPart(Spec):
    """A folder that `cortexzoo prepare` wrote, with its own three parts; read where it is needed."""

    kind: Literal["prepared"] = "prepared"
    weight: Weight
    path: Annotated[PathText, FilePath()]


TextParts = tuple[Annotated[TextPart | PreparedPart, Field(discriminator="kind")], ...]


class MixtureSpec(NamedSpec):
    """Language modelling on several texts: each training sequence is of one of them, as often as its weight.

    Every text has a training, a validation and a test part of its own. Held-out parts are measured whole, one after the
    other: there size counts, and not weight.
    """

    kind: Literal["data"] = "data"
    family: Literal["mixture"] = "mixture"
    parts: Annotated[TextParts, Field(min_length=2, max_length=100)]
    vocabulary: Annotated[TextVocabularySpec, OURS] = Field(
        ByteTokens.defaults(), description="The tokens of all parts; a prepared one must have been written in them."
    )
    validation_fraction: Annotated[float, Field(gt=0, lt=1), OURS] = Field(0.1, description="Of each text.")
    test_fraction: Annotated[float, Field(gt=0, lt=1), OURS] = Field(0.1, description="Of each text.")

    @model_validator(mode="after")
    def _something_to_train_on(self) -> Self:
        _require_training_part(self.validation_fraction, self.test_fraction)
        return self


def _require_training_part(validation_fraction: float, test_fraction: float) -> None:
    if validation_fraction + test_fraction >= 1:
        raise ValueError(
            f"test_fraction must be below 1 - validation_fraction = {1 - validation_fraction:g}, "
            f"got {test_fraction}: the rest is what trains"
        )


DataSpec = Annotated[TextSpec | PreparedSpec | MixtureSpec | TaskSpec, Field(discriminator="family")]
