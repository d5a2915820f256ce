"""What features far from zero cost: accuracy before and after 2500 was added to every feature.

python examples/reproduce/offset.py
"""

import warnings

import numpy as np

from kipsk import KIPDistiller


def main():
    """Print the test accuracy of ten learned rows per class of two classes, curved apart."""
    Z = np.random.default_rng(0).standard_normal((1500, 6))
    y = Z[:, 0] + Z[:, 1] ** 2 > 1
    for kernel in ("fc1", "rbf"):
        for offset in (0, 2500):
            X = Z + offset
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that the kernel sees little is the point
                distiller = KIPDistiller(kernel, ipc=10, random_state=0).fit(X[:500], y[:500])
            print(f"{kernel}, offset {offset}: {distiller.score(X[500:], y[500:]):.3f}")


if __name__ == "__main__":
    main()
