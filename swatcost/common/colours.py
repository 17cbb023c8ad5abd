"""A colour-blind-safe palette for plots and pages.

Source: Okabe and Ito, "Color Universal Design", 2008 (jfly.uni-koeln.de/color).
"""

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, YELLOW, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000",
)  # fmt: skip
