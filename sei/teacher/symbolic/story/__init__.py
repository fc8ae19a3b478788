"""New problems told from a program: an outline of operations, a scene, numbers that fit it, sentences, and a check.

Place in the flow: `synthesize` and `evolve` read a seed's solution as an outline (`outline`), tell it in a scene
(`planner` with the rules of `rules*` and the scenes of `scenes`, then `tell`), see to it that the error type's own mistake can be
made there (`aim`), and let `check` read the question again.

Example::

    plan = plan_story(outline, rng, register="full")        # None where no scene can tell these operations
    story = tell(plan, rng)                                  # Story(question, steps, answer, ...)
"""
