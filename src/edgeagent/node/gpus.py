"""Which GPUs this machine lends: what NVIDIA's library says is here, joined with what the sandbox can pin a job to.

Asked once, when the node starts.  A machine without the library, the driver or a GPU has none to lend, and one line
says which of these it is; that is no fault.  A GPU that is partitioned (MIG) is lent by its instances.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import attrs

from edgeagent.errors import UsageError
from edgeagent.node.options import sections as options
from edgeagent.node.slots import GpuRules
from edgesandbox import Grant, SetupFailed, gpus


@attrs.frozen(kw_only=True)
class Instance:
    """A part of a GPU with memory and processors of its own."""

    uuid: str
    name: str
    memory_bytes: int
    gpu_instance: int
    compute_instance: int


@attrs.frozen(kw_only=True)
class Gpu:
    """One GPU; ``minor`` is the number of its device node."""

    uuid: str
    name: str
    memory_bytes: int
    minor: int
    partitioned: bool = False
    instances: tuple[Instance, ...] = ()


@attrs.frozen(kw_only=True)
class Detected:
    """What is here, and one line for each reason why more is not."""

    gpus: tuple[Gpu, ...] = ()
    problems: tuple[str, ...] = ()


@attrs.frozen
class Lent:
    """What jobs can be granted, by UUID; and one line for each thing that is here and cannot be."""

    units: Mapping[str, gpus.Gpu] = attrs.Factory(dict)
    problems: tuple[str, ...] = ()
    host: gpus.Host = gpus.HOST

    @property
    def grants(self) -> tuple[Grant, ...]:
        """All that the sandbox may ever be asked for."""
        return tuple(gpus.grant([unit], self.host) for unit in self.units.values())

    def grant(self, uuids: Collection[str]) -> Grant:
        """Return what a job with these GPUs is given."""
        return gpus.grant([self.units[uuid] for uuid in uuids], self.host)


def detect() -> Detected:
    """Ask NVIDIA's library (the extra ``gpu``) what is here; never raises."""
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return Detected(problems=('not looked for: pip install "edgeagent[gpu]"',))
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return Detected(problems=(f"NVIDIA's driver does not answer: {error}",))
    found: list[Gpu] = []
    problems: list[str] = []
    try:
        for index in range(nvml.nvmlDeviceGetCount()):
            try:
                found.append(_ask(nvml, nvml.nvmlDeviceGetHandleByIndex(index)))
            except nvml.NVMLError as error:
                problems.append(f"GPU {index} does not answer: {error}")
    except nvml.NVMLError as error:
        problems.append(f"NVIDIA's driver does not count its GPUs: {error}")
    finally:
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()
    if not found and not problems:
        problems.append("NVIDIA's driver has none")
    return Detected(gpus=tuple(found), problems=tuple(problems))


def _ask(nvml: Any, handle: Any) -> Gpu:
    partitioned = _partitioned(nvml, handle)
    return Gpu(
        uuid=nvml.nvmlDeviceGetUUID(handle),
        name=nvml.nvmlDeviceGetName(handle),
        memory_bytes=nvml.nvmlDeviceGetMemoryInfo(handle).total,
        minor=nvml.nvmlDeviceGetMinorNumber(handle),
        partitioned=partitioned,
        instances=tuple(_instances(nvml, handle)) if partitioned else (),
    )


def _partitioned(nvml: Any, handle: Any) -> bool:
    try:
        current, _pending = nvml.nvmlDeviceGetMigMode(handle)
    except nvml.NVMLError:  # most GPUs cannot be
        return False
    return bool(current == nvml.NVML_DEVICE_MIG_ENABLE)


def _instances(nvml: Any, handle: Any) -> Iterator[Instance]:
    for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            part = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
        except nvml.NVMLError:  # the numbers have gaps
            continue
        yield Instance(
            uuid=nvml.nvmlDeviceGetUUID(part),
            name=nvml.nvmlDeviceGetName(part),
            memory_bytes=nvml.nvmlDeviceGetMemoryInfo(part).total,
            gpu_instance=nvml.nvmlDeviceGetGpuInstanceId(part),
            compute_instance=nvml.nvmlDeviceGetComputeInstanceId(part),
        )


def lend(detected: Detected, host: gpus.Host = gpus.HOST) -> Lent:
    """Return what of this the sandbox can pin a job to: each GPU, or the instances of one that is partitioned."""
    units: dict[str, gpus.Gpu] = {}
    problems: list[str] = []
    there = {unit.minor: unit for unit in gpus.find(host) if unit.vendor == "NVIDIA"}
    for gpu in detected.gpus:
        whole = there.get(gpu.minor)
        if whole is None:
            problems.append(f"{gpu.uuid} ({gpu.name}): /proc/driver/nvidia does not show it here")
        elif not gpu.partitioned:
            units[gpu.uuid] = dataclasses.replace(whole, uuid=gpu.uuid)
        elif not gpu.instances:
            problems.append(f"{gpu.uuid} ({gpu.name}): no instance of it was made: nvidia-smi mig -cgi 0 -C")
        else:
            for part in gpu.instances:
                try:
                    unit = gpus.instance(whole, part.gpu_instance, part.compute_instance, part.uuid, host=host)
                except SetupFailed as problem:
                    problems.append(str(problem))
                else:
                    units[part.uuid] = unit
    return Lent(units, (*detected.problems, *problems), host)


def within(tier: str, lent: Lent) -> Lent:
    """Return what of this can be lent in a tier of the sandbox: tier C has no way to pin a job."""
    if tier != "C" or not lent.units:
        return lent
    return Lent(problems=(*lent.problems, "the sandbox has nothing to keep a GPU from other jobs by (tier C)"))


def rules(lent: Lent, wanted: options.Gpu) -> GpuRules:
    """Return how this node lends its GPUs, as its owner has it.

    Args:
        lent: what is here.
        wanted: the section ``gpu`` of the node's options.

    Raises:
        UsageError: a GPU that the owner named is not here.
    """
    for key, named in (("lend", wanted.lend or ()), ("exclude", wanted.exclude), ("only_for", wanted.only_for)):
        for uuid in named:
            if uuid not in lent.units:
                raise UsageError(f"gpu.{key}: {uuid} is not here to be lent; found: {', '.join(lent.units) or 'none'}")
    uuids = [uuid for uuid in lent.units if (wanted.lend is None or uuid in wanted.lend) and uuid not in wanted.exclude]
    return GpuRules(uuids=tuple(uuids), share=wanted.jobs_each, needed=wanted.per_job, only_for=dict(wanted.only_for))
