/**
 * How people are told apart. The eight colours come from Okabe and Ito's colour-blind safe set, each moved to a
 * relative luminance near 0.17: white text on it passes 4.5:1, and it stands out 3:1 from both papers.
 * Colour is never the only sign: a name or initials always go with it.
 */
export const presenceColours = [
  "#0a72b0",
  "#bd4f0c",
  "#0b8060",
  "#b0478c",
  "#8a6c05",
  "#6e5bc8",
  "#0d7c8c",
  "#9c5a4a",
] as const;

/** FNV-1a, 32 bits: the same person gets the same colour on every screen. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) {
    value = Math.imul(value ^ text.charCodeAt(index), 0x01000193) >>> 0;
  }
  return value;
}

export function presenceColour(key: string): string {
  return presenceColours[hash(key) % presenceColours.length] ?? presenceColours[0];
}

export function initials(name: string): string {
  const words = name.trim().split(/\s+/).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words.at(-1)] : [words[0]];
  return letters
    .map((word) => [...(word ?? "?")][0] ?? "?")
    .join("")
    .toUpperCase();
}

export interface PresenceUser {
  name: string;
  color: string;
  colorLight: string;
  user_id?: string;
}

export function presenceUser(userId: string, name: string): PresenceUser {
  const color = presenceColour(userId);
  return { name, color, colorLight: `${color}33`, user_id: userId };
}

const hexColour = /^#[0-9a-f]{6}$/i;

/** Awareness is whatever a peer chose to send: take only what can be drawn safely. */
export function readPresenceUser(state: unknown): PresenceUser | null {
  if (typeof state !== "object" || state === null || !("user" in state)) return null;
  const user: unknown = state.user;
  if (typeof user !== "object" || user === null) return null;
  const name = "name" in user && typeof user.name === "string" ? user.name.slice(0, 64) : "Somebody";
  const color =
    "color" in user && typeof user.color === "string" && hexColour.test(user.color)
      ? user.color
      : presenceColour(name);
  const user_id = "user_id" in user && typeof user.user_id === "string" ? user.user_id : undefined;
  return { name, color, colorLight: `${color}33`, ...(user_id === undefined ? {} : { user_id }) };
}
