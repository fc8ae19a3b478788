from types import SimpleNamespace


class LoRARequest(SimpleNamespace):
    def __init__(self, lora_name: str, lora_int_id: int, lora_path: str) -> None:
        super().__init__(lora_name=lora_name, lora_int_id=lora_int_id, lora_path=lora_path)
