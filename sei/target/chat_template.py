"""Tries a model's chat template before the model is used: `python -m sei.target.chat_template`, one JSON object in, one out.

Purpose: a chat template is a program that comes with a model. One that never ends, or asks for all memory, must cost a
process with limits and not the run; one that fails must be named before anything is paid for or generated.
Place in the flow: `load.load_tokenizer` calls `check`. Templates run in the sandbox of transformers, here and everywhere; what
they render later is one message of the user, as here.

Example::

    check(tokenizer, "runs/base")          # UserError: runs/base: the chat template does not end within 10 seconds ...
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sei.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Llama 3.1's template writes today's date if none is given, and the same prompt would differ from day to day. This is the
# date it falls back to.
DATE = "26 Jul 2024"

_CPU_S = 5  # ordinary templates take a millisecond
_MEMORY = 2**30  # bytes, beside what the process has when it starts
_MOST = 1_000_000  # characters; what is written around one message is a few hundred
_CONTENT = "2 apples and 3 more?"
_START_S = 120.0  # to import transformers on a cold and loaded machine
_REMEDY = (
    "Mend chat_template.jinja (or chat_template in tokenizer_config.json), or set model.style=plain, which needs none."
)


def check(tokenizer: PreTrainedTokenizerBase, model: str | Path) -> None:
    """Render the tokenizer's chat template with one message of the user. Raises UserError where that fails or does not end."""
    try:
        template = tokenizer.get_chat_template()
    except Exception as error:  # several templates and none called default, or something that is none
        raise UserError(f"{model}: the chat template cannot be read ({_brief(str(error))}). {_REMEDY}") from error
    fault = _fault(template, json.dumps(tokenizer.special_tokens_map, default=str, sort_keys=True))
    if fault:
        raise UserError(f"{model}: the chat template {fault}. {_REMEDY}")


@lru_cache(maxsize=8)
def _fault(template: object, special: str) -> str:
    """What is wrong with a template, "" where nothing is."""
    if not isinstance(template, str):
        return f"is no text but {type(template).__name__}"
    task = json.dumps({"template": template, "special": json.loads(special), "seconds": _CPU_S})
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "sei.target.chat_template"],
            input=task,
            capture_output=True,
            text=True,
            timeout=_START_S,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        return f"does not end within {_START_S:.0f} seconds"
    lines = done.stdout.splitlines()
    if lines:
        reply: dict[str, str] = json.loads(lines[-1])
        return reply["fault"]
    if done.returncode < 0:  # ended by its limits
        return f"does not end within {_CPU_S} seconds, or takes more than {_MEMORY / 2**30:g} GiB of memory"
    return f"could not be tried ({_brief(done.stderr)})"


def _brief(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines[-1] if lines else "no reason given")[:300]


def _tried(template: str, special: dict[str, Any], seconds: int) -> str:
    from transformers.utils.chat_template_utils import render_jinja_template

    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    addresses = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if _has_proc() else 2**33
    resource.setrlimit(resource.RLIMIT_AS, (addresses + _MEMORY, addresses + _MEMORY))
    message = {"role": "user", "content": _CONTENT}
    try:
        rendered = render_jinja_template(
            conversations=[[message]], chat_template=template, add_generation_prompt=True, date_string=DATE, **special
        )
        text = str(rendered[0][0])
    except MemoryError:
        return f"takes more than {_MEMORY / 2**30:g} GiB of memory"
    except Exception as error:  # jinja's own errors, and whatever an expression in a template raises
        return f"fails ({type(error).__name__}: {_brief(str(error))})"
    if _CONTENT not in text:
        return "does not show the user's message"
    return f"writes {len(text):,} characters around one message" if len(text) > _MOST else ""


def _has_proc() -> bool:
    return Path("/proc/self/statm").is_file()


if __name__ == "__main__":
    task = json.load(sys.stdin)
    print(json.dumps({"fault": _tried(task["template"], task["special"], task["seconds"])}))
