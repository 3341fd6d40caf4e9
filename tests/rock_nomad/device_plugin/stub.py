"""What the stub of NVIDIA's driver answers: a text file, changed while it is in use."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["WHOLE", "Driver"]

WHOLE = 0xFFFFFFFF
"""The instance of an event that concerns a whole card."""


@dataclass
class Driver:
    """The file behind NVML_STUB; see nvml_stub.c for its keys."""

    path: Path
    answers: dict[str, object] = field(default_factory=lambda: {"driver": "570.124.06", "count": 0})

    def update(self, **answers: object) -> None:
        """Answer so from now on; `card_0_error` stands for `card.0.error`, None takes an answer away."""
        for key, value in answers.items():
            name = ".".join(key.split("_", 2)) if key.startswith("card_") else key
            self.answers[name] = value
        self._write()

    def add_card(self, model: str, **answers: object) -> str:
        """One more card; returns its id."""
        number = int(str(self.answers["count"]))
        id_ = f"GPU-00000000-0000-0000-0000-{number:012d}"
        facts = {
            "uuid": id_, "name": model, "bus": f"00000000:{number:02X}:00.0", "minor": number, "cores_clock": 1980,
            "memory_clock": 2619, "limit": 700_000, "power": 312_500, "bar1": 131072, "compute": "9.0", "busy": 40,
            "generation": 5, "width": 16, "display": 0, "persistence": 1, "temperature": 41, "ecc": 0, "used": 1024,
            **answers,
        }  # fmt: skip
        self.answers |= {f"card.{number}.{name}": value for name, value in facts.items()}
        self.answers["count"] = number + 1
        self._write()
        return id_

    def divide(self, card: int, *memories: int) -> list[str]:
        """Divide a card into instances of so many MiB; returns their ids."""
        ids = [f"MIG-{card}-{slot}" for slot in range(len(memories))]
        for slot, (id_, memory) in enumerate(zip(ids, memories, strict=True)):
            facts = {
                "uuid": id_,
                "name": "NVIDIA H100 80GB HBM3 MIG 3g.40gb",
                "memory": memory,
                "gi": slot + 1,
                "ci": 0,
            }
            self.answers |= {f"card.{card}.mig.{slot}.{name}": value for name, value in facts.items()}
        self.answers[f"card.{card}.mig"] = 1
        self._write()
        return ids

    def report(self, card: int, *, kind: int = 8, data: int = 79, instance: tuple[int, int] = (WHOLE, WHOLE)) -> None:
        """Report an event: an XID, unless it is of another kind."""
        event = self.path.with_name(f"{self.path.name}.event")
        partial = event.with_suffix(".partial")
        partial.write_text(f"{card} {kind} {data} {instance[0]} {instance[1]}")
        os.replace(partial, event)

    def _write(self) -> None:
        partial = self.path.with_suffix(".partial")
        partial.write_text("".join(f"{key} {value}\n" for key, value in self.answers.items() if value is not None))
        os.replace(partial, self.path)
