"""What a run found and mended of the wrong rules that its target had been taught: `python -m sei.planted PATH [PATH ...]`.

Purpose: with `model=tiny-misconceived` the truth about the target's errors is known, so two questions have an answer: do the
error types find the rules, and does training mend them?
Place in the flow: after runs of that model. A wrong answer follows a rule where the rule, executed on that problem, gives that
answer. Discovery is measured on the training mistakes of the first run that has diagnoses, with each embedder and clusterer that
works here; repair on the test items of all runs, by recipe. Prints tables and writes `planted.json` to the first path.

Example::

    python train.py model=tiny-misconceived && python -m sei.planted multirun/sei-tiny-misconceived-*
    python -m sei.planted multirun/embedded_misconceptions
"""
