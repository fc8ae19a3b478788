"""How problems become the target's prompts and responses.

Place in the flow: `stages.attempt`, `select` and `evaluate` build prompts here, `stages.assemble` builds training
rows here, and the embedded target was pretrained on the very same texts. Prompt and response are tokenized apart and
joined, so the loss mask is exact. The correction format is LeMa's (arXiv 2310.20689, figure 2 and appendix): numbered
steps in braces, then `Step k.`, an explanation, and the corrected solution after an ellipsis that is really trained on.

A style is a folder of prompts; what differs by data set (the instruction, the line with the answer) goes by how its
answers are graded. Whatever is written as a response is read back as its own answer by `sei.answers.grade`.

Example::

    formats = Formats("plain")
    formats.solve("2 apples and 3 more?")      # "Question: 2 apples and 3 more?\\nSolution:\\n"
    Formats("lema").solve_response("2+3=5\\n#### 5", "5")      # "2+3=5\\nThe answer is 5."
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sei import answers, prompts
from sei.reading import Reading, read
from sei.steps import number_steps, split_steps

PromptStyle = Literal["plain", "alpaca", "lema"]
STOP: dict[PromptStyle, tuple[str, ...]] = {
    "plain": ("\nQuestion:",),
    "alpaca": ("\n### Instruction:", "\n### Problem:", "\n### Example problem:"),
    "lema": ("\nQuestion:",),
}
"""By style, how its prompts begin where several stand in one text. Each ends in a colon, which few tokens hold, so that few
of them have to be decoded to see whether the string is complete."""


@dataclass(frozen=True)
class Formats:
    """The prompts and responses of one style for one kind of answer.

    `plain`: bare text; `alpaca`: instruction and response; `lema`: LeMa's, which ends in `The answer is X.`
    """

    style: PromptStyle
    dataset: answers.Style = "gsm8k"

    def solve(self, question: str) -> str:
        """The zero-shot prompt."""
        return self._fill("solve", question=question)

    @property
    def stop(self) -> tuple[str, ...]:
        """Where generation ends at the latest."""
        return STOP[self.style]

    def read_answer(self, output: str, grading: answers.Style) -> str:
        """What to grade of an output: all of it, which grading itself reads."""
        return output

    def read(self, output: str) -> Reading:
        """The solution in an output."""
        return read(output, self.dataset)

    def steps(self, output: str) -> list[str]:
        """The steps of the solution in an output."""
        return split_steps(self.read(output).text, self.dataset)[0]

    def one_shot(self, example_question: str, example_solution: str, question: str) -> str:
        """The prompt with one demonstration before the question, written as a response where its answer can be read."""
        answer = split_steps(example_solution, self.dataset)[1] or answers.boxed(example_solution)
        shown = example_solution if answer is None else self.solve_response(example_solution, answer)
        return self._fill("one_shot", example_question=example_question, example_solution=shown, question=question)

    def correct(self, question: str, steps: Sequence[str], *, step: bool = True) -> str:
        """The prompt that shows a wrong solution, as numbered steps, and asks for its correction.

        `step` False asks for the whole correct solution, without the number of the wrong step (LeMa's ablation).
        """
        return self._fill("correct" if step else "correct_whole", question=question, steps=number_steps(steps))

    def solve_response(self, solution: str, answer: str) -> str:
        """The response to `solve` and `one_shot`: the solution, ending with its answer as the style wants it.

        `plain` and `alpaca` leave a solution that ends so already as it is, without surrounding blank space.
        """
        if self.style != "lema" and self._has_answer(solution):
            return solution.strip()
        steps, _ = split_steps(solution, self.dataset)
        return "\n".join([*steps, self.answer_line(answer)])

    def correct_response(self, step: int | None, explanation: str | None, steps: Sequence[str], answer: str) -> str:
        """The response to `correct`: wrong step, explanation, and corrected steps from number `step` on.

        `step` None: no step is named and `steps` are the whole solution. `explanation` None: there is none.
        """
        lines = [] if step is None else [f"Step {step}."]
        lines += [] if explanation is None else [f"Explanation: {explanation}"]
        first = step or 1
        body = [*(["..."] if first > 1 else []), number_steps(steps, first=first), self.answer_line(answer)]
        return "\n".join([*lines, "Correct Solution:", "{", *filter(None, body), "}"])

    def reflection(
        self, wrong: Sequence[str], step: int, explanation: str, right: Sequence[str], first: int, answer: str
    ) -> str:
        """The response to `solve` that makes a mistake, says so and gets it right: LEMMA's, arXiv 2503.17439.

        wrong: the steps up to and including the wrong one, number `step`. right: the steps from number `first` on; 1 begins anew.
        """
        onward = "Start again." if first == 1 else f"Go on from step {step}."
        return "\n".join([*wrong, f"Step {step} is wrong. {explanation} {onward}", *right, self.answer_line(answer)])

    def answer_line(self, answer: str) -> str:
        """The last line of a response."""
        if self.dataset == "math":
            return f"The answer is $\\boxed{{{answer}}}$."
        if self.dataset == "choice":
            return f"The answer is ({_letter(answer)})."
        return f"The answer is {answer}." if self.style == "lema" else f"#### {answer}"

    def fingerprint(self) -> dict[str, Any]:
        """The style, and the hash of each prompt file."""
        names = ["solve", "one_shot", "correct", "correct_whole"]
        if "instruction" in self._load("solve").fields:
            names.append(f"instruction/{self.dataset}")
        return {
            "style": self.style,
            "dataset": self.dataset,
            "prompts": {name: self._load(name).hash for name in names},
        }

    def _has_answer(self, solution: str) -> bool:
        """Whether the solution ends with its answer in a way that this style may leave as it is."""
        last = solution.rstrip().rpartition("\n")[2].lstrip()
        if self.dataset == "gsm8k":
            return last.startswith("####")
        if self.dataset == "math":
            return answers.boxed(solution) is not None and not last.startswith("####")
        return re.fullmatch(r"The answer is \([A-J]\)\.", last) is not None

    def _fill(self, name: str, **values: str) -> str:
        prompt = self._load(name)
        if "instruction" in prompt.fields:
            values["instruction"] = self._load(f"instruction/{self.dataset}").text
        return prompt.fill(**values)

    def _load(self, name: str) -> prompts.Prompt:
        return prompts.load(f"target/{self.style}/{name}")


def _letter(answer: str) -> str:
    """The letter of a choice such as "C" or "(C) garage"."""
    match = re.match(r"\(?([A-J])\b", answer.strip())
    if match is None:
        raise ValueError(f"the answer {answer!r} does not begin with a letter from A to J")
    return match[1]
