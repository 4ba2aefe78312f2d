"""The array types that rooms exchange, by the kind of their elements."""

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
