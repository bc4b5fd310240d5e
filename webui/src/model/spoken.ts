/** The life of a spoken code on the inviter's screen, in words (PROTOCOL §8). Pure. */
import type { CodeState } from "./library";

/** "9:41", "0:07". */
export function countdown(left_ms: number): string {
  const seconds = Math.max(0, Math.ceil(left_ms / 1_000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

/** For the ear: "about 10 minutes", "less than a minute". */
export function spokenTime(left_ms: number): string {
  const minutes = Math.round(left_ms / 60_000);
  if (minutes < 1) return "less than a minute";
  return minutes === 1 ? "about a minute" : `about ${minutes} minutes`;
}

/** What the screen shows: a code whose time is over is expired, whatever was heard of it last. */
export function codeStateNow(state: CodeState, expires_ms: number | null, now: number): CodeState {
  return state === "waiting" && expires_ms !== null && now >= expires_ms ? "expired" : state;
}

export interface CodeWords {
  title: string;
  /** What to do. */
  body: string;
  isOver: boolean;
}

export function codeWords(state: CodeState): CodeWords {
  switch (state) {
    case "waiting":
      return {
        title: "Waiting for them",
        body: "They type it into “Join a space”. Leave this laptop on; the window may be closed.",
        isOver: false,
      };
    case "confirmed":
      return {
        title: "They typed the same code",
        body: "The invitation is on its way to them.",
        isOver: false,
      };
    case "used":
      return { title: "They have the invitation", body: "Compare the words, and they are in.", isOver: true };
    case "burned":
      return {
        title: "That code is spent",
        body: "Somebody typed a different one. A mistyped word is enough; it can also be somebody guessing. Each code has one try, so make another.",
        isOver: true,
      };
    case "expired":
      return {
        title: "Nobody came in time",
        body: "A code is good for ten minutes. Make another.",
        isOver: true,
      };
    case "failed":
      return {
        title: "That did not work",
        body: "The relay went away, or the other side did. Make another code, or send an invitation instead.",
        isOver: true,
      };
  }
}
