"""How the defaults of KIPDistiller were chosen: variations scored on held-out training rows.

    python examples/reproduce/fc_choices.py --data DIR

The runs are on CIFAR-10, with the FC1 NTK and 300 steps, with 45000 rows to train on and 5000 held
out. No test image is read. The script takes about eight minutes on 2 CPU cores.
"""

from _common import load, mean_std, parser, provenance, standardise_channels

from kipsk import KIPDistiller

VARIATIONS = [
    *({"ipc": 10, "learning_rate": rate} for rate in (0.02, 0.08, 0.32)),
    {"ipc": 10, "schedule": "constant"},
    {"ipc": 10, "init": "kmeans"},
    *({"ipc": 10, "reg": reg} for reg in (1e-8, 1e-4, 1e-2)),
    *({"ipc": 1, "init": init} for init in ("sample", "kmeans")),
]


def main(data, seeds):
    X_train, X_held, y_train, y_held = load("cifar10", data, held_out=5000)
    X_train, X_held = standardise_channels(X_train, X_held)
    print(provenance(), f"{seeds} seeds", sep=", ", end="\n\n")
    print("| parameters | held-out accuracy | last batch losses |")
    print("|---|---|---|")
    for variation in VARIATIONS:
        accuracies, losses = [], []
        for seed in range(seeds):
            distiller = KIPDistiller(**variation, random_state=seed).fit(X_train, y_train)
            accuracies.append(distiller.score(X_held, y_held))
            losses.append(distiller.loss_curve_[-10:].mean())
        shown = ", ".join(f"{name}={value!r}" for name, value in variation.items())
        print(f"| `{shown}` | {mean_std(accuracies)} | {sum(losses) / seeds:.4f} |", flush=True)


if __name__ == "__main__":
    arguments = parser(__doc__.splitlines()[0]).parse_args()
    main(arguments.data, arguments.seeds)
