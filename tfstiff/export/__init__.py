"""What was measured, for other programs: tidy tables, xarray and netCDF, TensorBoard. Imports no TensorFlow.

Optional libraries are imported when they are first needed.
"""

from tfstiff.export.frames import measurement_frame
from tfstiff.export.labelled import as_dataset, write_netcdf
from tfstiff.export.tensorboard import EVENT_FILE, EventWriter, write_tensorboard
from tfstiff.export.tidy import DEFAULT_TABLES, TIDY_FORMATS, TIDY_TABLES, write_tidy

__all__ = [
    "DEFAULT_TABLES",
    "EVENT_FILE",
    "TIDY_FORMATS",
    "TIDY_TABLES",
    "EventWriter",
    "as_dataset",
    "measurement_frame",
    "write_netcdf",
    "write_tensorboard",
    "write_tidy",
]
