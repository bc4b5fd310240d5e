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

/** `guest` is the name of who came, `problem` the daemon's own words for why it brought nobody new. */
export function codeWords(
  state: CodeState,
  guest: string | null = null,
  problem: string | null = null,
): CodeWords {
  const name = guest ?? "They";
  switch (state) {
    case "waiting":
      return {
        title: "Waiting for them",
        body: "They type it into “Join a space”. Leave this laptop on; the window may be closed.",
        isOver: false,
      };
    case "confirmed":
      return {
        title: `${name} typed the same code`,
        body: "The invitation is on its way. Compare the words below meanwhile.",
        isOver: false,
      };
    case "used":
      if (problem !== null) return { title: `${name} is in this space already`, body: problem, isOver: true };
      return { title: `${name} joined`, body: "Compare the words below, if you have not yet.", isOver: true };
    case "burned":
      return { title: "That code is spent", body: problem ?? spent, isOver: true };
    case "expired":
      return {
        title: "Nobody came in time",
        body: "A code is good for ten minutes. Make another.",
        isOver: true,
      };
    case "failed":
      return {
        title: "That did not work",
        body: `${problem ?? "The relay or the other side went away."} Make another code, or send an invitation instead.`,
        isOver: true,
      };
  }
}

const spent =
  "Somebody tried it with other words. It may have been a slip, or somebody guessing; each code has one try. Make another.";
