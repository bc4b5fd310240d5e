/** An invitation that was made, and those that are still open. */
import { Check, Copy, Link2 } from "lucide-react";
import type { ReactNode } from "react";
import { explain } from "../hooks/actions";
import { useApp } from "../hooks/app";
import { useCopy } from "../hooks/clipboard";
import { useNow } from "../hooks/clock";
import type { SpaceId } from "../model/identifiers";
import type { Invitation } from "../model/library";
import { codeStateNow, codeWords, spokenTime } from "../model/spoken";
import { relativeTime } from "../model/time";
import { Button } from "./controls";

const second_ms = 1_000;
const minute_ms = 60_000;

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

export function MadeTicket({ invitation, onAnother }: { invitation: Invitation; onAnother: () => void }) {
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

/** A code that is used or spent leaves nothing that could be taken back. */
function isOpen({ code_state, code_expires_ms }: Invitation, now: number): boolean {
  return code_state === null || !codeWords(codeStateNow(code_state, code_expires_ms, now)).isOver;
}

interface OpenInvitationsProps {
  spaceId: SpaceId;
  invitations: readonly Invitation[];
  shown: string | null;
  onShow: (invitation: Invitation) => void;
}

function InvitationNote({ invitation, now }: { invitation: Invitation; now: number }) {
  const { code_state, code_expires_ms, expires_at, uses_left } = invitation;
  if (code_state !== null) {
    const state = codeStateNow(code_state, code_expires_ms, now);
    const left =
      state === "waiting" && code_expires_ms !== null ? `, ${spokenTime(code_expires_ms - now)} left` : "";
    return (
      <span className="muted">{` · by a code · ${codeWords(state, invitation.guest_name).title}${left}`}</span>
    );
  }
  return (
    <span className="muted">
      {` · ${uses_left} left`}
      {expires_at ? ` · ends ${relativeTime(expires_at, now)}` : ""}
    </span>
  );
}

export function OpenInvitations({ spaceId, invitations, shown, onShow }: OpenInvitationsProps) {
  const { api, people, overlays } = useApp();
  const isCounting = invitations.some((invitation) => invitation.code_state === "waiting");
  const now = useNow(isCounting ? second_ms : minute_ms);
  const open = invitations.filter((invitation) => isOpen(invitation, now));
  if (open.length === 0) return null;
  const revoke = async (id: string) => {
    try {
      await api.revokeInvitation(spaceId, id);
      await people.refreshInvitations(spaceId);
    } catch (error) {
      overlays.notify(explain(error), { tone: "problem" });
    }
  };
  return (
    <section className="open-invitations" aria-label="Open invitations">
      <h3>Open invitations</h3>
      <ul>
        {open.map((invitation) => (
          <li
            key={invitation.invitation_id}
            className={invitation.invitation_id === shown ? "just-made" : ""}
          >
            <span>
              {invitation.role === "reader" ? "To read" : "To write"}
              <InvitationNote invitation={invitation} now={now} />
            </span>
            {invitation.code ? (
              invitation.invitation_id === shown ? null : (
                <Button onClick={() => onShow(invitation)}>Show</Button>
              )
            ) : invitation.ticket ? (
              <CopyButton text={invitation.ticket}>Copy</CopyButton>
            ) : null}
            <Button look="danger" onClick={() => void revoke(invitation.invitation_id)}>
              Take back
            </Button>
          </li>
        ))}
      </ul>
    </section>
  );
}
