"""Pretrain the embedded target: `python -m sei.target.tiny.pretrain --out DIR`.

Place in the flow: run once by us, and by anyone who wants to check the shipped weights. Trains the tokenizer and a LLaMA of
0.7M parameters on the arithmetic world's pretraining stream, in the same formats that recipes use later: solving
with and without a demonstration, solving with a thought template, checking a solution, and correcting a wrong one.
Writes a Hugging Face folder (config, tokenizer, safetensors) with `pretraining.json`: the settings, the seconds, and
the measured accuracies.

With the same seed and number of threads the same kind of CPU gives the same weights; another kind sums its matrix
products in another order, so only the accuracies agree there.

Example::

    python -m sei.target.tiny.pretrain --out /tmp/tiny --threads 2
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import platform
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sei import answers
from sei.data import arithmetic
from sei.data.arithmetic.corrupt import corrupt
from sei.data.arithmetic.generate import IN_DOMAIN, stories
from sei.data.arithmetic.story import Operation, Step, Story, Value
from sei.records import Problem, Rejected, Verdict
from sei.target.engine import Query, Sampling
from sei.target.formats import Formats
from sei.target.thoughts import ALL_RIGHT, Check, Thoughts
from sei.target.tiny.tokenizer import train_tokenizer
from sei.teacher.symbolic.template import KINDS, template
from sei.templates import make_trace, write

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    from sei.target.generation import HFEngine

FORMATS = Formats("plain")
THOUGHTS = Thoughts("plain", "xml")
CORRECTION = re.compile(
    r"Step (?P<step>\d+)\.\nExplanation: [^\n]+\nCorrect Solution:\n\{\n(?:\.\.\.\n)?(?:Step \d+: [^\n]+\n)+"
    r"#### (?P<answer>\d+)\n\}"
)
IGNORED = -100  # the label that cross entropy leaves out

Row = tuple[str, str]  # prompt and response


@dataclass(frozen=True)
class Settings:
    """Everything the weights depend on. All values are ours, tuned on validation problems."""

    seed: int = 0
    steps: int = 6000
    tokens_per_step: int = 1024  # prompts, responses and padding together, at most
    learning_rate: float = 3e-3
    warmup_steps: int = 100
    weight_decay: float = 0.05
    drill_share: float = 0.2
    one_shot_share: float = 0.1
    same_family_share: float = 0.6  # of the demonstrations; the others are from any family
    correction_share: float = 0.1
    template_share: float = 0.15
    check_share: float = 0.1
    threads: int = 1  # two gain little at this size, and lose a lot if other processes use the cores
    bfloat16: bool = True


@dataclass(frozen=True)
class Course:
    """What is taught, beside the settings: all defaults are those of `model=tiny`."""

    stories: Callable[[int], Iterator[Story]] = arithmetic.pretraining_stories  # endless, by seed
    solved: Callable[[Story], Story] = field(default=lambda story: story)  # the solution that the target is shown
    start: Path | None = None  # the folder of a model to go on from; None: untrained


def rows(settings: Settings, course: Course = Course()) -> Iterator[Row]:
    """Endless (prompt, response) pairs of the pretraining mix. Checks and corrections are always true."""
    rng = random.Random(settings.seed)
    last_of_family: dict[str, Story] = {}
    last: Story | None = None
    shares = {
        "drill": settings.drill_share,
        "correction": settings.correction_share,
        "template": settings.template_share,
        "check": settings.check_share,
        "one_shot": settings.one_shot_share,
    }
    shares["solve"] = 1 - sum(shares.values())
    for true in course.stories(settings.seed):
        story = course.solved(true)
        kind = rng.choices(list(shares), list(shares.values()))[0]
        if kind == "drill":
            yield drill_row(rng)
        elif kind == "correction":
            yield correction_row(true, rng)
        elif kind == "template":
            yield template_row(story, rng)
        elif kind == "check":
            yield check_row(true, rng)
        elif kind == "one_shot" and last is not None:
            same = rng.random() < settings.same_family_share
            example = last_of_family.get(story.family, last) if same else last
            prompt = FORMATS.one_shot(example.question, example.solution, story.question)
            yield prompt, FORMATS.solve_response(story.solution, str(story.results[-1]))
        else:
            yield FORMATS.solve(story.question), FORMATS.solve_response(story.solution, str(story.results[-1]))
        last = last_of_family[story.family] = story


def drill_row(rng: random.Random) -> Row:
    """Four bare calculations, so that later the target gets the reasoning wrong rather than the sums."""
    steps = tuple(drill_step(rng) for _ in range(4))
    question = f"What is {steps[0].expression}, {steps[1].expression}, {steps[2].expression} and {steps[3].expression}?"
    drill = Story("drill", question, steps, tuple(step.result() or 0 for step in steps))
    return FORMATS.solve(question), FORMATS.solve_response(drill.solution, str(drill.results[-1]))


def drill_step(rng: random.Random) -> Step:
    """One calculation of the kinds and sizes that stories need."""
    a, b, c = (rng.randint(2, 12 if rng.random() < 0.5 else 40) for _ in range(3))
    small, percent = rng.randint(2, 18), rng.choice((5, 10, 20, 25, 40, 50, 75))
    terms: tuple[int | Operation, ...] = rng.choice(
        (
            (a, "+", b), (a * b // 2, "+", c), (a + b, "-", b), (a * c // 2 + b, "-", b), (a, "*", small), (small, "*", b),
            (a * small, "/", a), (a * small, "/", small), (a, "+", b, "+", c), (a + b + c, "-", b, "-", c),
            (small * 100 // math.gcd(100, percent), "*", percent, "/", 100),
        )
    )  # fmt: skip
    return Step("That is {}.", tuple(Value(term) if isinstance(term, int) else term for term in terms))


def correction_row(story: Story, rng: random.Random) -> Row:
    """A corrupted solution of the story, and its correction."""
    wrong = corrupt(story, rng)
    steps = story.lines[wrong.step - 1 :]
    return (
        FORMATS.correct(story.question, wrong.lines),
        FORMATS.correct_response(wrong.step, wrong.explanation, steps, str(story.results[-1])),
    )


def template_row(story: Story, rng: random.Random) -> Row:
    """A thought template, as the symbolic teacher writes it when it considers some kinds of steps hard."""
    hard = rng.sample(KINDS, rng.randint(0, len(KINDS)))
    written = template(story.problem("train"), hard)
    if isinstance(written, Rejected):
        return FORMATS.solve(story.question), FORMATS.solve_response(story.solution, str(story.results[-1]))
    return THOUGHTS.solve(story.question), write(written, THOUGHTS.template_style)


def check_row(story: Story, rng: random.Random) -> Row:
    """A check of a right solution, or of a corrupted one with the cause and the correction."""
    if rng.random() < 0.5:
        return THOUGHTS.check(story.question, story.lines), ALL_RIGHT
    wrong = corrupt(story, rng)
    correction = "\n".join(story.lines[wrong.step - 1 :])
    trace = make_trace("", "teacher", wrong.step, wrong.explanation, correction, str(story.results[-1]))
    return THOUGHTS.check(story.question, wrong.lines), THOUGHTS.check_response(trace)


def batches(
    settings: Settings,
    tokenizer: PreTrainedTokenizerFast,
    course: Course = Course(),
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless (inputs, labels), each [rows, length] int64: rows of similar length, padded on the right, not packed.

    Labels are the response and its end token; everything else is IGNORED.
    """
    import torch

    rng = random.Random(settings.seed)
    pairs = rows(settings, course)
    pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
    while True:
        pool = list(itertools.islice(pairs, 1024))
        encoded = zip(
            tokenizer([prompt for prompt, _ in pool])["input_ids"],
            tokenizer([response for _, response in pool])["input_ids"],
            strict=True,
        )
        ready: list[list[tuple[list[int], list[int]]]] = [[]]
        for prompt, response in sorted(encoded, key=lambda row: len(row[0]) + len(row[1])):
            length = len(prompt) + len(response) + 1
            if (len(ready[-1]) + 1) * length > settings.tokens_per_step:
                ready.append([])
            ready[-1].append((prompt, [*response, end]))
        rng.shuffle(ready)
        for batch in filter(None, ready):
            width = max(len(prompt) + len(response) for prompt, response in batch)
            inputs = [p + r + [pad] * (width - len(p) - len(r)) for p, r in batch]
            labels = [[IGNORED] * len(p) + r + [IGNORED] * (width - len(p) - len(r)) for p, r in batch]
            yield torch.tensor(inputs), torch.tensor(labels)


