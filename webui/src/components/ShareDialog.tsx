/** Inviting somebody: a ticket as text, link and picture; and the invitations that are still open. */
import { Check, Copy, Link2, Ticket } from "lucide-react";
import { type FormEvent, type ReactNode, useEffect, useState } from "react";
import { explain } from "../hooks/actions";
import { useApp } from "../hooks/app";
import { useCopy } from "../hooks/clipboard";
import { useSpace } from "../hooks/library";
import { useStore } from "../hooks/store";
import type { SpaceId } from "../model/identifiers";
import type { Invitation, Role } from "../model/library";
import { relativeTime } from "../model/time";
import { Button, Choice, Field, Spinner } from "./controls";
import { Dialog } from "./Dialog";

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

type Making = { kind: "idle" } | { kind: "busy" } | { kind: "failed"; message: string };

export function ShareDialog({ spaceId, onClose }: { spaceId: SpaceId; onClose: () => void }) {
  const { api, people } = useApp();
  const space = useSpace(spaceId);
  const open = useStore(people).invitations[spaceId] ?? [];
  const [made, setMade] = useState<Invitation | null>(null);
  const [role, setRole] = useState<Role>("editor");
  const [lifetime, setLifetime] = useState(String(7 * day_s));
  const [uses, setUses] = useState("1");
  const [making, setMaking] = useState<Making>({ kind: "idle" });

  useEffect(() => {
    void people.refreshInvitations(spaceId).catch(() => undefined);
  }, [people, spaceId]);

  const create = async (event: FormEvent) => {
    event.preventDefault();
    setMaking({ kind: "busy" });
    try {
      const options = { role, expires_in_s: Number(lifetime), max_uses: Number(uses) };
      setMade(await api.createInvitation(spaceId, options));
      setMaking({ kind: "idle" });
      await people.refreshInvitations(spaceId).catch(() => undefined);
    } catch (error) {
      setMaking({ kind: "failed", message: explain(error) });
    }
  };

  return (
    <Dialog title={`Share “${space?.name ?? "this space"}”`} onClose={onClose} wide>
      {made ? (
        <MadeTicket invitation={made} onAnother={() => setMade(null)} />
      ) : (
        <form onSubmit={(event) => void create(event)}>
          <p className="lead">
            Make an invitation and send it however you like. Whoever has it can join while both laptops are on
            and can reach each other.
          </p>
          <Choice
            label="They can"
            value={role}
            onChange={setRole}
            options={[
              { value: "editor", label: "write" },
              { value: "reader", label: "only read" },
            ]}
          />
          <div className="field-row">
            <Field label="Good for">
              {(id) => (
                <select id={id} value={uses} onChange={(event) => setUses(event.target.value)}>
                  {usage.map((option) => (
                    <option key={option.value} value={option.value}>
                      {option.label}
                    </option>
                  ))}
                </select>
              )}
            </Field>
            <Field label="Ends after">
              {(id) => (
                <select id={id} value={lifetime} onChange={(event) => setLifetime(event.target.value)}>
                  {lifetimes.map((option) => (
                    <option key={option.value} value={option.value}>
                      {option.label}
                    </option>
                  ))}
                </select>
              )}
            </Field>
          </div>
          {making.kind === "failed" ? (
            <p className="form-problem" role="alert">
              {making.message}
            </p>
          ) : null}
          <Button type="submit" look="primary" data-testid="share-create" disabled={making.kind === "busy"}>
            {making.kind === "busy" ? (
              <Spinner label="Making the invitation" />
            ) : (
              <Ticket size={16} aria-hidden="true" />
            )}
            Make an invitation
          </Button>
        </form>
      )}
      <OpenInvitations spaceId={spaceId} invitations={open} shown={made?.invitation_id ?? null} />
    </Dialog>
  );
}

interface CopyButtonProps {
  text: string;
  icon?: ReactNode;
  children: ReactNode;
}

function CopyButton({ text, icon = <Copy size={15} aria-hidden="true" />, children }: CopyButtonProps) {
  const { copied, copy } = useCopy();
  return (
    <Button onClick={() => void copy(text)}>
      {copied === text ? <Check size={15} aria-hidden="true" /> : icon}
      {copied === text ? "Copied" : children}
    </Button>
  );
}

function qrAddress(svg: string): string {
  return `data:image/svg+xml;utf8,${encodeURIComponent(svg)}`;
}

function MadeTicket({ invitation, onAnother }: { invitation: Invitation; onAnother: () => void }) {
  const { ticket, link, qr_svg } = invitation;
  return (
    <div className="made-ticket">
      {qr_svg ? <img className="qr" src={qrAddress(qr_svg)} alt="The invitation as a QR code" /> : null}
      <div className="ticket-side">
        <p className="lead">Send this. It lets in whoever has it, so send it as you would a key.</p>
        <p className="ticket-text" data-testid="share-ticket">
          {ticket}
        </p>
        <div className="button-row">
          {ticket ? <CopyButton text={ticket}>Copy the invitation</CopyButton> : null}
          {link ? (
            <CopyButton text={link} icon={<Link2 size={15} aria-hidden="true" />}>
              Copy as a link
            </CopyButton>
          ) : null}
        </div>
        <p className="hint">
          They paste it into “Join a space”, or run <code>sheaf join</code> with it.
        </p>
        <Button look="quiet" onClick={onAnother}>
          Make another
        </Button>
      </div>
    </div>
  );
}

interface OpenInvitationsProps {
  spaceId: SpaceId;
  invitations: readonly Invitation[];
  shown: string | null;
}

function OpenInvitations({ spaceId, invitations, shown }: OpenInvitationsProps) {
  const { api, people, overlays } = useApp();
  if (invitations.length === 0) return null;
  const revoke = async (id: string) => {
    try {
      await api.revokeInvitation(spaceId, id);
      await people.refreshInvitations(spaceId);
    } catch (error) {
      overlays.notify(explain(error), { tone: "problem" });
    }
  };
  const now = Date.now();
  return (
    <section className="open-invitations" aria-label="Open invitations">
      <h3>Open invitations</h3>
      <ul>
        {invitations.map((invitation) => (
          <li
            key={invitation.invitation_id}
            className={invitation.invitation_id === shown ? "just-made" : ""}
          >
            <span>
              {invitation.role === "reader" ? "To read" : "To write"}
              <span className="muted">
                {` · ${invitation.uses_left} left`}
                {invitation.expires_at ? ` · ends ${relativeTime(invitation.expires_at, now)}` : ""}
              </span>
            </span>
            {invitation.ticket ? <CopyButton text={invitation.ticket}>Copy</CopyButton> : null}
            <Button look="danger" onClick={() => void revoke(invitation.invitation_id)}>
              Take back
            </Button>
          </li>
        ))}
      </ul>
    </section>
  );
}
