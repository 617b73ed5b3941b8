"""What this machine has, and what of it a run may use."""

import os
import shutil
from pathlib import Path
from typing import Any

from bids_app.config import Settings
from cinebold.errors import SettingError
from workflows.specifications import Hardware


def hardware_of(settings: Settings) -> Hardware:
    """Processes, threads, memory and the device: what was asked for, else what there is."""
    n_procs = settings.nprocs or len(os.sched_getaffinity(0))
    return Hardware(
        n_procs=n_procs,
        omp_nthreads=min(settings.omp_nthreads or min(n_procs, 8), n_procs),
        memory_mb=settings.mem_mb or int(0.9 * available_memory_mb()),
        device=resolve_device(settings.device),
    )


def available_memory_mb() -> float:
    """The memory of the machine, or of the container or job that this process runs in."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        limit = Path(path)
        if limit.is_file() and (text := limit.read_text().strip()).isdigit():
            total = min(total, int(text))
    return total / 2**20


def resolve_device(device: str) -> str:
    """`auto` is the first visible CUDA device, else the CPU. A device that is not there is refused."""
    if device == "cpu":
        return device
    if device == "auto" and not (shutil.which("nvidia-smi") or Path("/dev/nvidiactl").exists()):
        return "cpu"  # spares the second that importing torch takes
    import torch

    n_devices = torch.cuda.device_count()
    if device == "auto":
        return "cuda:0" if n_devices else "cpu"
    index = int(device.partition(":")[2] or 0)
    if index >= n_devices:
        raise SettingError(
            f"--device {device}: this machine shows {n_devices} CUDA devices to torch; use --device cpu, or check the "
            "driver, CUDA_VISIBLE_DEVICES and the container's --gpus or --nv option"
        )
    return f"cuda:{index}"


def read_plugin(path: Path | None) -> dict[str, Any] | None:
    """A Nipype plugin file: {plugin: NAME, plugin_args: {...}}."""
    if path is None:
        return None
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise SettingError(f"--use-plugin: {path} cannot be read as YAML: {error}") from None
    if not isinstance(content, dict) or not isinstance(content.get("plugin"), str):
        raise SettingError(
            f"--use-plugin: {path} must hold a mapping with `plugin` and, if needed, `plugin_args`"
        )
    return content
