"""The colour and the marker of each rung, in all figures and on the page. Imports no plotting library.

The colours are Okabe and Ito's palette, which colour-blind readers can tell apart.
"""

from speechladder.io.hashing import stable_hash

LOOKS = {
    "text-bpe": ("#0072B2", "o"),
    "text-raw": ("#56B4E9", "s"),
    "phone-bpe": ("#009E73", "D"),
    "phone-raw": ("#E69F00", "^"),
    "phone-repeat": ("#D55E00", "v"),
    "speech-hubert": ("#CC79A7", "P"),
    "speech-hubert-dedup": ("#000000", "X"),
}
NORM_LABELS = {"sum": "sum over tokens", "mean": "mean per token", "span": "mean after the common beginning"}
OTHER_LOOKS = [(colour, marker) for colour in ("#7F7F7F", "#8C6D31", "#5254A3", "#843C39") for marker in "*hp<>"]


def look(rung: str) -> dict[str, str]:
    """Colour and marker of a rung. A rung that is not built in always gets the same one of the other looks."""
    colour, marker = LOOKS.get(rung) or OTHER_LOOKS[stable_hash(rung) % len(OTHER_LOOKS)]
    return {"color": colour, "marker": marker}
