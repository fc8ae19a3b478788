"""Transport to any served model behind an OpenAI-compatible endpoint.

Place in the flow: below `sei.teacher` and `sei.target`, which both ask served models. Read `client.py` first (`ask_many`: one
answer per request, each paid for once), then `request.py` and `answer.py` (what goes out and comes back), `settings.py` (how
a model is reached), `session.py` (what is shared by the two ways of asking), `live.py` and `batch.py` (the two ways),
`endpoint.py` (one URL and its dialect), `wire.py`, `faults.py` and `door.py` (its connections, what goes wrong on them, and how
what comes in is made safe), `throttle.py` (how many calls at once, and where), `account.py`, `prices.py` and `budget.py` (who
pays, what, and up to what), `store.py` (where paid answers lie).
"""
