from enum import Enum
from types import SimpleNamespace


class RequestOutputKind(Enum):
    FINAL_ONLY = 2


class SamplingParams(SimpleNamespace):
    def __init__(self, *, output_kind: RequestOutputKind, **fields: object) -> None:
        assert output_kind is RequestOutputKind.FINAL_ONLY
        super().__init__(**fields)
