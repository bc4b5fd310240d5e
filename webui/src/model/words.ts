/** Counting words in any script, and saying how many. Pure. */
const segmenter = "Segmenter" in Intl ? new Intl.Segmenter(undefined, { granularity: "word" }) : null;

export function countWords(text: string): number {
  if (!segmenter) return text.match(/[\p{L}\p{N}]+/gu)?.length ?? 0;
  let count = 0;
  for (const { isWordLike } of segmenter.segment(text)) if (isWordLike) count += 1;
  return count;
}

/** "1 word", "312 words"; a change without a new word (a deletion, a format) is "some changes". */
export function wordsInWords(count: number): string {
  if (count === 0) return "some changes";
  return count === 1 ? "1 word" : `${count} words`;
}
