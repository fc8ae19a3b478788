"""Compare runs over seeds: who was right more often on the same test items, what that took, and what it changed.

Place in the flow: after a sweep. `runs` reads run folders (`remote` a group of W&B), `groups` puts together the seeds of one
method and says which groups are tested, `rows` has the figures. `tables`, `figure` and `page` show them, `output` writes
each into a file by its ending. The command is `python -m sei.compare`.

Example::

    comparison = compare(find_runs([Path("multirun/sweep-1a2b3c4d")]))
    [row.p_holm for row in comparison.rows if row.kind == "paired"]
"""
