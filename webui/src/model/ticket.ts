/** Finds the invitation in whatever was pasted: a bare ticket, a `sheaf:join#…` link, or a whole message. */
const shape = /sheaf1[a-z0-9]{16,}(?:[@?][^\s"'<>]*)?/i;

export function findTicket(text: string): string | null {
  return shape.exec(text)?.[0] ?? shape.exec(text.replace(/\s+/g, ""))?.[0] ?? null;
}
