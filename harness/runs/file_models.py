"""The types of the JSON files of a run folder: a run is read only where the types are those that are written."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MOST = 2**53
Count = Annotated[int, Field(ge=0, lt=MOST)]


class FileModel(BaseModel):
    """Strict in what it names; later versions may add keys."""

    model_config = ConfigDict(extra="allow", strict=True)


class Resumed(FileModel):
    """One resume."""

    from_step: Count
    command: list[str] = []


class Manifest(FileModel):
    """`manifest.json`: what the run was made with."""

    experiment: str | None = None
    run: str | None = None
    spec_hash: str | None = None
    seed: int | None = None
    data_sha256: str | None = None
    tokenizer_sha256: str | None = None
    command: list[str] = []
    versions: dict[str, str] = {}
    platform: dict[str, str | int | None] = {}
    device: str = ""
    threads: int = Field(1, ge=1)
    kernels: str | None = None
    trackers: dict[str, str] = {}
    resumed: list[Resumed] = []
    tampered_with: dict[str, Any] | None = None


class Summary(FileModel):
    """`summary.json`: how training ended, in the numbers of `TrainingResult`. A run that gave up has few of them."""

    status: str | None = None
    cause: str | None = None
    gave_up_at: int | None = None
    steps_taken: Count = 0
    steps_refused: Count = 0
    steps_undone: Count = 0
    loss_spikes: Count = 0
    rollbacks: Count = 0
    best_step: Count | None = None
    validation_loss: float | None = None
    best_validation_loss: float | None = None
    loss_ratio: float = 1.0
    raw_loss_ratio: float = 1.0
    tokens_per_second: float = 0.0
    peak_memory_bytes: int = 0
    gate_shares: dict[str, float] = {}
    seconds: float = 0.0
    other_busy_cores: float | None = None
    stopped: str | None = None
    swing_window: Count = 0
    parameters: Count = 0
    unigram_loss: float | None = None
    bigram_loss: float | None = None
    counted_bytes: Count | None = None
    bytes_per_token: Annotated[float, Field(gt=0)] | None = None
    chance: dict[str, float] | None = None
    recall: dict[str, dict[str, float]] | None = None
    recall_memory_off: dict[str, dict[str, float]] | None = None
    recall_base: dict[str, dict[str, float]] | None = None
    perplexity: float | None = None
    base_perplexity: float | None = None
    hidden_kl: float | None = None
    verdict: str | None = None
    verdicts: dict[str, str] = {}
    margins: dict[str, float] = {}


def manifest_mistake(content: object) -> str | None:
    """What is wrong with a manifest, in a few words; None: nothing."""
    return _mistake(Manifest, content)


def summary_mistake(content: object) -> str | None:
    """As `manifest_mistake`, of a summary."""
    return _mistake(Summary, content)


def record_mistake(line: dict[str, Any], before: int) -> str | None:
    """What is wrong with a line of `metrics.jsonl` that follows one of step `before`."""
    step = line.get("step")
    if type(step) is not int:
        return "has no step"
    if step <= before:
        return f"has step {step}, which must be above {before}, the step of the line before"
    wrong = next((key for key, value in line.items() if not _is_number(value)), None)
    return None if wrong is None else f"{wrong} must be a number, whole ones within ±2**53"


def event_mistake(line: dict[str, Any], _: int) -> str | None:
    """What is wrong with a line of `events.jsonl`."""
    step = line.get("step")
    if type(step) is not int or not _is_number(step):
        return "has no step"
    if not isinstance(line.get("kind"), str) or not isinstance(line.get("detail"), dict):
        return "must have a kind and a detail"
    return None


def _is_number(value: object) -> bool:
    """Whether it fits into the arrays of a curve."""
    return type(value) is float or (type(value) is int and abs(value) < MOST)


def _mistake(model: type[FileModel], content: object) -> str | None:
    try:
        model.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return None