def new_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """An untrained LLaMA of 0.74M parameters."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=384,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        initializer_range=0.06,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    model.set_attn_implementation("eager")  # at these lengths it is faster on a CPU than the fused kernel
    return model


def load_model(folder: Path) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """A model that `pretrain` wrote, ready to be trained on in float32, and its tokenizer."""
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    model = LlamaForCausalLM.from_pretrained(folder, use_safetensors=True)
    model.set_attn_implementation("eager")
    return model.train(), PreTrainedTokenizerFast.from_pretrained(folder)


def train(
    settings: Settings,
    course: Course = Course(),
) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast, int]:
    """The pretrained model in float32, its tokenizer, and the number of tokens it was trained on."""
    import torch
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from transformers import get_cosine_schedule_with_warmup

    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    if course.start is None:
        tokenizer = train_tokenizer("".join(row) for row in itertools.islice(rows(settings, course), 8000))
        model = new_model(tokenizer).train()
    else:
        model, tokenizer = load_model(course.start)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.99), weight_decay=settings.weight_decay
    )
    schedule = get_cosine_schedule_with_warmup(optimizer, settings.warmup_steps, settings.steps)
    tokens, mean = 0, math.nan
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task("pretraining", total=settings.steps)
        for inputs, labels in itertools.islice(batches(settings, tokenizer, course), settings.steps):
            with torch.autocast("cpu", torch.bfloat16, enabled=settings.bfloat16):
                loss = model(input_ids=inputs, labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            tokens += inputs.numel()
            mean = loss.item() if math.isnan(mean) else 0.98 * mean + 0.02 * loss.item()
            progress.update(task, advance=1, description=f"pretraining, loss {mean:.3f}")
    return model.eval(), tokenizer, tokens


def accuracy(engine: HFEngine, problems: Sequence[Problem], prompts: Sequence[str]) -> list[bool]:
    """Whether the greedy answer to each prompt is the problem's answer."""
    queries = [Query(prompt, problem.question) for prompt, problem in zip(prompts, problems, strict=True)]
    completions = engine.complete(queries, Sampling(max_new_tokens=120))
    return [
        answers.grade(completion.text, problem.answer, style="gsm8k") == Verdict.CORRECT
        for [completion], problem in zip(completions, problems, strict=True)
    ]


