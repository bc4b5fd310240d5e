/** Above the paper: where I am, whether it is saved, who is here. */
import { PanelLeft, Share2 } from "lucide-react";
import { useActions } from "../hooks/actions";
import { useApp } from "../hooks/app";
import { useVisitors } from "../hooks/document";
import { useCurrentSpaceId, useDocument, useSpace, useTree } from "../hooks/library";
import { useStore } from "../hooks/store";
import { isReadOnly, isSaving, titleOf } from "../model/library";
import { listNames, saveState } from "../model/saving";
import { pathTo } from "../model/tree";
import type { DocumentSession } from "../sync/session";
import { Avatar } from "./Avatar";
import { Button, IconButton } from "./controls";
import { PeersPanel } from "./PeersPanel";
import { SaveStatus } from "./SaveStatus";

const faces_max = 4;

interface TopBarProps {
  session: DocumentSession | null;
  sidebarHidden: boolean;
  onShowSidebar: () => void;
}

export function TopBar({ session, sidebarHidden, onShowSidebar }: TopBarProps) {
  const { overlays } = useApp();
  const spaceId = useCurrentSpaceId();
  return (
    <header className="topbar">
      <IconButton
        label="Show the sidebar"
        icon={<PanelLeft size={18} />}
        className={sidebarHidden ? "show-sidebar" : "show-sidebar only-narrow"}
        onClick={onShowSidebar}
      />
      <Crumbs />
      <div className="topbar-state">
        {session ? <SessionStatus session={session} /> : null}
        <PeersPanel />
        {spaceId ? (
          <Button
            look="plain"
            className="share-button"
            data-testid="share-button"
            aria-label="Share"
            onClick={() => overlays.open({ kind: "share", spaceId })}
          >
            <Share2 size={15} aria-hidden="true" /> <span>Share</span>
          </Button>
        ) : null}
      </div>
    </header>
  );
}

function Crumbs() {
  const { navigation } = useApp();
  const actions = useActions();
  const spaceId = useCurrentSpaceId();
  const space = useSpace(spaceId);
  const tree = useTree(spaceId);
  const route = useStore(navigation.route);
  if (!space) return <div className="crumbs" />;
  const path = route.page === "document" && tree ? pathTo(tree, route.documentId) : [];
  return (
    <nav className="crumbs" aria-label="Where you are">
      <ol>
        <li>
          <button type="button" dir="auto" onClick={() => actions.openSpace(space.space_id)}>
            {space.name}
          </button>
        </li>
        {path.map((document, index) => (
          <li key={document.document_id}>
            {index === path.length - 1 ? (
              <span aria-current="page" dir="auto">
                {titleOf(document)}
              </span>
            ) : (
              <button type="button" dir="auto" onClick={() => actions.openDocument(document.document_id)}>
                {titleOf(document)}
              </button>
            )}
          </li>
        ))}
      </ol>
    </nav>
  );
}

function SessionStatus({ session }: { session: DocumentSession }) {
  const { library } = useApp();
  const state = useStore(session.state);
  const document = useDocument(session.documentId);
  const space = useSpace(document?.space_id ?? null);
  const visitors = useVisitors(session);
  const { storage } = useStore(library).status ?? {};
  if (!document) return null;
  const save = saveState({
    isStorageRefused: state.isStorageRefused || !isSaving(storage),
    kept: state.kept,
    online: state.link.kind === "online",
    pending: state.pending,
    readOnly: state.readOnly || isReadOnly(space),
  });
  const connecting = state.link.kind === "connecting" && !state.pending;
  const rest = visitors.length - faces_max;
  return (
    <>
      <span
        className="faces"
        role="img"
        aria-label={
          visitors.length > 0
            ? `In this page now: ${listNames(visitors.map((one) => one.name))}`
            : "Nobody else is in this page now"
        }
      >
        {visitors.slice(0, faces_max).map((one) => (
          <Avatar key={one.clientId} name={one.name} color={one.color} small />
        ))}
        {rest > 0 ? <span className="avatar avatar-small avatar-rest">+{rest}</span> : null}
      </span>
      {connecting ? (
        <span className="save-state save-waiting">Opening…</span>
      ) : (
        <SaveStatus state={save} session={session} spaceId={document.space_id} />
      )}
    </>
  );
}
