"""Models that their provider no longer serves: named before anything is spent, with what it names in their place.

Place in the flow: a teacher, its inspector and every served source of attempts ask `check_served` when a run starts. A server of
one's own may still have any of them.

Example::

    check_served(ApiSettings(model="gpt-4"))      # UserError: teacher 'gpt-4' is no longer served ...
"""

from __future__ import annotations

from sei.errors import UserError
from sei.llm.settings import ApiSettings

# OpenAI's deprecations page, as read on 2026-11-30: the day of the shutdown, and the model named in its place.
RETIRED: dict[str, tuple[str, str]] = {
    "gpt-3.5-turbo": ("2026-10-23", "gpt-5.6-terra"),
    "gpt-4": ("2026-10-23", "gpt-5.6-sol"),
    "gpt-4-turbo": ("2026-10-23", "gpt-5.6-sol"),
    "o1": ("2026-10-23", "gpt-5.6-sol"),
    "o1-mini": ("2025-10-27", "o4-mini, and in that one's place gpt-5.6-terra"),
    "o1-preview": ("2025-07-28", "o3, and in that one's place gpt-5.6-sol"),
    "o3-mini": ("2026-10-23", "gpt-5.6-sol"),
    "o4-mini": ("2026-10-23", "gpt-5.6-terra"),
}


def check_served(settings: ApiSettings) -> None:
    """Raise UserError where the provider no longer serves the model."""
    if settings.base_urls or settings.model not in RETIRED:
        return
    day, instead = RETIRED[settings.model]
    raise UserError(
        f"{settings.who} is no longer served (shut down on {day}; its provider names {instead} in its place). Choose another "
        f"model, or a server that still has it with {settings.key('base_url')}=URL."
    )
