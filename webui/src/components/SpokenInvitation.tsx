/** A code to read out loud: large, with its time, what became of it, and the words to compare at the end. */
import { Check, CircleCheck, CircleX, Copy, Ear, LoaderCircle } from "lucide-react";
import { useApp } from "../hooks/app";
import { useCopy } from "../hooks/clipboard";
import { useNow } from "../hooks/clock";
import { useStore } from "../hooks/store";
import type { SpaceId } from "../model/identifiers";
import type { CodeState, Invitation } from "../model/library";
import { sayRelay } from "../model/relays";
import { type CodeWords, codeStateNow, codeWords, countdown, spokenTime } from "../model/spoken";
import { Button } from "./controls";

const second_ms = 1_000;

interface SpokenInvitationProps {
  spaceId: SpaceId;
  made: Invitation;
  isBusy: boolean;
  onAnother: () => void;
}

export function SpokenInvitation({ spaceId, made, isBusy, onAnother }: SpokenInvitationProps) {
  const { people } = useApp();
  const open = useStore(people).invitations[spaceId] ?? [];
  const invitation = open.find((one) => one.invitation_id === made.invitation_id) ?? made;
  const heard = invitation.code_state ?? "waiting";
  const now = useNow(second_ms, heard === "waiting");
  const state = codeStateNow(heard, invitation.code_expires_ms, now);
  const left_ms = (invitation.code_expires_ms ?? now) - now;
  const words = codeWords(state, invitation.guest_name, invitation.code_problem);
  const isLost = state === "burned" || state === "expired" || state === "failed";
  return (
    <div className="spoken" data-testid="spoken" data-state={state}>
      {words.isOver ? null : <Code code={invitation.code ?? ""} />}
      {state === "waiting" ? (
        <p className="spoken-time muted" role="timer" aria-label={`Good for ${spokenTime(left_ms)}`}>
          Good for <span className="spoken-clock">{countdown(left_ms)}</span>, for one person, for one try.
        </p>
      ) : null}
      {state === "waiting" && invitation.code_relay ? (
        <p className="hint">
          If they are asked for a relay: <span className="relay-name">{sayRelay(invitation.code_relay)}</span>
        </p>
      ) : null}
      <Progress state={state} words={words} />
      {invitation.safety_words ? (
        <SafetyWords
          words={invitation.safety_words}
          lead={`Compare these words with ${invitation.guest_name ?? "them"}, out loud:`}
          warning="If they are not the same, somebody stands between you: write nothing here, and start again in a new space."
        />
      ) : null}
      {words.isOver ? (
        <Button look={isLost ? "primary" : "plain"} disabled={isBusy} onClick={onAnother}>
          {isLost ? "Make another code" : "Invite somebody else"}
        </Button>
      ) : null}
    </div>
  );
}

function Code({ code }: { code: string }) {
  const { copied, copy } = useCopy();
  return (
    <div className="spoken-card">
      <p className="spoken-code" data-testid="spoken-code">
        <span className="visually-hidden">The code to read out: </span>
        {code.split("-").map((part, index) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: the parts of one code never move, and two may be the same word
          <span key={index}>
            {index > 0 ? <span className="spoken-dash">-</span> : null}
            {part}
          </span>
        ))}
      </p>
      <Button onClick={() => void copy(code)}>
        {copied === code ? <Check size={15} aria-hidden="true" /> : <Copy size={15} aria-hidden="true" />}
        {copied === code ? "Copied" : "Copy"}
      </Button>
    </div>
  );
}

function Progress({ state, words }: { state: CodeState; words: CodeWords }) {
  const isBad = state === "burned" || state === "expired" || state === "failed";
  return (
    <div className={`spoken-state ${isBad ? "spoken-bad" : ""}`} role="status" aria-live="polite">
      <span aria-hidden="true">
        {isBad ? (
          <CircleX size={20} />
        ) : state === "used" ? (
          <CircleCheck size={20} />
        ) : (
          <LoaderCircle size={20} className="turning" />
        )}
      </span>
      <div>
        <strong>{words.title}</strong>
        <p className="muted">{words.body}</p>
      </div>
    </div>
  );
}

interface SafetyWordsProps {
  words: readonly string[];
  lead: string;
  warning: string;
}

/** Four words that both sides see. Shown the same way on both, so that they are read in the same order. */
export function SafetyWords({ words, lead, warning }: SafetyWordsProps) {
  return (
    <section className="safety" aria-label="Words to compare">
      <p>
        <Ear size={16} aria-hidden="true" /> {lead}
      </p>
      <ol className="safety-words" data-testid="safety-words">
        {words.map((word, index) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: their order is what they are, and a word may come twice
          <li key={index}>{word}</li>
        ))}
      </ol>
      <p className="hint">{warning}</p>
    </section>
  );
}
