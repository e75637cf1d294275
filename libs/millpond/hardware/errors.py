"""What can be wrong with reading the hardware."""

from __future__ import annotations

from millpond.errors import MillpondError


class GpusUnreadable(MillpondError):
    """NVML is here but doesn't answer: {cause}. So which GPUs this machine has is unknown. `nvidia-smi` should say
    the same; often the driver was updated and the machine not restarted.
    """