def templates(engine: HFEngine, problems: Sequence[Problem]) -> list[bool]:
    """Whether the answer in the template that the target writes for each problem is the problem's answer."""
    queries = [Query(THOUGHTS.solve(problem.question), problem.question) for problem in problems]
    return [
        answers.grade(THOUGHTS.read_answer(only.text), problem.answer) == Verdict.CORRECT
        for [only], problem in zip(engine.complete(queries, Sampling(max_new_tokens=320)), problems, strict=True)
    ]


def corrections(engine: HFEngine, size: int) -> dict[str, float]:
    """How the target corrects corrupted solutions of test problems: the shares that are well formed, that name the wrong
    step, and that reach the right answer."""
    rng = random.Random(0)
    told = list(itertools.islice(stories(IN_DOMAIN, "test", "corrections"), size))
    wrongs = [corrupt(story, rng) for story in told]
    queries = [
        Query(FORMATS.correct(story.question, wrong.lines), story.question)
        for story, wrong in zip(told, wrongs, strict=True)
    ]
    found = [
        CORRECTION.fullmatch(only.text.strip()) for [only] in engine.complete(queries, Sampling(max_new_tokens=150))
    ]
    steps = [match is not None and int(match["step"]) == wrong.step for match, wrong in zip(found, wrongs, strict=True)]
    right = [
        match is not None and int(match["answer"]) == story.results[-1]
        for match, story in zip(found, told, strict=True)
    ]
    return {
        "well_formed": sum(match is not None for match in found) / size,
        "right_step": sum(steps) / size,
        "right_answer": sum(right) / size,
    }


