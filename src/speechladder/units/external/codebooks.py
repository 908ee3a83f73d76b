"""Units as integers: one stream, or several codebooks, and how these become one stream."""

import re
from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np

from speechladder.settings import Units
from speechladder.units.external.files import NUMBERS, SYMBOLS

LARGEST = 2**16 - 1
EMPTY = np.zeros(0, np.uint16)
Loaded = tuple[np.ndarray, np.ndarray | None]  # units, durations


def as_integers(given: Any, what: str, least: int) -> tuple[np.ndarray, str]:
    """(n,) uint16 and "", or an empty array and what is wrong. Lists of integers and texts of them are accepted.

    >>> as_integers("<Un3><Un49>", "unit", 0)[0].tolist()
    [3, 49]
    """
    if isinstance(given, str) and given.strip():
        if not (SYMBOLS.fullmatch(given) or NUMBERS.fullmatch(given)):
            return EMPTY, f"{what}s {given[:40]!r} are neither <Un3><Un49> nor 3 49"
        given = list(map(int, re.findall(r"\d+", given)))
    if not isinstance(given, list | np.ndarray | str):
        return EMPTY, f"{what}s are {type(given).__name__}, not a list of integers"
    if not len(given) or isinstance(given, str):
        return EMPTY, f"no {what}s: the list is empty"
    try:
        values = np.asarray(given)
    except (ValueError, OverflowError):  # lists of different lengths
        values = np.empty((0, 0))
    if values.ndim != 1:
        return EMPTY, f"{what}s are lists within a list; write one stream of integers"
    if values.dtype.kind not in "iu":
        at = next((n for n, v in enumerate(given) if type(v) is not int or not least <= v <= LARGEST), 0)
        return EMPTY, f"{what} {given[at]!r} at place {at} is no integer from {least} to {LARGEST:,}"
    wrong = (values < least) | (values > LARGEST)
    if wrong.any():
        at = int(np.argmax(wrong))
        return EMPTY, f"{what} {values[at]} at place {at} is no integer from {least} to {LARGEST:,}"
    return values.astype(np.uint16), ""


def _is_list(given: Any) -> bool:
    return isinstance(given, list | np.ndarray)


def unwrapped(given: Any) -> Any:
    """Units without the dimension of a batch: lists with one list of lists in them are left out."""
    while _is_list(given) and len(given) == 1 and _is_list(given[0]) and len(given[0]) and _is_list(given[0][0]):
        given = given[0]
    return given


def shape(given: Any) -> tuple[int, int] | None:
    """(lists, integers in each) of a list of lists; 0 integers if their numbers differ; None for anything else."""
    given = unwrapped(given)
    if not _is_list(given) or not len(given) or not _is_list(given[0]):
        return None
    lengths = {len(row) if _is_list(row) else -1 for row in given}
    return len(given), lengths.pop() if len(lengths) == 1 else 0


def misfit(given: Any, codebooks: int) -> str:
    """Why the shape of a row's units does not fit units.num_codebooks; "" if it does, or if they are no lists."""
    found = shape(given)
    if found is None:
        if codebooks == 1 or not (_is_list(given) or isinstance(given, str)):
            return ""
        return (
            f"units are one list, but units.num_codebooks is {codebooks}; write {codebooks} lists, or for each frame a "
            f"list of {codebooks} ids"
        )
    outer, inner = found
    if codebooks == 1:
        return "" if 1 in found else refusal(outer, inner)
    if inner < 1:
        return "units are lists of different lengths; every codebook has one id for each frame"
    return "" if codebooks in found else f"units are {outer} lists of {inner}, but units.num_codebooks is {codebooks}"


def as_frames(given: Any, codebooks: int, by_codebook: Callable[[], bool | None]) -> tuple[np.ndarray, str]:
    """(n,) uint16, or (n, codebooks) with a row for each frame, and ""; or an empty array and what is wrong.

    Several codebooks are a list of each codebook, or a list of each frame. Where there are as many frames as codebooks,
    `by_codebook` says which; None if it does not know.
    """
    if problem := misfit(given, codebooks):
        return EMPTY, problem
    found = shape(given)
    given = given if found is None else list(chain.from_iterable(unwrapped(given)))
    values, problem = as_integers(given, "unit", 0)
    if problem or codebooks == 1 or found is None:
        return values, problem
    outer, inner = found
    transposed = by_codebook() if outer == inner else outer == codebooks
    if transposed is None:
        return EMPTY, f"units are {outer} lists of {inner}, which may be codebooks or frames; no row says which"
    values = values.reshape(outer, inner)
    return np.ascontiguousarray(values.T if transposed else values), ""


def refusal(outer: int, inner: int) -> str:
    """Why several codebooks are not taken without a setting that says how."""
    count = min(outer, inner) if inner > 0 else outer
    return (
        f"units are {outer} lists, as of several codebooks, and a model reads one stream of integers; set "
        f"units.num_codebooks (here it may be {count}) and units.codebook_order: first (the first one alone), flat "
        "(all ids of a frame, then those of the next) or delay (codebook k is k frames later)"
    )


def one_stream(units: np.ndarray, durations: np.ndarray | None, settings: Units) -> Loaded:
    """The units (n, codebooks) as one stream, by `settings.codebook_order`; (n,) units stay as they are.

    first: the ids of the first codebook. flat, delay: id i of codebook k, from 0, is unit i + k x settings.clusters.
    flat: all codebooks of a frame, then those of the next frame. delay: codebook k of frame t stands in step t + k, and
    within a step the codebooks are in their order (the delay pattern of Copet et al. 2023, arXiv 2306.05284, as one
    stream and without padding). Each unit keeps the duration of its frame.
    """
    if units.ndim == 1:
        return units, durations
    if settings.codebook_order == "first":
        return np.ascontiguousarray(units[:, 0]), durations
    frame, book = (at.ravel() for at in np.indices(units.shape))
    order = np.lexsort((book, frame + book if settings.codebook_order == "delay" else frame))
    ids = (units.astype(np.int64) + np.arange(units.shape[1]) * settings.clusters).ravel()[order]
    return ids.astype(np.uint16), None if durations is None else durations[frame[order]]
