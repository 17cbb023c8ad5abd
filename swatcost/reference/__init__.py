"""SWAT itself (the paper's Algorithm 1), executed in PyTorch, to validate the model against."""

from typing import TYPE_CHECKING

from swatcost.common.lazy import attributes_from

if TYPE_CHECKING:
    from swatcost.reference.calibration import Calibration, calibrate
    from swatcost.reference.conversion import METHODS_THAT_RUN, Converted, convert
    from swatcost.reference.counts import Counts
    from swatcost.reference.run_settings import Settings
    from swatcost.reference.thresholds import SELECTIONS, Selection
    from swatcost.reference.time_validation import TimeValidation, validate_time
    from swatcost.reference.training import resume, run
    from swatcost.reference.validation import Validation, validate

__all__ = [
    "METHODS_THAT_RUN", "SELECTIONS", "Calibration", "Converted", "Counts", "Selection", "Settings",
    "TimeValidation", "Validation", "calibrate", "convert", "resume", "run", "validate", "validate_time",
]  # fmt: skip

__getattr__ = attributes_from(
    __name__,
    {
        "swatcost.reference.calibration": ("Calibration", "calibrate"),
        "swatcost.reference.conversion": ("METHODS_THAT_RUN", "Converted", "convert"),
        "swatcost.reference.counts": ("Counts",),
        "swatcost.reference.run_settings": ("Settings",),
        "swatcost.reference.thresholds": ("SELECTIONS", "Selection"),
        "swatcost.reference.time_validation": ("TimeValidation", "validate_time"),
        "swatcost.reference.training": ("resume", "run"),
        "swatcost.reference.validation": ("Validation", "validate"),
    },
)
