"""The colours of the page in its light and its dark theme, as CSS variables, all with enough contrast."""

from collections.abc import Mapping

from speechladder.report.page.section import slug

TEXT, MARK = 4.5, 3.0  # the contrast that WCAG 2.2 AA asks of text and of graphics
# name: (light, dark)
COLOURS = {
    "paper": ("#ffffff", "#14171a"),
    "panel": ("#f5f6f7", "#1d2125"),
    "ink": ("#1b1f23", "#e8eaec"),
    "muted": ("#57606a", "#a3adb7"),
    "faint": ("#767f88", "#87919b"),
    "line": ("#d5dade", "#343b42"),
    "grid": ("#e9ecef", "#262c32"),
    "link": ("#0b5cad", "#7db8f0"),
    "good": ("#1a7f37", "#56d364"),
    "bad": ("#b42318", "#ff8b80"),
}


def luminance(colour: str) -> float:
    """The relative luminance of '#rrggbb' (WCAG 2.2)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, from 1 to 21 (WCAG 2.2)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def readable(colour: str, ground: str, least: float = MARK) -> str:
    """`colour`, moved towards black or white until its contrast with `ground` is at least `least`."""
    parts = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    goal = 0 if luminance(ground) > 0.2 else 255
    for step in range(101):
        found = "#" + "".join(f"{round(part + (goal - part) * step / 100):02x}" for part in parts)
        if contrast(found, ground) >= least:
            return found
    raise ValueError(f"no shade of {colour} has a contrast of {least} with {ground}")


def variable(name: str) -> str:
    """The colour of a rung, or of a run beside others, as a value of CSS."""
    return f"var(--rung-{slug(name)})"


def palette(colours: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """CSS variable -> its value in the light and in the dark theme, with those of rungs or runs, name -> '#rrggbb'."""
    papers = COLOURS["paper"]
    found = {f"--{name}": pair for name, pair in COLOURS.items()}
    for name, colour in colours.items():
        found[f"--rung-{slug(name)}"] = (readable(colour, papers[0]), readable(colour, papers[1]))
    return found
