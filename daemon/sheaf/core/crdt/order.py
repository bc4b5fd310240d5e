"""Order keys: short strings that always leave room for another one between two (PROTOCOL §2).

Keys are base-62 fractions compared as ASCII strings. The first four digits are counted up and
down for appending and prepending, so a list that only grows at its ends keeps short keys; between
two keys a digit is chosen at random, so that people who insert at one place at the same time get
different keys. Must not know documents.
"""

from __future__ import annotations

from typing import Final

from sheaf.core.base.machine import Entropy

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VALUES: Final = {digit: value for value, digit in enumerate(_DIGITS)}
_BASE: Final = 62
_HEAD_DIGITS: Final = 4
_HEAD_LIMIT: Final = _BASE**_HEAD_DIGITS
_STEP_MAX: Final = 256
_JITTER_DIGITS: Final = 2
ORDER_MAX: Final = 256
"""Longer keys are somebody's garbage; they are read as no key."""


def order_between(low: str | None, high: str | None, entropy: Entropy) -> str:
    """A key after `low` and before `high`.

    Args:
        low: the key before the wanted place; None for the very start.
        high: the key after it; None for the very end. If it is not above `low`, it is ignored.
        entropy: for the choice among what fits.

    Returns:
        A key that never ends in the lowest digit, so there is always room before it.
    """
    low = _clean(low)
    high = _clean(high) or None
    if high is not None and high <= low:
        high = None
    if high is None or not low:
        head = _next_head(low, high, entropy)
        if head is not None:
            return head
    return _fraction_between(low, high, entropy)


def _clean(key: str | None) -> str:
    """The key without foreign characters and trailing zeros: keys of other writers are not trusted."""
    return "".join(digit for digit in (key or "")[:ORDER_MAX] if digit in _VALUES).rstrip("0")


def _next_head(low: str, high: str | None, entropy: Entropy) -> str | None:
    """A four-digit key one random step beyond the end, or None when the four digits are used up."""
    step = 1 + entropy(1)[0] % _STEP_MAX
    if high is not None:
        value = _head(high) - step
    elif low:
        value = _head(low) + step
    else:
        value = _HEAD_LIMIT // 2 + step
    if value % _BASE == 0:
        value += 1 if high is None else -1
    if not 0 < value < _HEAD_LIMIT:
        return None
    digits = ""
    for _ in range(_HEAD_DIGITS):
        value, digit = divmod(value, _BASE)
        digits = _DIGITS[digit] + digits
    return digits


def _head(key: str) -> int:
    value = 0
    for digit in key[:_HEAD_DIGITS].ljust(_HEAD_DIGITS, "0"):
        value = value * _BASE + _VALUES[digit]
    return value


def _fraction_between(low: str, high: str | None, entropy: Entropy) -> str:
    digits = ""
    index = 0
    while True:
        floor = _VALUES[low[index]] if index < len(low) else 0
        ceiling = _BASE
        if high is not None:
            ceiling = _VALUES[high[index]] if index < len(high) else 0
        if ceiling - floor > 1:
            break
        digits += _DIGITS[floor]
        if ceiling > floor:
            high = None  # already below it, whatever follows
        index += 1
    digits += _DIGITS[floor + 1 + entropy(1)[0] % (ceiling - floor - 1)]
    for value in entropy(_JITTER_DIGITS):
        digits += _DIGITS[1 + value % (_BASE - 1)]
    return digits
