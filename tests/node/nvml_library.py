"""In the place of libnvidia-ml.so.1: what nvidia-ml-py calls, answered for machines that the tests describe."""

from __future__ import annotations

import ctypes
from typing import Any

import attrs
import pytest

OK, UNINITIALIZED, NOT_SUPPORTED, NOT_FOUND, GPU_IS_LOST = 0, 1, 3, 6, 15


@attrs.define
class Card:
    """One GPU, or one instance of one."""

    uuid: str
    name: str = "NVIDIA A100-SXM4-40GB"
    memory_bytes: int = 40 << 30
    minor: int = 0
    lost: bool = False
    mig: bool | None = None  # None: it knows nothing of that
    parts: dict[int, Card] = attrs.Factory(dict)  # by index, with gaps
    ids: tuple[int, int] = (0, 0)  # of an instance


class Library:
    """The functions, with the signatures of nvml.h; each returns an error code."""

    def __init__(self, *cards: Card, ready: int = OK) -> None:
        self._cards = cards
        self._all = [*cards, *(part for card in cards for part in card.parts.values())]
        self._ready = ready
        self.open = 0

    def _of(self, handle: Any) -> Card:
        return self._all[(ctypes.cast(handle, ctypes.c_void_p).value or 0) - 1]

    def _give(self, card: Card, target: Any) -> int:
        ctypes.memmove(target, ctypes.byref(ctypes.c_void_p(self._all.index(card) + 1)), ctypes.sizeof(ctypes.c_void_p))
        return OK

    @staticmethod
    def _set(target: Any, value: int) -> int:
        target._obj.value = value
        return OK

    def nvmlInitWithFlags(self, _flags: int) -> int:
        self.open += self._ready == OK
        return self._ready

    def nvmlShutdown(self) -> int:
        self.open -= 1
        return OK

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:
        return self._set(count, len(self._cards))

    def nvmlDeviceGetHandleByIndex_v2(self, index: Any, device: Any) -> int:
        card = self._cards[index.value]
        return GPU_IS_LOST if card.lost else self._give(card, device)

    def nvmlDeviceGetUUID(self, device: Any, text: Any, _length: Any) -> int:
        text.value = self._of(device).uuid.encode()
        return OK

    def nvmlDeviceGetName(self, device: Any, text: Any, _length: Any) -> int:
        text.value = self._of(device).name.encode()
        return OK

    def nvmlDeviceGetMemoryInfo(self, device: Any, memory: Any) -> int:
        memory._obj.total = self._of(device).memory_bytes
        return OK

    def nvmlDeviceGetMinorNumber(self, device: Any, minor: Any) -> int:
        return self._set(minor, self._of(device).minor)

    def nvmlDeviceGetMigMode(self, device: Any, current: Any, pending: Any) -> int:
        mig = self._of(device).mig
        if mig is None:
            return NOT_SUPPORTED
        self._set(current, int(mig))
        return self._set(pending, int(mig))

    def nvmlDeviceGetMaxMigDeviceCount(self, _device: Any, count: Any) -> int:
        return self._set(count, 7)

    def nvmlDeviceGetMigDeviceHandleByIndex(self, device: Any, index: Any, part: Any) -> int:
        parts = self._of(device).parts
        return self._give(parts[index.value], part) if index.value in parts else NOT_FOUND

    def nvmlDeviceGetGpuInstanceId(self, part: Any, number: Any) -> int:
        return self._set(number, self._of(part).ids[0])

    def nvmlDeviceGetComputeInstanceId(self, part: Any, number: Any) -> int:
        return self._set(number, self._of(part).ids[1])


def install(monkeypatch: pytest.MonkeyPatch, library: Library) -> None:
    """Have nvidia-ml-py find this library."""
    import pynvml

    monkeypatch.setattr(pynvml, "nvmlLib", library)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
