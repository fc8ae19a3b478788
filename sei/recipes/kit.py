"""The kit: every stage bound to one configuration, so that a recipe reads like its paper's algorithm.

Place in the flow: `train.py` makes a `Kit` and hands it to the recipe. Each method is one stage: it takes records, runs
the stage through the workspace (cache, resume, ledger) and returns records. Together with the recipes this is the only
place below `train.py` that reads the configuration; the stages take plain arguments.

Example::

    attempts = kit.attempt(kit.splits.train)
    mistakes = kit.mine(kit.splits.train, attempts)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from omegaconf import DictConfig, OmegaConf

from sei.answers import Style
from sei.data import sources
from sei.recipes.resources import Adapter, Resources
from sei.recipes.results import Results
from sei.records import (
    Attempt,
    Correction,
    Diagnosis,
    ErrorType,
    Example,
    Mistake,
    Outcome,
    Pair,
    Problem,
    Synthetic,
    content_id,
)
from sei.stages import assemble
from sei.stages import evaluate as evaluation
from sei.target.engine import Engine, Sampling
from sei.target.formats import Formats
from sei.target.thoughts import Thoughts
from sei.teacher.base import Evolver
from sei.tracking.display import Display
from sei.workspace import Artifact, Output

if TYPE_CHECKING:
    from sei.clustering.llm import PhraseTeacher
    from sei.target.load import Dtype

ANY_MISTAKE = "any mistake"
ONE_ROUND = ("cot", "supercorrect")  # recipes in which `recipe.rounds` has no meaning


class Kit(Resources):
    """One configuration's stages. `round` and `adapter` are arguments, so the kit itself holds no state of a run."""

    @cached_property
    def problems(self) -> list[Problem]:
        """The training problems, without those that a validation or test set holds too: what every recipe begins with.

        A recorded engine can be trained on nothing, and its file may well be of test problems: there all stay.
        """
        from sei.stages.separate import separate

        splits, overlap = self.splits, self.config.data.overlap
        if self.config.engine.kind == "recorded":
            return splits.train
        held_out = {"validation": splits.validation, **splits.tests}
        return self._stage(
            "problems",
            Problem,
            lambda scratch: separate(splits.train, held_out, rouge=overlap.rouge, ngram=overlap.ngram),
            code=("sei.stages.separate",),
            inputs={"train": splits.train, **held_out},
            parameters={"rouge": overlap.rouge, "ngram": overlap.ngram},
        ).records

    # The stages, in the order of the flow.

    def attempt(
        self,
        problems: Sequence[Problem],
        adapter: Adapter | None = None,
        *,
        name: str = "attempts",
        round: int = 1,
        sampling: Sampling | None = None,
        style: Style | None = None,
        thoughts: Thoughts | None = None,
        engine: Engine | None = None,
    ) -> list[Attempt]:
        """The target answers every problem: greedily, and in the data set's format, unless told otherwise.

        With `thoughts` it is asked for a template; with `engine` another model is asked in its place.
        """
        from sei.stages.attempt import attempt

        formats = thoughts or Formats(self.prompt_style, style or self.style)
        style, sampling = style or self.style, sampling or self.sampling
        read = (lambda output: thoughts.read_answer(output, style)) if thoughts else str

        def run(scratch: Path) -> Output[Attempt]:
            with self.display.progress(name) as progress:
                return attempt(
                    problems,
                    engine or self.engine(adapter),
                    formats.solve,
                    sampling,
                    style=style,
                    scratch=scratch,
                    read=read,
                    on_progress=progress,
                )

        module = type(engine).__module__ if engine else f"sei.target.{self.config.engine.kind}"
        return self._stage(
            name,
            Attempt,
            run,
            code=("sei.stages.attempt", module, *(("sei.target.thoughts",) if thoughts else ())),
            inputs={"problems": problems},
            parameters={
                "engine": engine.fingerprint() if engine else self._engine_fingerprint(adapter),
                "prompts": formats.hashes(),
                "sampling": vars(sampling),
                "style": style,
            },
            round=round,
            cache_as="attempt",
        ).records

    def sample(
        self,
        problems: Sequence[Problem],
        wanted: Sequence[DictConfig],
        adapter: Adapter | None = None,
        *,
        name: str = "attempts",
        round: int = 1,
    ) -> list[Attempt]:
        """Attempts of several sources, `samples` of each at its temperature, one stage a source."""
        attempts: list[Attempt] = []
        for source, label in zip(wanted, source_names(wanted), strict=True):
            sampling = dataclasses.replace(
                self.sampling, samples=source.samples, temperature=source.temperature, seed=self.config.seed
            )
            if source.temperature == 0:
                sampling = dataclasses.replace(sampling, seed=0)  # nothing is drawn: one cache entry for all seeds
            named = name if len(wanted) == 1 else f"{name}.{label}"
            if source.kind == "target":
                attempts += self.attempt(problems, adapter, name=named, round=round, sampling=sampling)
                continue
            with self.other_engine(source) as engine:
                self._note_unasked(engine, problems, named)
                attempts += self.attempt(problems, name=named, round=round, sampling=sampling, engine=engine)
        return attempts

    def _note_unasked(self, engine: Engine, problems: Sequence[Problem], name: str) -> None:
        """Say how many recorded attempts have no use, because their questions are none of the `problems`."""
        from sei.target.recorded import RecordedEngine, normalize_question

        if not isinstance(engine, RecordedEngine):
            return
        asked = {normalize_question(problem.question) for problem in problems}
        recorded = engine.questions()
        if unused := sum(normalize_question(question) not in asked for question in recorded):
            self.display.note(
                f"{name}: {unused:,} of {len(recorded):,} recorded questions belong to none of its problems"
            )

    def mine(
        self, problems: Sequence[Problem], attempts: Sequence[Attempt], *, name: str = "mistakes", round: int = 1
    ) -> list[Mistake]:
        """The wrong ones; with several sources, none has more than its share of them."""
        from sei.stages.mine import cap, mine

        share, seed = self.config.recipe.max_source_share, self.config.seed
        mistakes = self._stage(
            name,
            Mistake,
            lambda scratch: mine(problems, attempts),
            code=("sei.stages.mine",),
            inputs={"problems": problems, "attempts": attempts},
            round=round,
            cache_as="mistakes",
        ).records
        if len({mistake.model for mistake in mistakes}) < 2:
            return mistakes
        return self._stage(
            f"{name}.capped",
            Mistake,
            lambda scratch: cap(mistakes, share, seed),
            code=("sei.stages.mine",),
            inputs={"mistakes": mistakes},
            parameters={"share": share, "seed": seed},
            round=round,
            cache_as="mistakes.capped",
        ).records

    def paths(
        self, problems: Sequence[Problem], adapter: Adapter | None = None, *, name: str = "paths", round: int = 1
    ) -> list[Attempt]:
        """More chains of thought beside the gold solutions: right answers of `recipe.path_sources`, distinct."""
        from sei.stages.paths import paths

        recipe, seed = self.config.recipe, self.config.seed
        if not recipe.path_sources or recipe.paths == 0:
            return []
        attempts = self.sample(problems, recipe.path_sources, adapter, name=f"{name}.attempts", round=round)
        return self._stage(
            name,
            Attempt,
            lambda scratch: paths(problems, attempts, target=recipe.paths, style=self.style, seed=seed),
            code=("sei.stages.paths",),
            inputs={"problems": problems, "attempts": attempts},
            parameters={"target": recipe.paths, "style": self.style, "seed": seed},
            round=round,
            cache_as="paths",
        ).records

    def diagnose(self, mistakes: Sequence[Mistake], *, name: str = "diagnoses", round: int = 1) -> list[Diagnosis]:
        """The teacher's first wrong step and keyphrases."""
        from sei.stages.diagnose import diagnose

        return self._stage(
            name,
            Diagnosis,
            lambda scratch: diagnose(mistakes, self.teacher),
            code=("sei.stages.diagnose", *self._teacher_code),
            inputs={"mistakes": mistakes},
            parameters={"teacher": self._teacher_fingerprint},
            round=round,
            cache_as="diagnose",
        ).records

    def correct(
        self,
        mistakes: Sequence[Mistake],
        diagnoses: Sequence[Diagnosis],
        *,
        name: str = "corrections",
        round: int = 1,
    ) -> list[Correction]:
        """The teacher's corrections that reach the gold answer."""
        from sei.stages.correct import correct

        return self._stage(
            name,
            Correction,
            lambda scratch: correct(mistakes, diagnoses, self.teacher, style=self.style),
            code=("sei.stages.correct", *self._teacher_code),
            inputs={"mistakes": mistakes, "diagnoses": diagnoses},
            parameters={"teacher": self._teacher_fingerprint, "style": self.style},
            round=round,
            cache_as="corrections",
        ).records

    def evolve(
        self,
        problems: Sequence[Problem],
        corrections: Sequence[Correction],
        mistakes: Sequence[Mistake],
        earlier: Sequence[Problem] = (),
        *,
        round: int = 1,
    ) -> list[Problem]:
        """New problems from those that were corrected (or from any), unlike `problems`, `earlier` ones and all tests."""
        from sei.stages import evolve

        options, seed = self.config.recipe.evolution, self.config.seed
        if options.strategy == "none":
            return []
        seeds = evolve.seeds(
            problems, corrections, mistakes, strategy=options.strategy, count=options.seeds, seed=seed + round - 1
        )
        training = [*problems, *earlier]

        def run(scratch: Path) -> Output[Problem]:
            with self.display.progress("evolved") as progress:
                return evolve.evolve(
                    seeds,
                    cast(Evolver, self.teacher),
                    training,
                    self._held_out,
                    style=self.style,
                    samples=options.samples,
                    rouge_threshold=options.rouge_threshold,
                    seed=seed + round - 1,
                    on_progress=progress,
                )

        return self._stage(
            "evolved",
            Problem,
            run,
            code=("sei.stages.evolve", *self._teacher_code),
            inputs={"seeds": seeds, "training": training, "forbidden": self._held_out},
            parameters={
                "teacher": self._teacher_fingerprint,
                "samples": options.samples,
                "rouge_threshold": options.rouge_threshold,
                "style": self.style,
                "seed": seed + round - 1,
            },
            round=round,
        ).records

    def cluster(
        self, diagnoses: Sequence[Diagnosis], *, previous: Sequence[ErrorType] = (), round: int = 1
    ) -> list[ErrorType]:
        """Error types from keyphrases."""
        from sei.clustering import make_clusterer
        from sei.stages.cluster import cluster

        options = self.config.clustering
        asks = options.kind in ("llm", "hybrid")
        clusterer = make_clusterer(
            options.kind,
            min_types=options.min_types,
            max_types=options.max_types,
            # `validate` saw to it that it is an API teacher, which answers both protocols.
            teacher=(lambda: cast("PhraseTeacher", self.teacher)) if asks else None,
        )

        def run(scratch: Path) -> Output[ErrorType]:
            types, rejected = cluster(
                diagnoses,
                self.embedder,
                clusterer,
                previous=previous,
                round=round,
                max_share=options.max_share,
                seed=0,  # the types of a sweep's jobs must be the same types
            )
            return Output(
                types,
                received=len(diagnoses),
                rejected=rejected,
                passed=len(diagnoses) - len(rejected),
                numbers=dict(
                    getattr(clusterer, "numbers", {})
                ),  # what became of the keyphrases that a teacher was shown
            )

        return self._stage(
            "error_types",
            ErrorType,
            run,
            code=("sei.stages.cluster", "sei.clustering", *(self._teacher_code if asks else ())),
            inputs={"diagnoses": diagnoses, "previous": previous},
            parameters={
                "clusterer": clusterer.fingerprint() if clusterer else None,
                "embedder": self.embedder.fingerprint(),
                "max_share": options.max_share,
                "round": round,
                **({"teacher": self._teacher_fingerprint} if asks else {}),
            },
            round=round,
        ).records

    def one_type(self, mistakes: Sequence[Mistake], *, round: int = 1) -> list[ErrorType]:
        """All mistakes as one nameless type: synthesis without clustering (SEI's ablation)."""
        return [
            ErrorType(
                content_id("type", ANY_MISTAKE),
                name=ANY_MISTAKE,
                description="",
                size=len(mistakes),
                keyphrases=(),
                medoids=(),
                mistake_ids=tuple(mistake.id for mistake in mistakes),
                cohesion=0.0,
                centroid=(),
                round=round,
            )
        ]

    def synthesize(
        self,
        types: Sequence[ErrorType],
        mistakes: Sequence[Mistake],
        earlier: Sequence[Synthetic] = (),
        *,
        round: int = 1,
    ) -> list[Synthetic]:
        """New problems for each type, verified and unlike everything they must not resemble (`earlier` rounds' too)."""
        from sei.stages.synthesize import synthesize

        options: dict[str, Any] = OmegaConf.to_container(self.config.recipe.synthesis)  # type: ignore[assignment]
        options.pop("verify_samples", None)  # a stage of its own
        options |= {"style": self.style, "round": round, "seed": self.config.seed}

        def run(scratch: Path) -> Output[Synthetic]:
            with self.display.progress("synthetic") as progress:
                return synthesize(
                    types, mistakes, self._held_out, self.teacher, earlier=earlier, **options, on_progress=progress
                )

        return self._stage(
            "synthetic",
            Synthetic,
            run,
            code=("sei.stages.synthesize", *self._teacher_code),
            inputs={"types": types, "mistakes": mistakes, "forbidden": self._held_out, "earlier": earlier},
            parameters={"teacher": self._teacher_fingerprint, **options},
            round=round,
        ).records

    def verify(self, candidates: Sequence[Synthetic], *, round: int = 1) -> list[Synthetic]:
        """The candidates whose answer most of the teacher's own solutions reach; all where `verify_samples` is 0."""
        from sei.stages.verify import TEMPERATURE, Solver, verify

        samples = self.config.recipe.synthesis.verify_samples
        if not samples or not candidates:
            return list(candidates)
        solver = cast(Solver, self.teacher)  # an API teacher: `validate` saw to it
        return self._stage(
            "verified",
            Synthetic,
            lambda scratch: verify(candidates, solver, samples=samples, style=self.style),
            code=("sei.stages.verify", *self._teacher_code),
            inputs={"candidates": candidates},
            parameters={
                "teacher": self._teacher_fingerprint,
                "samples": samples,
                "temperature": TEMPERATURE,
                "style": self.style,
            },
            round=round,
        ).records

    def select(
        self,
        candidates: Sequence[Synthetic],
        problems: Sequence[Problem],
        attempts: Sequence[Attempt],
        mistakes: Sequence[Mistake],
        adapter: Adapter | None = None,
        *,
        round: int = 1,
    ) -> list[Synthetic]:
        """The candidates that help the target most as a demonstration. All of them where there is nothing to ask."""
        from sei.stages.select import development_set, select

        options = self.config.recipe.selection
        if not options.enabled or self.config.engine.kind == "recorded" or not candidates:
            return list(candidates)
        wrong, right = development_set(
            problems,
            attempts,
            mistakes,
            candidates,
            wrong=options.wrong_problems,
            right=options.right_problems,
            seed=self.config.seed,
        )

        def run(scratch: Path) -> Output[Synthetic]:
            with self.display.progress("selected") as progress:
                return select(
                    candidates,
                    wrong,
                    right,
                    self.engine(adapter),
                    self.formats.one_shot,
                    self.sampling,
                    keep=options.keep,
                    style=self.style,
                    scratch=scratch,
                    on_progress=progress,
                )

        return self._stage(
            "selected",
            Synthetic,
            run,
            code=("sei.stages.select", f"sei.target.{self.config.engine.kind}"),
            inputs={"candidates": candidates, "wrong": wrong, "right": right},
            parameters={
                "engine": self._engine_fingerprint(adapter),
                "keep": options.keep,
                "prompts": self.formats.hashes(),
                "sampling": vars(self.sampling),
                "style": self.style,
            },
            round=round,
        ).records

    def thought_rows(
        self, problems: Sequence[Problem], adapter: Adapter | None = None, *, round: int = 1
    ) -> list[Example]:
        """Chain-of-thought rows: the gold solutions, and other right paths to the same answers (`recipe.paths`).

        A data set of bare answers has only those paths (and what was made of it by evolution).
        """
        gold = assemble.from_problems([problem for problem in problems if sources.is_worked(problem)], self.formats)
        return [*gold, *assemble.from_attempts(self.paths(problems, adapter, round=round), problems, self.formats)]

    def correction_rows(self, corrections: Sequence[Correction], mistakes: Sequence[Mistake]) -> list[Example]:
        """LeMa's mistake-correction pairs, or what an ablation makes of the corrections."""
        options = self.config.recipe.correction
        if options.rows == "none":
            return []
        if options.rows == "paths":
            return assemble.corrected_paths(corrections, mistakes, self.formats)
        return assemble.from_corrections(
            corrections, mistakes, self.formats, explanation=options.explanation, step=options.step
        )

    def success_rates(
        self,
        problems: Sequence[Problem],
        mistakes: Sequence[Mistake],
        corrections: Sequence[Correction],
        *,
        name: str = "corrections",
        round: int = 1,
    ) -> None:
        """Which share of the mistakes was corrected, by source and difficulty: a table and a figure in the run folder."""
        if not self.workspace.compute:
            return
        from sei.tracking.rates import rates, write

        levels = {problem.id: sources.difficulty(problem) for problem in problems}
        folder = self.workspace.run / "correction_rates" / f"{name}.round{round}"
        folder.mkdir(parents=True, exist_ok=True)
        write(folder, rates(corrections, mistakes, levels))

    def with_replay(self, examples: Sequence[Example]) -> list[Example]:
        """`examples` with gold solutions of training problems, `recipe.replay` of all rows (0: none, as in SEI)."""
        share, seed = self.config.recipe.replay, self.config.seed
        return [*examples, *assemble.replay(self.problems, len(examples), share, self.formats, seed=seed)]

    def finetune(
        self, examples: Sequence[Example], start: Adapter | None = None, *, name: str = "adapter", round: int = 1
    ) -> Adapter:
        """Train the target on the examples' responses, on from `start`. Returns the new adapter."""
        limit, seed = self.config.recipe.max_examples, self.config.seed
        if limit is not None and limit < len(examples):
            self.display.note(f"recipe.max_examples={limit}: so many of the {len(examples)} training rows, by seed")
            examples = assemble.thin(examples, limit, seed=seed)
        return self._train("finetune", examples, self.config.recipe.training, start, name=name, round=round)

    def _train(
        self,
        stage: Literal["finetune", "prefer"],
        rows: Sequence[Example] | Sequence[Pair],
        training: DictConfig,
        start: Adapter | None,
        *,
        name: str = "adapter",
        round: int = 1,
    ) -> Adapter:
        """A training stage, whose files are an adapter: `finetune` on examples or `prefer` on pairs."""
        model, trainer = self.config.model, self.config.trainer
        options = self._hyperparameters(training)
        keep_every = options.pop("keep_every")

        def run(scratch: Path) -> Output[Any]:
            from sei.stages import finetune
            from sei.training.module import Hyperparameters, PreferenceHyperparameters
            from sei.training.run import Loop

            loop = Loop(
                revision=model.revision,
                adapter=start.path if start else None,
                chat=self._chat,
                dtype=cast("Dtype", self.training_dtype.value),
                precision=self.precision.value,
                keep_every=keep_every,
                loggers=self.tracker.lightning_loggers(name) if self.tracker else [],
                **{key: value for key, value in trainer.items() if key not in ("kind", "precision")},
            )
            say = self.display.note
            if stage == "finetune":
                settings = Hyperparameters(**options)
                return finetune.finetune(
                    cast("Sequence[Example]", rows), model.path, settings, loop, scratch=scratch, say=say
                )
            preference = PreferenceHyperparameters(**options)
            return finetune.prefer(cast("Sequence[Pair]", rows), model.path, preference, loop, scratch=scratch, say=say)

        self.close()
        artifact: Artifact[Any] = self._stage(
            name,
            Example if stage == "finetune" else Pair,
            run,
            code=("sei.stages.finetune",),
            inputs={"rows": rows},
            parameters={
                "model": self._model_fingerprint,
                "start": start.fingerprint if start else None,
                "hyperparameters": options,
                "keep_every": keep_every,
                "chat": self._chat,
                "dtype": self.training_dtype.value,
                "precision": self.precision.value,
                "devices": trainer.devices,
            },
            round=round,
            cache_as=stage,
        )
        if artifact.files is None:
            raise AssertionError("training left no adapter")
        from sei.target.load import adapter_fingerprint

        kept = [(step, artifact.files / "steps" / f"{step:06d}") for step in artifact.numbers["kept_steps"]]
        if kept and kept[-1][0] != artifact.numbers["steps"]:  # the end of training is a checkpoint too
            kept.append((artifact.numbers["steps"], artifact.files))
        return Adapter(artifact.files, adapter_fingerprint(artifact.files), tuple(kept))

    def _hyperparameters(self, training: DictConfig) -> dict[str, Any]:
        options: dict[str, Any] = OmegaConf.to_container(training, resolve=True)  # type: ignore[assignment]
        options |= {"seed": self.config.seed, "quantization": self.config.model.quantization.name}
        rounds = 1 if self.config.recipe.name in ONE_ROUND else self.config.recipe.rounds
        for budget in ("tokens", "steps"):  # the budget is the recipe's, whatever the number of rounds
            if options[budget] is not None:
                options[budget] //= rounds
        return options

    # Evaluation

    def evaluate(
        self,
        when: str,
        adapter: Adapter | None = None,
        types: Sequence[ErrorType] = (),
        thoughts: Thoughts | None = None,
    ) -> dict[str, list[Outcome]]:
        """Outcomes on every test set; the mistakes among them are diagnosed and put under the nearest error type."""
        results = {}
        for name, attempts in self._test_attempts(when, adapter, thoughts).items():
            problems = self._test(name)
            type_of = self._error_types_of(when, name, problems, attempts, types)
            results[name] = evaluation.outcomes(name, problems, attempts, type_of, self.style_of(name))
        return results

    def _test(self, name: str) -> list[Problem]:
        return self.splits.tests[name][: self.config.eval.limit]

    def _test_attempts(self, when: str, adapter: Adapter | None, thoughts: Thoughts | None) -> dict[str, list[Attempt]]:
        options, templates = self.config.eval, self.config.recipe.templates
        room = templates.max_new_tokens if thoughts else None
        sampling = Sampling(
            max_new_tokens=options.max_new_tokens or room or self.config.model.max_new_tokens,
            temperature=options.temperature,
            samples=options.samples,
            seed=self.config.seed if options.temperature else 0,
        )
        return {
            name: self.attempt(
                self._test(name),
                adapter,
                name=f"evaluate.{when}.{name}",
                sampling=sampling,
                style=self.style_of(name),
                thoughts=thoughts,
            )
            for name in self.splits.tests
        }

    def finish(self, results: Results, adapter: Adapter | None, thoughts: Thoughts | None = None) -> Results:
        """Evaluate before and, where something was trained, after. With `trainer=none` nothing is evaluated.

        `thoughts`: the trained target is asked for templates; before, it was not yet taught to write any.
        """
        if self.trains:
            results.domains = {domain: list(names) for domain, names in self.config.eval.sets.items()}
            results.before = self.evaluate("before", types=results.error_types)
            if adapter is not None:
                results.chosen = adapter = self.choose(adapter, results, thoughts)
                results.after = self.evaluate("after", adapter, results.error_types, thoughts)
                results.validation = self._validate("after", adapter, thoughts)
        return results

    def choose(self, adapter: Adapter, results: Results, thoughts: Thoughts | None = None) -> Adapter:
        """Of the adapters kept while training, the one that `eval.select` asks for; every one of them is scored.

        The last of them is the adapter itself. `paper` scores all of them on the test sets, as LeMa does.
        """
        select = self.config.eval.select
        if select == "last" or not adapter.kept:
            return adapter
        from sei.target.load import adapter_fingerprint

        kept = [(step, Adapter(path, adapter_fingerprint(path))) for step, path in adapter.kept]
        for step, one in kept:
            rows = self._validate(f"step{step}", one, thoughts)
            validation = evaluation.accuracy(rows) if rows else None
            tests = {}
            if select == "paper":
                scored = self.evaluate(f"step{step}", one, thoughts=thoughts)
                tests = {name: evaluation.accuracy(rows) for name, rows in scored.items()}
            results.checkpoints.append(evaluation.CheckpointScore(step, validation, tests))
        return kept[evaluation.choose(results.checkpoints, select)][1]

    def _validate(self, when: str, adapter: Adapter, thoughts: Thoughts | None) -> list[Outcome]:
        validation = self.splits.validation
        sampling = self.thought_sampling if thoughts else self.sampling
        name = f"evaluate.{when}.validation"
        attempts = self.attempt(validation, adapter, name=name, sampling=sampling, thoughts=thoughts)
        return evaluation.outcomes("validation", validation, attempts, {}, self.style)

    def _error_types_of(
        self,
        when: str,
        name: str,
        problems: Sequence[Problem],
        attempts: Sequence[Attempt],
        types: Sequence[ErrorType],
    ) -> dict[str, str]:
        if not types or not self.config.eval.diagnose:
            return {}
        from sei.stages.cluster import assign
        from sei.stages.mine import mine

        first = [attempt for attempt in attempts if attempt.sample == 0]
        mistakes = list(mine(problems, first).records)
        diagnoses = self.diagnose(mistakes, name=f"diagnoses.{when}.{name}")
        assigned = assign(diagnoses, types, self.embedder)
        return {mistake.attempt_id: assigned[mistake.id] for mistake in mistakes if mistake.id in assigned}


def source_names(wanted: Sequence[DictConfig]) -> list[str]:
    """What sources of attempts are called in file names: the target, or model or file; numbered where names repeat."""
    names = [
        "target" if source.kind == "target" else Path(source.model or source.path).name.removesuffix(".jsonl")
        for source in wanted
    ]
    return [
        f"{name}.{names[: index + 1].count(name)}" if names.count(name) > 1 else name
        for index, name in enumerate(names)
    ]


def require_mistakes(mistakes: Sequence[Mistake], display: Display) -> bool:
    """Whether there is anything to learn from; says so where there is not."""
    if not mistakes:
        display.note(
            "The target made no mistakes on the training problems: nothing to learn from, so nothing is trained."
        )
    return bool(mistakes)
