"""Link targets that may be written into a document or shown as a link.

Only addresses a person would follow: http, https, mailto, tel, and places inside Sheaf. Never
`javascript:` or `data:`: a document is shown inside the daemon's own origin.
"""

from __future__ import annotations

import re
from typing import Any, Final

from markdown_it.common.normalize_url import normalizeLink

_SCHEME: Final = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):")
_ALLOWED: Final = frozenset({"http", "https", "mailto", "tel", "sheaf"})
_HREF_MAX: Final = 2_000


def canonical_href(href: Any) -> str | None:
    """The one spelling every format writes and reads, or None when this is not a fit target."""
    if not isinstance(href, str) or not 0 < len(href) <= _HREF_MAX or not href.isprintable():
        return None
    scheme = _SCHEME.match(href)
    if scheme is None:
        if href[0].isspace() or ":" in href.split("/")[0].split("?")[0].split("#")[0]:
            return None
    elif scheme.group(1).lower() not in _ALLOWED:
        return None
    try:
        normal = normalizeLink(href)
        return normal if normalizeLink(normal) == normal else None
    except (ValueError, IndexError, UnicodeError):
        return None
