"""A scripted teacher: an OpenAI-compatible server on loopback that answers every role with a well-formed reply of no worth.

Place in the flow: a rehearsal (`sei.rehearsal`) runs a recipe against it from the first call to the last, before anybody pays
for one; the tests' server, which misbehaves as well, says what this one says. A reply depends only on the first message of a
request, so a resumed run gets what the interrupted one got. It keeps nothing and is no language model.

Example::

    with serving_script({"2 apples and 3 more?": "5"}) as url:
        Api(name="local", model="scripted", base_url=url)
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import re
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PHRASES = (
    "forgets to add the remaining part",
    "multiplies where division is needed",
    "confuses total with difference",
    "uses the percentage as a plain number",
    "skips the conversion of units",
    "slips in multi-digit multiplication",
)


FAMILIES = {  # words of an operation, for the scripted clustering model
    "addition": ("addition", "adding", "added", "add", "sum", "total", "combined"),
    "subtraction": ("subtraction", "subtracting", "subtracted", "difference", "remaining", "left"),
    "multiplication": ("multiplication", "multiplying", "multiplied", "multiply", "times", "product"),
    "division": ("division", "dividing", "divided", "divide", "average", "half", "share"),
    "percentages": ("percentage", "percent", "discount", "interest", "tax"),
    "units": ("conversion", "converting", "units", "hours", "minutes", "weight"),
    "fractions": ("fraction", "fractions", "ratio", "proportion", "portion"),
    "setting up": ("equation", "setup", "algebraic", "interpretation", "misinterpreted", "misunderstanding"),
    "omission": ("ignored", "ignoring", "failure", "failed", "omitted", "missing", "forgot"),
}
NARROWER = {  # what a group that is too broad is divided by
    "cost": ("cost", "price", "money", "spent", "earnings", "profit", "paid"),
    "time": ("time", "day", "days", "hour", "week", "tuesday", "age", "speed"),
}


def digest(*parts: object) -> int:
    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:12], 16)


def tagged(tag: str, prompt: str) -> str:
    """The text of the last <tag>...</tag> in a prompt (examples come before the case at hand)."""
    return (re.findall(rf"<{tag}>\n(.*?)\n</{tag}>", prompt, re.DOTALL) or [""])[-1]


def problem(seed: int, number: int) -> dict[str, str]:
    """A made-up problem with a right solution; numbers differ with `seed` and `number`."""
    chance = random.Random(f"{seed}-{number}")
    a, b, c = chance.randint(12, 98), chance.randint(3, 9), chance.randint(10, 99)
    name = chance.choice(("Ada", "Ben", "Chi", "Dev", "Eli", "Fay")) + str(number)
    return {
        "question": f"{name} packs {a} crates with {b} lamps each and sells {c} of the lamps. How many lamps are left?",
        "solution": f"There are {a}*{b}=<<{a}*{b}={a * b}>>{a * b} lamps.\n"
        f"{a * b}-{c}=<<{a * b}-{c}={a * b - c}>>{a * b - c} are left.\n#### {a * b - c}",
        "answer": str(a * b - c),
    }


def lamps(question: str) -> str:
    """The answer to a question of `problem`, "" to any other."""
    found = re.search(r"packs (\d+) crates with (\d+) lamps each and sells (\d+)", question)
    return str(int(found[1]) * int(found[2]) - int(found[3])) if found else ""


def role_of(body: Mapping[str, Any]) -> str:
    """The role, from the schema's name or, where it travels in the prompt, from the schema's fields."""
    if "response_format" in body:
        return str(body["response_format"]["json_schema"]["name"])
    prompt = body["messages"][0]["content"]
    if "Schema:\n" in prompt:
        fields = set(json.loads(prompt.split("Schema:\n")[-1])["properties"])
        by_field = {
            "keyphrases": "diagnose", "steps": "correct", "problems": "synthesize",
            "faults": "inspect", "cause": "trace", "merges": "cluster_merge", "description": "name_type",
            "question": "evolve", "reason": "locate",
        }  # fmt: skip
        if "groups" in fields:
            return "cluster_extend" if "<groups>" in prompt else "cluster_seed"
        return next(role for name, role in by_field.items() if name in fields)
    return "template" if "<Generalized>" in prompt else "solve"


def families(phrase: str, table: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    """(family, the word that shows it) for each word of `phrase` that stands in `table`, in the phrase's order."""
    words = re.findall(r"[a-z]+", phrase.lower())
    found = [(family, word) for word in words for family, known in table.items() if word in known]
    return found or [("general", "general")]


