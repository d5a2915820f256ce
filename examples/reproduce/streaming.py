"""One pass of `partial_fit` over a memory-mapped array, and the memory that it takes.

    python examples/reproduce/streaming.py --data DIR --repeats 10 --folder TEMPORARY

The script writes the training images of CIFAR-10, standardised for each channel, `--repeats` times
to a file (0.6 GB each, every other time mirrored), and distils the file in one pass. It prints the
largest sampled value of the process's own (anonymous) memory, without the pages of the file, which
the operating system may drop.
"""

import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from _common import load, parser, provenance, standardise_channels

from kipsk import KIPDistiller

GIB = 2**30


class Memory(threading.Thread):
    """Samples the process's anonymous memory until the program ends."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peak = 0.0
        self.start()

    @staticmethod
    def now():
        lines = Path("/proc/self/status").read_text().splitlines()
        (size,) = [line.split()[1] for line in lines if line.startswith("RssAnon")]
        return int(size) * 1024 / GIB

    def run(self):
        while True:
            self.peak = max(self.peak, self.now())
            time.sleep(0.02)


def write(path, X, repeats):
    file = np.lib.format.open_memmap(path, "w+", np.float32, (repeats * len(X), X.shape[1]))
    for n in range(repeats):
        images = X.reshape(-1, 32, 32, 3)
        file[n * len(X) : (n + 1) * len(X)] = (images[:, :, ::-1] if n % 2 else images).reshape(
            X.shape
        )
    file.flush()


def main(arguments):
    print(provenance(), end="\n\n")
    X_train, X_test, y_train, y_test = load("cifar10", arguments.data)
    X_train, X_test = standardise_channels(X_train, X_test)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder) / "images.npy"
        write(path, X_train, arguments.repeats)
        del X_train
        X = np.load(path, mmap_mode="r")
        y = np.tile(y_train, arguments.repeats)
        memory = Memory()
        before = memory.now()
        distiller = KIPDistiller(ipc=10, batch_size=arguments.batch_size, random_state=0)
        start = time.perf_counter()
        distiller.partial_fit(X, y, classes=np.unique(y))
        seconds = time.perf_counter() - start
        score = 100 * distiller.score(X_test, y_test)
        print("| rows | file, GiB | memory before, at its peak, GiB | steps | minutes | accuracy |")
        print("|---|---|---|---|---|---|")
        print(
            f"| {len(X)} | {path.stat().st_size / GIB:.1f} | {before:.2f}, {memory.peak:.2f} "
            f"| {distiller.n_iter_} | {seconds / 60:.1f} | {score:.1f} |"
        )


if __name__ == "__main__":
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--repeats", type=int, default=10, help="copies of the training set")
    options.add_argument("--batch-size", type=int, default=2000)
    options.add_argument("--folder", help="where the file is written (default: the system's)")
    main(options.parse_args())
