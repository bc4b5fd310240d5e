/** Inviting somebody: by text, link and picture, or by a code read out loud; and the invitations still open. */
import { Megaphone, Ticket } from "lucide-react";
import { type FormEvent, useEffect, useState } from "react";
import { explain } from "../hooks/actions";
import { useApp } from "../hooks/app";
import { useSpace } from "../hooks/library";
import { useStore } from "../hooks/store";
import type { SpaceId } from "../model/identifiers";
import type { Invitation, Role } from "../model/library";
import type { InvitationRequest } from "../model/ports";
import { Button, Choice, Field, Spinner } from "./controls";
import { Dialog } from "./Dialog";
import { MadeTicket, OpenInvitations } from "./Invitations";
import { SpokenInvitation } from "./SpokenInvitation";

const day_s = 86_400;
const lifetimes = [
  { value: String(day_s / 24), label: "an hour" },
  { value: String(day_s), label: "a day" },
  { value: String(7 * day_s), label: "a week" },
  { value: String(30 * day_s), label: "a month" },
];
const usage = [
  { value: "1", label: "one person" },
  { value: "5", label: "5 people" },
  { value: "25", label: "25 people" },
];

/** How it gets to the other: sent as text, link or picture, or said. */
type Way = "send" | "say";
type Making = { kind: "idle" } | { kind: "busy" } | { kind: "failed"; message: string };

export function ShareDialog({ spaceId, onClose }: { spaceId: SpaceId; onClose: () => void }) {
  const { api, people, daemon } = useApp();
  const space = useSpace(spaceId);
  const link = useStore(daemon);
  const open = useStore(people).invitations[spaceId] ?? [];
  const [made, setMade] = useState<Invitation | null>(null);
  const [wish, setWish] = useState<Wish>(firstWish);
  const [making, setMaking] = useState<Making>({ kind: "idle" });

  // Again when the daemon is back: what became of a code meanwhile was not heard.
  useEffect(() => {
    if (link === "online") void people.refreshInvitations(spaceId).catch(() => undefined);
  }, [people, spaceId, link]);

  const create = async () => {
    setMaking({ kind: "busy" });
    try {
      setMade(await api.createInvitation(spaceId, requestOf(wish)));
      setMaking({ kind: "idle" });
      await people.refreshInvitations(spaceId).catch(() => undefined);
    } catch (error) {
      setMade(null);
      setMaking({ kind: "failed", message: explain(error) });
    }
  };
  const isBusy = making.kind === "busy";

  return (
    <Dialog title={`Share “${space?.name ?? "this space"}”`} onClose={onClose} wide>
      {made?.code ? (
        <SpokenInvitation
          spaceId={spaceId}
          made={made}
          isBusy={isBusy}
          onAnother={() => {
            if (made.code_state === "used") setMade(null);
            else void create();
          }}
        />
      ) : made ? (
        <MadeTicket invitation={made} onAnother={() => setMade(null)} />
      ) : (
        <WishForm
          wish={wish}
          onWish={setWish}
          making={making}
          onSubmit={() => void create()}
          spaceId={spaceId}
        />
      )}
      <OpenInvitations
        spaceId={spaceId}
        invitations={open}
        shown={made?.invitation_id ?? null}
        onShow={setMade}
      />
    </Dialog>
  );
}

interface Wish {
  way: Way;
  role: Role;
  lifetime: string;
  uses: string;
}

const firstWish: Wish = { way: "send", role: "editor", lifetime: String(7 * day_s), uses: "1" };

function requestOf({ way, role, lifetime, uses }: Wish): InvitationRequest {
  return way === "say"
    ? { role, code: true }
    : { role, expires_in_s: Number(lifetime), max_uses: Number(uses) };
}

interface WishFormProps {
  wish: Wish;
  onWish: (wish: Wish) => void;
  making: Making;
  onSubmit: () => void;
  spaceId: SpaceId;
}

function WishForm({ wish, onWish, making, onSubmit, spaceId }: WishFormProps) {
  const isSpoken = wish.way === "say";
  const submit = (event: FormEvent) => {
    event.preventDefault();
    onSubmit();
  };
  const isBusy = making.kind === "busy";
  return (
    <form onSubmit={submit}>
      <Choice
        label="Hand it over"
        value={wish.way}
        onChange={(way) => onWish({ ...wish, way })}
        options={[
          { value: "send", label: "Send it" },
          { value: "say", label: "Read it out loud" },
        ]}
      />
      <p className="lead">
        {isSpoken
          ? "You get a number and two words to say, across the table or on the phone. They type them, you both see the same four words, and they are in."
          : "Make an invitation and send it however you like. Whoever has it can join while both laptops are on and can reach each other."}
      </p>
      <Choice
        label="They can"
        value={wish.role}
        onChange={(role) => onWish({ ...wish, role })}
        options={[
          { value: "editor", label: "write" },
          { value: "reader", label: "only read" },
        ]}
      />
      {isSpoken ? (
        making.kind === "failed" ? null : (
          <NeedsRelay spaceId={spaceId} />
        )
      ) : (
        <div className="field-row">
          <Picked
            label="Good for"
            options={usage}
            value={wish.uses}
            onChange={(uses) => onWish({ ...wish, uses })}
          />
          <Picked
            label="Ends after"
            options={lifetimes}
            value={wish.lifetime}
            onChange={(lifetime) => onWish({ ...wish, lifetime })}
          />
        </div>
      )}
      {making.kind === "failed" ? (
        <p className="form-problem" role="alert">
          {making.message}
        </p>
      ) : null}
      <Button type="submit" look="primary" data-testid="share-create" disabled={isBusy}>
        {isBusy ? (
          <Spinner label="Making the invitation" />
        ) : isSpoken ? (
          <Megaphone size={16} aria-hidden="true" />
        ) : (
          <Ticket size={16} aria-hidden="true" />
        )}
        {isSpoken ? "Make a code" : "Make an invitation"}
      </Button>
    </form>
  );
}

interface PickedProps {
  label: string;
  options: readonly { value: string; label: string }[];
  value: string;
  onChange: (value: string) => void;
}

function Picked({ label, options, value, onChange }: PickedProps) {
  return (
    <Field label={label}>
      {(id) => (
        <select id={id} value={value} onChange={(event) => onChange(event.target.value)}>
          {options.map((option) => (
            <option key={option.value} value={option.value}>
              {option.label}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

/** The code is only a place to meet: without a relay there is none. */
function NeedsRelay({ spaceId }: { spaceId: SpaceId }) {
  const { library, overlays } = useApp();
  const space = useSpace(spaceId);
  const relays = useStore(library).status?.relays ?? [];
  if (relays.some((relay) => relay.state === "connected")) {
    return <p className="hint">A code is for one person, has one try, and is good for ten minutes.</p>;
  }
  return (
    <div className="needs-relay" data-testid="needs-relay">
      <p>
        A code needs a relay that both laptops can reach, and{" "}
        {relays.length === 0 ? "this laptop knows none." : "none of yours can be reached right now."}
      </p>
      {space?.role === "owner" ? (
        <Button onClick={() => overlays.open({ kind: "relays", spaceId })}>Relays…</Button>
      ) : null}
    </div>
  );
}
