/** Joining a space: paste or type, compare, watch, arrive. One field takes a ticket, a link or a spoken code. */
import { CircleCheck } from "lucide-react";
import { type FormEvent, useEffect, useState } from "react";
import { useActions } from "../hooks/actions";
import { useApp } from "../hooks/app";
import { useStore } from "../hooks/store";
import type { Join, JoinState } from "../model/library";
import { readRelayUrl } from "../model/relays";
import { readInvitation } from "../model/ticket";
import { bytes } from "../model/time";
import type { Joining } from "../stores/joining";
import { Button, Field, Spinner } from "./controls";
import { Dialog } from "./Dialog";
import { SafetyWords } from "./SpokenInvitation";

const steps: readonly { state: JoinState; label: string }[] = [
  { state: "searching", label: "Looking for the other laptop" },
  { state: "connecting", label: "Connecting" },
  { state: "joining", label: "Being let in" },
  { state: "catching_up", label: "Fetching what is written" },
];

const no_relay =
  "A code is looked up at the relay of the one who invites, and this laptop knows none. Ask for its address and put it in.";

/** Why it did not work. The daemon speaks to people at a terminal too; here the relay is a field. */
function failureOf(state: Joining): string | null {
  if (state.kind === "refused") return inThisWindow(state.message);
  if (state.kind !== "running") return null;
  const { error } = state.join;
  return inThisWindow([error?.title, error?.detail].filter(Boolean).join(". ")) || "Joining did not work.";
}

const inThisWindow = (message: string): string =>
  message.replace(/(?: and say)?: sheaf join CODE --relay \S+/g, " here.");

function isAboutRelays(state: Joining): boolean {
  const isOver = state.kind === "refused" || (state.kind === "running" && state.join.state === "failed");
  return isOver && /relay/i.test(failureOf(state) ?? "");
}

