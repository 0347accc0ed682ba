from cortexzoo.zoo.data.tasks.drawing import draw
from tests.zoo.data.tasks.shipped import NAMES, answers_of, task_of


def test_answers_stand_in_brackets_and_long_noise_is_cut() -> None:
    task = task_of("kv", seed=3)
    document = task.example("train", 0, 4)
    ((_, answer),) = answers_of(document)
    drawn = draw(task, document)
    assert f"={bytes(answer).decode()};" in drawn
    assert f"=[{bytes(answer).decode()}]" in drawn
    hidden = sum(int(part.split(")…")[0].replace(",", "")) for part in drawn.split("…(")[1:])
    cut = drawn.count("…(")
    shown = len(drawn.replace("[", "").replace("]", "")) - sum(
        len(f"…({part.split(')…')[0]})…") for part in drawn.split("…(")[1:]
    )
    assert cut >= 1 and shown + hidden == document.length


def test_every_task_can_be_drawn() -> None:
    for name in NAMES:
        task = task_of(name)
        document = task.example("train", 0, 1)
        assert draw(task, document).count("[") >= document.answers.max()
