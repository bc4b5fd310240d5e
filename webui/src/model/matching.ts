/** Ranking for the quick switcher and the slash menu: prefix, then word start, then in order anywhere. */
export function matchScore(query: string, text: string): number {
  const needle = query.trim().toLowerCase();
  const hay = text.toLowerCase();
  if (needle === "") return 1;
  const at = hay.indexOf(needle);
  if (at === 0) return 100 - Math.min(hay.length, 50) / 100;
  if (at > 0) return (/\W/.test(hay.charAt(at - 1)) ? 80 : 60) - at / 100;
  let from = 0;
  let gaps = 0;
  for (const letter of needle) {
    const next = hay.indexOf(letter, from);
    if (next < 0) return 0;
    gaps += next - from;
    from = next + 1;
  }
  return Math.max(1, 30 - gaps);
}

export function rank<T>(query: string, items: readonly T[], textOf: (item: T) => string): T[] {
  return items
    .map((item, index) => ({ item, index, score: matchScore(query, textOf(item)) }))
    .filter((entry) => entry.score > 0)
    .sort((a, b) => b.score - a.score || a.index - b.index)
    .map((entry) => entry.item);
}
