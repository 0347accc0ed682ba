"""Two numbers of equal length; after the gap their sum, most significant digit first, one digit longer.

…MV271+828JX … FJWK … Z=[1099]OP…
"""

from fractions import Fraction
from string import digits

import numpy as np

from cortexzoo.specs.task import Addition, TaskSpec
from cortexzoo.zoo.data.tasks.chance import Chance
from cortexzoo.zoo.data.tasks.document import PassageWriter
from cortexzoo.zoo.data.tasks.letters import NOISE_LETTERS, Script
from cortexzoo.zoo.data.tasks.task import Composition, Task
from cortexzoo.zoo.data.tasks.vocabulary import Vocabulary
from cortexzoo.zoo.errors import DataError

MARKS = "+="
CHARACTERS = digits + MARKS + NOISE_LETTERS


class AdditionTask(Task):
    """Digits are drawn evenly, leading zeros included."""

    def __init__(self, spec: TaskSpec, kind: Addition, vocabulary: Vocabulary, seed: int) -> None:
        self.kind = kind
        self._script = script = Script(vocabulary, MARKS, digits=digits)
        self.noise = script.noise
        if script.digits.longest > 1:
            raise DataError(
                "the task add needs one token a digit, and the base's tokenizer takes more: use another base"
            )
        facts = script.length(digits=2 * kind.num_digits, marks="+")
        questions = script.length(digits=kind.num_digits + 1, marks="=")
        super().__init__(spec, vocabulary, seed, facts, questions)

    def compose(self, rng: np.random.Generator) -> Composition:
        script, count = self._script, self.kind.num_digits
        first, second = rng.integers(10, size=(2, count))
        total = str(_number(first) + _number(second)).zfill(count + 1)
        facts, questions = PassageWriter(), PassageWriter()
        facts.write([*script.digits.write(first), *script.marks["+"]])
        end = facts.write(script.digits.write(second))
        questions.write(script.marks["="])
        questions.answer(script.digits.write([int(digit) for digit in total]))
        return Composition(facts.passage(), questions.passage(), evidence=[end])

    def chance(self) -> Chance:
        """The likeliest sum is 99…9, the sum of 10^digits of the pairs.

        Digit by digit: sums below M = 10^digits are the likelier the larger they are, sums from M on the likelier the
        smaller. So the best guess continues with 9 after a leading 0 and with 0 after a leading 1.
        """
        count = self.kind.num_digits
        total = 10**count
        # (n + 1) / M^2 is the probability of the sum n < M, and (M - 1 - m) / M^2 that of M + m.
        right = Fraction(total + 1, 2 * total)
        for known in range(count):
            stretches, tenth = 10**known, total // 10 ** (known + 1)
            low = 10 * tenth * tenth * stretches * (stretches + 1) // 2 - stretches * (tenth * (tenth - 1) // 2)
            high = (
                stretches * tenth * (total - 1)
                - 10 * tenth * tenth * stretches * (stretches - 1) // 2
                - stretches * (tenth * (tenth - 1) // 2)
            )
            right += Fraction(low + high, total * total)
        return Chance(float(Fraction(1, total)), float(right / (count + 1)))


def _number(drawn: np.ndarray) -> int:
    return int("".join(map(str, drawn)))
