"""Peak memory and time of RegularizedZCA on 50000 rows of 3072 features (Linux).

    python examples/reproduce/whitening_memory.py

"On top" is the peak of the process minus the memory that it held before the call, in GB of 1e9
bytes.
"""

import time
from pathlib import Path

import numpy as np
from _common import provenance

from kipsk import RegularizedZCA


def measured(function):
    """Return the result, the seconds, and the peak in GB on top of what was held before."""
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    clear.write_text("5")  # resets the high-water mark

    def kilobytes(field):
        line = next(line for line in status.read_text().splitlines() if line.startswith(field))
        return int(line.split()[1])

    before, start = kilobytes("VmRSS"), time.perf_counter()
    result = function()
    return result, time.perf_counter() - start, (kilobytes("VmHWM") - before) * 1024 / 1e9


def main():
    print(provenance(), end="\n\n")
    print("| dtype of X | X, GB | fit | transform, with its output |")
    print("|---|---|---|---|")
    rng = np.random.default_rng(0)
    for dtype in ("float32", "uint8", "float64"):
        X = np.empty((50000, 3072), dtype)
        for rows in np.array_split(np.arange(len(X)), 50):
            X[rows[0] : rows[-1] + 1] = rng.integers(0, 256, (len(rows), 3072))
        zca, seconds, peak = measured(lambda X=X: RegularizedZCA().fit(X))
        fit = f"{seconds:.0f} s, {peak:.2f} GB"
        _, seconds, peak = measured(lambda X=X, zca=zca: zca.transform(X))
        transform = f"{seconds:.0f} s, {peak:.2f} GB"
        print(f"| {dtype} | {X.nbytes / 1e9:.2f} | {fit} | {transform} |", flush=True)


if __name__ == "__main__":
    main()
