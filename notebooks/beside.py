"""The plot shared by the notebooks on tables."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas


def printed_beside_computed(cells: pandas.DataFrame, quantity: str, title: str) -> None:
    """Horizontal bars of printed and computed values; computed with supplied statistics where there are any."""
    shown = cells[(cells.quantity == quantity) & cells.computed.notna()]
    best = shown.supplied.astype(float).fillna(shown.computed)
    labels = shown.network + " " + shown.method + " " + shown.setting
    places = range(len(shown))
    figure, axes = plt.subplots(figsize=(7, 0.8 + 0.42 * len(shown)))
    axes.barh([place - 0.2 for place in places], shown.printed, 0.38, color="#0072B2", label="printed")
    axes.barh([place + 0.2 for place in places], best, 0.38, color="#E69F00", label="computed")
    axes.set_yticks(list(places), labels)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel(title)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    figure.tight_layout()
    plt.show()
