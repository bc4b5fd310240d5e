/**
 * Finds the invitation in whatever a person put into the one field: a bare ticket, a `sheaf:join#…` link, a whole
 * message, or a spoken code such as `7-orbit-velvet` (PROTOCOL §8). Which words exist is the daemon's to say.
 */
const shape = /sheaf1[a-z0-9]{16,}(?:[@?][^\s"'<>]*)?/i;
const gap = "[\\s.,;:/_+\\u2010-\\u2015-]+";
const code = new RegExp(`^\\D*?(\\d{1,6})${gap}([a-z]{3,})${gap}([a-z]{3,})\\W*$`, "i");
const half_code = new RegExp(`^(?:\\d{1,6}|\\d{1,6}${gap}[a-z]*)$`, "i");
const speech_max = 80;

export function findTicket(text: string): string | null {
  return shape.exec(text)?.[0] ?? shape.exec(text.replace(/\s+/g, ""))?.[0] ?? null;
}

/** The code in its written form, from how it was said: "7 crossover clockwork", "Code: 7-CROSSOVER-clockwork." */
export function findCode(text: string): string | null {
  if (text.length > speech_max) return null;
  const [, number, first, second] = code.exec(text.trim()) ?? [];
  return number && first && second ? `${number}-${first}-${second}`.toLowerCase() : null;
}

export type Invited =
  | { kind: "ticket"; text: string }
  | { kind: "code"; text: string }
  | { kind: "nothing"; complaint: string };

export function readInvitation(text: string): Invited {
  const ticket = findTicket(text);
  if (ticket) return { kind: "ticket", text: ticket };
  const spoken = findCode(text);
  if (spoken) return { kind: "code", text: spoken };
  if (half_code.test(text.trim()))
    return { kind: "nothing", complaint: "A code is a number and two words, like 7-orbit-velvet." };
  return {
    kind: "nothing",
    complaint:
      "There is no invitation in this. It is a long word that starts with “sheaf1”, or a number and two words that somebody read to you.",
  };
}