def checks(engine: HFEngine, size: int) -> dict[str, float]:
    """How the target checks solutions of test problems: the share of right ones that it calls right, and of corrupted ones
    whose wrong step it names and whose correction reaches the answer."""
    rng = random.Random(0)
    told = list(itertools.islice(stories(IN_DOMAIN, "test", "checks"), size))
    wrongs = [corrupt(story, rng) for story in told]
    shown = [story.lines for story in told] + [wrong.lines for wrong in wrongs]
    queries = [
        Query(THOUGHTS.check(story.question, lines), story.question)
        for story, lines in zip([*told, *told], shown, strict=True)
    ]
    found = [THOUGHTS.read_check(only.text) for [only] in engine.complete(queries, Sampling(max_new_tokens=200))]
    of_wrong = list(zip(found[size:], wrongs, told, strict=True))
    return {
        "right_found_right": sum(isinstance(one, Check) and one.step == 0 for one in found[:size]) / size,
        "right_step": sum(isinstance(one, Check) and one.step == wrong.step for one, wrong, _ in of_wrong) / size,
        "right_answer": sum(isinstance(one, Check) and one.answer == str(s.results[-1]) for one, _, s in of_wrong)
        / size,
    }


def measure(engine: HFEngine, size: int = 1000) -> dict[str, Any]:
    """Accuracies on the test splits of seed 0, by family, and the one in domain with demonstrations."""
    splits = arithmetic.load(train=2 * size, validation=0, test=size, seed=0)
    report: dict[str, Any] = {"problems": size}
    for name, problems in splits.tests.items():
        right = accuracy(engine, problems, [FORMATS.solve(problem.question) for problem in problems])
        totals = Counter(problem.family for problem in problems)
        hits = Counter(problem.family for problem, good in zip(problems, right, strict=True) if good)
        report[name] = sum(right) / size
        report[f"{name}_by_family"] = {name: [hits[name], totals[name]] for name in arithmetic.FAMILIES}
    problems = splits.tests["in_domain"]
    examples = {problem.family: problem for problem in splits.train}
    for name, chosen in (
        ("one_shot_same_family", [examples.get(problem.family, splits.train[0]) for problem in problems]),
        ("one_shot_random", splits.train[:size]),
    ):
        prompts = [
            FORMATS.one_shot(example.question, example.solution, problem.question)
            for example, problem in zip(chosen, problems, strict=True)
        ]
        report[f"in_domain_{name}"] = sum(accuracy(engine, problems, prompts)) / size
    report["in_domain_templates"] = sum(templates(engine, problems)) / size
    report["corrections"] = corrections(engine, size // 2)
    report["checks"] = checks(engine, size // 2)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m sei.target.tiny.pretrain",
        description="Pretrain the embedded target and write it as a Hugging Face folder.",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--steps", type=int, default=Settings.steps)
    parser.add_argument("--seed", type=int, default=Settings.seed)
    parser.add_argument("--threads", type=int, default=Settings.threads)
    arguments = parser.parse_args()
    settings = Settings(steps=arguments.steps, seed=arguments.seed, threads=arguments.threads)
    pretrain(settings, arguments.out)


def pretrain(settings: Settings, out: Path) -> dict[str, Any]:
    """Train, write the folder `out`, print and return what `pretraining.json` records."""
    command = (
        f"python -m sei.target.tiny.pretrain --out DIR --steps {settings.steps} --seed {settings.seed} "
        f"--threads {settings.threads}"
    )
    return train_and_write(command, settings, Course(), out, lambda engine: {"accuracy": measure(engine)})


def train_and_write(
    command: str, settings: Settings, course: Course, out: Path, measured: Callable[[HFEngine], dict[str, Any]]
) -> dict[str, Any]:
    """Train, write the folder `out` with `pretraining.json`: the command, settings, versions, and what `measured` finds."""
    import torch
    import transformers

    from sei.target.generation import HFEngine

    out.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    model, tokenizer, tokens = train(settings, course)
    seconds = time.monotonic() - begin
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    record = {
        "command": command,
        "settings": asdict(settings),
        "parameters": model.num_parameters(),
        "tokens": tokens,
        "seconds": round(seconds),
        "processor": platform.machine(),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        **measured(HFEngine(out)),
    }
    (out / "pretraining.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))
    return record


if __name__ == "__main__":
    main()
