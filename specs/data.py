"""What to train on: byte-level text from the interpreter itself, from files or from JSONL, or a memory task."""

from typing import Annotated, Literal

from pydantic import Field

from cortexzoo.specs.base import FilePaths, NamedSpec, PathText, Spec
from cortexzoo.specs.provenance import OURS
from cortexzoo.specs.task import TaskSpec


class PydocTopics(Spec):
    """The English help texts of the running Python (`pydoc_data.topics`, about 465 kB): no file, no network."""

    kind: Literal["pydoc_topics"] = "pydoc_topics"


class TextFiles(Spec):
    """UTF-8 text files, by path or glob; relative paths are relative to the spec file that names them."""

    kind: Literal["files"] = "files"
    paths: Annotated[tuple[PathText, ...], Field(min_length=1), FilePaths()]


class JsonLines(Spec):
    """One JSON object a line; the text is under `field`. Paths as for `files`."""

    kind: Literal["jsonl"] = "jsonl"
    paths: Annotated[tuple[PathText, ...], Field(min_length=1), FilePaths()]
    field: Annotated[str, OURS] = "text"


TextSource = Annotated[PydocTopics | TextFiles | JsonLines, Field(discriminator="kind")]


class TextSpec(NamedSpec):
    """Byte-level language modelling; the last `validation_fraction` of the text is held out."""

    kind: Literal["data"] = "data"
    family: Literal["text"] = "text"
    source: Annotated[TextSource, OURS] = PydocTopics.defaults()
    validation_fraction: Annotated[float, Field(gt=0, lt=1), OURS] = 0.1


DataSpec = Annotated[TextSpec | TaskSpec, Field(discriminator="family")]
