"""A teacher behind any OpenAI-compatible endpoint.

Place in the flow: the `teacher` of the recipes where `conf/teacher/` binds `Api`. Read `teacher.py` first (the roles as
methods), then `roles.py` (what each role asks and accepts); how a question reaches the model is `sei.llm`.
"""

from sei.teacher.api.choice import Api

__all__ = ["Api"]