def scripted_groups(prompt: str, seed_call: bool) -> dict[str, Any]:
    """The clustering model: no perfect one. Which group a phrase with words of two families joins depends on which was
    there first, and now and then it opens a second group for a family it has (as 'multiplying' beside 'multiplied').
    """
    table = NARROWER if "turned out too broad" in prompt else FAMILIES
    shown = [] if seed_call else re.findall(r"^- (.+?): ", tagged("groups", prompt), re.MULTILINE)
    members: dict[str, list[str]] = {name: [] for name in shown}
    for line in tagged("phrases", prompt).splitlines():
        phrase = line.removeprefix("- ")
        found = families(phrase, table)
        own = [name for name in members if name.split(" by ")[0] in {f"Slips: {family}" for family, _ in found}]
        name = f"Slips: {found[0][0]} by {found[0][1]}"
        if own and digest(phrase) % 8:
            name = own[0]
        members.setdefault(name, []).append(phrase)
    groups = [
        {"name": name, "description": f"About {name}.", "phrases": phrases}
        for name, phrases in members.items()
        if phrases
    ]
    return {"groups": groups}


def scripted_merges(prompt: str) -> dict[str, Any]:
    """Groups of one family are one."""
    by_family: dict[str, list[str]] = {}
    for name in re.findall(r"^- (.+?): About ", tagged("groups", prompt), re.MULTILINE):
        by_family.setdefault(name.split(" by ")[0], []).append(name)
    return {
        "merges": [
            {"names": names, "name": family, "description": f"About {family}."}
            for family, names in by_family.items()
            if len(names) > 1
        ]
    }


def scripted(body: Mapping[str, Any], gold: Mapping[str, str]) -> str:
    """The right reply to a request. `gold` maps questions to answers, for roles that are not shown one."""
    role, prompt = role_of(body), body["messages"][0]["content"]
    question = tagged("question", prompt)
    seed = digest(prompt.split("\n\nReply with exactly one JSON object")[0])  # the same in both dialects
    steps = [line for line in tagged("student", prompt).splitlines() if line.startswith("Step ")]
    answer = gold.get(question) or lamps(question) or str(seed % 1000)
    step = 1 + seed % max(1, len(steps))
    if role == "solve":
        if not question and seed % 2:  # a target's own prompt, to a source of attempts: some are right
            answer = next((known for asked, known in gold.items() if asked in prompt), answer)
        return f"Work it out.\nThe result is {answer}.\n#### {answer}"
    if role == "template":
        return f"<Step1>Read.<Key>Care.</Key></Step1>\n<Generalized>Plan.</Generalized>\n<Answer>{answer}</Answer>"
    if role == "synthesize":
        count = int(re.search(r"Write (\d+) new problems", prompt)[1])  # type: ignore[index]
        given = 0
        for message in body["messages"][1:]:
            if message["role"] == "user" and (
                more := re.match(r"(\d+) of the \d+ problems can be used", message["content"])
            ):
                given = int(more[1])
        return json.dumps({"problems": [problem(seed, number) for number in range(given, count)]})
    if role in ("cluster_seed", "cluster_extend"):
        return json.dumps(scripted_groups(prompt, role == "cluster_seed"))
    if role == "cluster_merge":
        return json.dumps(scripted_merges(prompt))
    replies: dict[str, dict[str, Any]] = {
        "diagnose": {"step": step if steps else 0, "reason": f"Step {step} is wrong.", "kind": "wrong operation",
                     "keyphrases": [PHRASES[seed % len(PHRASES)]]},
        "locate": {"reason": "It was checked.", "step": seed % (len(steps) + 1)},
        "correct": {"step": step, "explanation": "The quantity is wrong.", "steps": [f"The result is {answer}."],
                    "answer": answer},
        "evolve": {"question": problem(seed, 0)["question"]},
        "name_type": {"name": f"Weakness {seed % 997}", "description": "A weakness with a number."},
        "trace": {"step": step if steps else 0, "cause": "A slip.", "correction": "Do it right.",
                  "answer": answer},
        "inspect": {"correct": True, "faults": []},
    }  # fmt: skip
    return json.dumps(replies[role])


@contextlib.contextmanager
def serving_script(gold: Mapping[str, str]) -> Iterator[str]:
    """The script on a free port of this machine while the context lasts: its address. `gold`: questions and their answers."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # connections stay open

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            content = json.dumps(_completion(body, scripted(body, gold))).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing: the run's own progress does."""

        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):  # a client that was killed
                super().handle()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()


def _completion(body: Mapping[str, Any], text: str) -> dict[str, Any]:
    """A chat completion as the protocol has it; tokens are counted in characters, since nobody pays for them."""
    asked = sum(len(message["content"]) for message in body["messages"])
    return {
        "id": f"scripted-{digest(body['messages'])}",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": asked, "completion_tokens": len(text), "total_tokens": asked + len(text)},
    }
