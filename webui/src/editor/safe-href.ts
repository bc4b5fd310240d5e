/** Which addresses a link may have. */
const safeSchemes = /^(https?|mailto|tel|sheaf):/i;

/** A link a person may click. Script and data addresses are never made into one. */
export function safeHref(text: string): string | null {
  const trimmed = text.trim();
  if (trimmed === "" || /\s/.test(trimmed)) return null;
  if (safeSchemes.test(trimmed)) return trimmed;
  if (/^[a-z][a-z0-9+.-]*:/i.test(trimmed) && !/^[^/]+:\d+(\/|$)/.test(trimmed)) return null;
  if (trimmed.startsWith("/") || trimmed.startsWith("#")) return trimmed;
  return /^[^\s/]+\.[^\s/]{2,}/.test(trimmed) ? `https://${trimmed}` : null;
}