export function JoinDialog({ ticket = "", onClose }: { ticket?: string; onClose: () => void }) {
  const { joining, library, overlays } = useApp();
  const actions = useActions();
  const state = useStore(joining);
  const [text, setText] = useState(ticket);
  const [relay, setRelay] = useState("");
  const [complaint, setComplaint] = useState<string | null>(null);
  const arrived = state.kind === "running" && state.join.state === "done" ? state.join.space_id : null;

  useEffect(() => {
    if (arrived) void library.refresh().catch(() => undefined);
  }, [arrived, library]);

  const invited = readInvitation(text);
  const isCode = invited.kind === "code";
  const knownRelays = useStore(library).status?.relays ?? [];
  const canMeet = knownRelays.some((one) => one.state === "connected");
  const needsRelay = isCode && (!canMeet || isAboutRelays(state) || relay !== "");

  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (invited.kind === "nothing") return setComplaint(invited.complaint);
    if (invited.kind === "ticket") return void joining.start(invited.text);
    if (relay.trim() === "") {
      if (knownRelays.length > 0) return void joining.start(invited.text);
      return setComplaint(no_relay);
    }
    const read = readRelayUrl(relay, { isShared: false });
    if (!read.ok) return setComplaint(read.complaint);
    void joining.start(invited.text, read.url);
  };
  const leave = () => {
    if (arrived) joining.reset();
    else joining.cancel();
    onClose();
  };
  const background = () => {
    onClose();
    overlays.notify("Still joining. The space appears on the left when it is here.");
  };

  if (state.kind === "running" && state.join.state !== "failed") {
    return (
      <Dialog title="Join a space" onClose={arrived ? leave : background}>
        <JoinProgress join={state.join} />
        {state.join.safety_words ? (
          <SafetyWords
            words={state.join.safety_words}
            lead={`Compare these words with ${state.join.inviter_name ?? "the person who invited you"}, out loud:`}
            warning="If they are not the same, somebody stands between you: leave the space again and tell them."
          />
        ) : null}
        <div className="dialog-footer">
          {arrived ? (
            <Button
              look="primary"
              onClick={() => {
                leave();
                actions.openSpace(arrived);
              }}
            >
              Open {state.join.space_name ?? "the space"}
            </Button>
          ) : (
            <>
              <Button look="quiet" onClick={leave}>
                Stop joining
              </Button>
              <Button onClick={background}>Continue in the background</Button>
            </>
          )}
        </div>
      </Dialog>
    );
  }

  const failure = complaint ?? failureOf(state);
  return (
    <Dialog title="Join a space" onClose={leave}>
      <form onSubmit={submit}>
        <p className="lead">
          Paste the invitation you were sent, or type the code that somebody reads to you. The laptop it comes
          from has to be on and within reach.
        </p>
        <Field label="Invitation or code">
          {(id) => (
            <textarea
              id={id}
              data-testid="join-input"
              data-kind={invited.kind}
              className={`ticket-text ${isCode ? "ticket-spoken" : ""}`}
              rows={isCode ? 1 : 4}
              value={text}
              spellCheck={false}
              autoComplete="off"
              autoCapitalize="none"
              placeholder="sheaf1… or 7-orbit-velvet"
              aria-invalid={failure !== null}
              onChange={(event) => {
                setText(event.target.value);
                setComplaint(null);
                if (state.kind === "refused") joining.reset();
              }}
              onKeyDown={(event) => {
                if (event.key === "Enter" && !event.shiftKey) {
                  event.preventDefault();
                  event.currentTarget.form?.requestSubmit();
                }
              }}
            />
          )}
        </Field>
        {needsRelay ? (
          <Field
            label="Relay (if they told you one)"
            hint="A code is a place to meet at a relay. Yours has to be the same as theirs."
          >
            {(id) => (
              <input
                id={id}
                data-testid="join-relay"
                value={relay}
                placeholder="relay.example.org"
                spellCheck={false}
                autoComplete="off"
                autoCapitalize="none"
                onChange={(event) => {
                  setRelay(event.target.value);
                  setComplaint(null);
                }}
              />
            )}
          </Field>
        ) : null}
        {failure ? (
          <p className="form-problem" role="alert" data-testid="join-problem">
            {failure}
          </p>
        ) : null}
        <Button
          type="submit"
          look="primary"
          data-testid="join-submit"
          disabled={state.kind === "asking" || text.trim() === ""}
        >
          {state.kind === "asking" ? <Spinner label="Asking" /> : null}
          {failure && state.kind !== "idle" ? "Try again" : "Join"}
        </Button>
      </form>
    </Dialog>
  );
}

function JoinProgress({ join }: { join: Join }) {
  const done = join.state === "done";
  const at = done ? steps.length : steps.findIndex((step) => step.state === join.state);
  const share = join.total_bytes > 0 ? join.done_bytes / join.total_bytes : 0;
  return (
    <div className="join-progress" role="status" aria-live="polite">
      {done ? (
        <p className="join-arrived">
          <CircleCheck size={22} aria-hidden="true" /> You are in
          {join.space_name ? `: ${join.space_name}` : ""}.
        </p>
      ) : null}
      <ol className="steps">
        {steps.map((step, index) => (
          <li
            key={step.state}
            className={index < at ? "step-done" : index === at ? "step-now" : ""}
            aria-current={index === at ? "step" : undefined}
          >
            <span>{step.label}</span>
            {step.state === "joining" && join.space_name ? (
              <span className="muted">{join.space_name}</span>
            ) : null}
            {step.state === "catching_up" && index === at && join.total_bytes > 0 ? (
              <span className="muted">
                {bytes(join.done_bytes)} of {bytes(join.total_bytes)}
              </span>
            ) : null}
          </li>
        ))}
      </ol>
      <progress value={done ? 1 : Math.max(0, (at + share) / steps.length)} max={1} aria-label="Joining" />
    </div>
  );
}
