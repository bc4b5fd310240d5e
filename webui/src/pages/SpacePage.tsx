/** A space's own page: what is in it, and how to begin. */
import { FileText, HardDrive, Hash, Sprout, UserPlus } from "lucide-react";
import { useEffect } from "react";
import { Button, EmptyState, Spinner } from "../components/controls";
import { Warnings } from "../components/DeliveryPanel";
import { WaitingPanel } from "../components/WaitingPanel";
import { useActions } from "../hooks/actions";
import { useApp } from "../hooks/app";
import { useSpace } from "../hooks/library";
import { useStore } from "../hooks/store";
import { spaceWarning } from "../model/delivery";
import type { SpaceId } from "../model/identifiers";
import { type Space, titleOf } from "../model/library";
import { relativeTime } from "../model/time";

const recent_max = 8;

function factsOf({ state, member_count }: Space, pages: number): string {
  if (state === "unavailable")
    return "Sheaf cannot read this space right now. These are its pages as last seen here.";
  const people = member_count === 1 ? "Only you, so far" : `${member_count} people`;
  return `${people} · ${pages === 1 ? "1 page" : `${pages} pages`}`;
}

export function SpacePage({ spaceId }: { spaceId: SpaceId }) {
  const { library, preferences, overlays } = useApp();
  const actions = useActions();
  const space = useSpace(spaceId);
  const { documents: all, spaces } = useStore(library);
  const documents = (all[spaceId] ?? []).filter((document) => !document.trashed);
  const name = space?.name;
  useEffect(() => {
    preferences.visited(spaceId, null);
  }, [preferences, spaceId]);
  useEffect(() => {
    window.document.title = name ? `${name} · Sheaf` : "Sheaf";
  }, [name]);

  if (!space) {
    return spaces === null ? (
      <div className="paper">
        <Spinner label="Loading" />
      </div>
    ) : (
      <div className="paper">
        <WaitingPanel />
        <EmptyState icon={<Sprout size={30} />} title="This space is not on this laptop">
          <p>You left it, or the link is somebody else's.</p>
        </EmptyState>
      </div>
    );
  }
  if (space.state === "joining") {
    return (
      <EmptyState icon={<Spinner label="Joining" />} title={`Joining ${space.name}`}>
        <p>Its pages appear here as they arrive.</p>
      </EmptyState>
    );
  }
  if (space.state === "unavailable" && documents.length === 0) {
    return (
      <div className="paper">
        <WaitingPanel />
        <EmptyState icon={<HardDrive size={30} />} title={`Sheaf cannot read “${space.name}” right now`}>
          <p>
            Nothing of it was removed. Its pages appear here by themselves as soon as Sheaf can;{" "}
            <code>sheaf status</code> says why it cannot.
          </p>
        </EmptyState>
      </div>
    );
  }
  const canEdit = space.role !== "reader";
  const now = Date.now();
  const warning = spaceWarning(space.delivery);
  const recent = [...documents].sort((a, b) => (a.updated_at < b.updated_at ? 1 : -1)).slice(0, recent_max);
  return (
    <div className="paper space-page">
      <h1 className="space-title" dir="auto">
        {space.name}
      </h1>
      <p className="muted">{factsOf(space, documents.length)}</p>
      <Warnings problems={warning ? [warning] : []} />
      <WaitingPanel />
      {documents.length === 0 ? (
        <EmptyState
          icon={<FileText size={30} />}
          title={canEdit ? "A fresh space" : "Nothing here yet"}
          actions={
            canEdit ? (
              <>
                <Button look="primary" onClick={() => void actions.createDocument(spaceId, "page")}>
                  <FileText size={16} aria-hidden="true" /> Write the first page
                </Button>
                <Button onClick={() => overlays.open({ kind: "share", spaceId })}>
                  <UserPlus size={16} aria-hidden="true" /> Invite somebody
                </Button>
              </>
            ) : null
          }
        >
          <p>
            {canEdit
              ? "Write first, or invite first: pages travel to everybody in the space on their own."
              : "What the others write appears here."}
          </p>
        </EmptyState>
      ) : (
        <ul className="card-list" aria-label="Pages, latest first">
          {recent.map((document) => (
            <li key={document.document_id}>
              <button type="button" onClick={() => actions.openDocument(document.document_id)}>
                <span className="doc-icon" aria-hidden="true">
                  {document.type === "page" ? <FileText size={17} /> : <Hash size={17} />}
                </span>
                <span className="card-name" dir="auto">
                  {titleOf(document)}
                </span>
                <span className="muted">{relativeTime(document.updated_at, now)}</span>
              </button>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
