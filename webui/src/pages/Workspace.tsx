/** The window: sidebar, top bar, paper, and the dialogs above them. */
import { HardDrive } from "lucide-react";
import { useEffect, useRef } from "react";
import { CommandPalette } from "../components/CommandPalette";
import { JoinDialog } from "../components/JoinDialog";
import { RemoveCopyDialog } from "../components/KeptWords";
import { Notices } from "../components/Notices";
import { RelaysDialog } from "../components/RelaysDialog";
import { ShareDialog } from "../components/ShareDialog";
import { Sidebar } from "../components/Sidebar";
import {
  LeaveSpaceDialog,
  MembersDialog,
  NewSpaceDialog,
  ProfileDialog,
  RenameSpaceDialog,
  ShortcutsDialog,
  TrashDialog,
} from "../components/SpaceDialogs";
import { TopBar } from "../components/TopBar";
import { useApp } from "../hooks/app";
import { useSeen } from "../hooks/delivery";
import { useAnnounce, useSignedOutCheck } from "../hooks/document";
import { useOptionalSession } from "../hooks/sessions";
import { useStore } from "../hooks/store";
import type { DocumentId } from "../model/identifiers";
import { isSaving } from "../model/library";
import { type StorageNews, storageWords } from "../model/saving";
import type { DocumentSession } from "../sync/session";
import { DocumentPage } from "./DocumentPage";
import { HomePage, UnknownPage } from "./HomePage";
import { SignedOutPage } from "./SignedOutPage";
import { SpacePage } from "./SpacePage";

export function Workspace() {
  const app = useApp();
  const link = useStore(app.daemon);
  const route = useStore(app.navigation.route);
  const { status } = useStore(app.library);
  const { sidebarOpen } = useStore(app.preferences);
  const drawer = useStore(app.overlays.drawer);
  const documentId = route.page === "document" ? route.documentId : null;
  const session = useOptionalSession(app.sessions, documentId);
  const main = useRef<HTMLElement | null>(null);
  useSignedOutCheck(session);
  useSeen(session, status?.share_seen ?? false);
  useAnnounce(session, status?.user_id ?? null, status?.user_name ?? null);

  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const mod = event.ctrlKey || event.metaKey;
      if (
        mod &&
        !event.altKey &&
        !event.shiftKey &&
        event.key.toLowerCase() === "k" &&
        !event.defaultPrevented
      ) {
        event.preventDefault();
        const { overlay } = app.overlays;
        if (overlay.get().kind === "palette") app.overlays.close();
        else if (overlay.get().kind === "none") app.overlays.open({ kind: "palette" });
      }
      if (event.key === "Escape") app.overlays.drawer.set(false);
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, [app]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: a new address starts at the top of its page
  useEffect(() => {
    main.current?.scrollTo(0, 0);
  }, [route]);

  if (link === "signed_out") return <SignedOutPage />;
  return (
    <div className={`workspace ${sidebarOpen ? "" : "sidebar-hidden"} ${drawer ? "drawer-open" : ""}`}>
      <a className="skip-link" href="#paper">
        Skip to the page
      </a>
      <Sidebar
        onCollapse={() => {
          if (drawer) app.overlays.drawer.set(false);
          else app.preferences.setSidebar(false);
        }}
      />
      <button
        type="button"
        className="drawer-shade"
        aria-label="Close the sidebar"
        tabIndex={drawer ? 0 : -1}
        onClick={() => app.overlays.drawer.set(false)}
      />
      <div className="column">
        <TopBar
          session={session}
          sidebarHidden={!sidebarOpen}
          onShowSidebar={() => {
            if (matchMedia("(max-width: 860px)").matches) app.overlays.drawer.set(true);
            else app.preferences.setSidebar(true);
          }}
        />
        <StorageWarning session={session} />
        <main id="paper" className="scroll" ref={main} tabIndex={-1}>
          {route.page === "document" ? (
            <DocumentPage documentId={route.documentId} session={session} />
          ) : route.page === "space" ? (
            <SpacePage key={route.spaceId} spaceId={route.spaceId} />
          ) : route.page === "home" ? (
            <HomePage />
          ) : (
            <UnknownPage />
          )}
        </main>
      </div>
      <Dialogs />
      <Notices />
    </div>
  );
}

function StorageWarning({ session }: { session: DocumentSession | null }) {
  const { library } = useApp();
  const storage = useStore(library).status?.storage;
  if (!storage || storage.state === "ok") return null;
  return (
    <div
      className={`storage-warning storage-${storage.state}`}
      role={isSaving(storage) ? "status" : "alert"}
      data-testid="storage-warning"
    >
      <HardDrive size={16} aria-hidden="true" />
      {session ? (
        <OpenStorageWords storage={storage} session={session} />
      ) : (
        <StorageWords storage={storage} kept />
      )}
    </div>
  );
}

function OpenStorageWords({ storage, session }: { storage: StorageNews; session: DocumentSession }) {
  return <StorageWords storage={storage} kept={useStore(session.state).kept} />;
}

function StorageWords({ storage, kept }: { storage: StorageNews; kept: boolean }) {
  const { lead, rest } = storageWords(storage, kept);
  return (
    <p>
      <strong>{lead}</strong> {rest}
    </p>
  );
}

function Dialogs() {
  const { overlays, navigation } = useApp();
  const overlay = useStore(overlays.overlay);
  const afterRemoval = ({ documentId, next }: { documentId: DocumentId; next: "leave" | "reload" }) => {
    const route = navigation.route.get();
    if (route.page !== "document" || route.documentId !== documentId) return;
    if (next === "reload") location.reload();
    else navigation.go({ page: "home" });
  };
  const onClose = overlays.close;
  switch (overlay.kind) {
    case "none":
      return null;
    case "palette":
      return <CommandPalette onClose={onClose} />;
    case "share":
      return <ShareDialog spaceId={overlay.spaceId} onClose={onClose} />;
    case "join":
      return <JoinDialog onClose={onClose} {...(overlay.ticket ? { ticket: overlay.ticket } : {})} />;
    case "new_space":
      return <NewSpaceDialog onClose={onClose} />;
    case "rename_space":
      return <RenameSpaceDialog spaceId={overlay.spaceId} onClose={onClose} />;
    case "leave_space":
      return <LeaveSpaceDialog spaceId={overlay.spaceId} onClose={onClose} />;
    case "members":
      return <MembersDialog spaceId={overlay.spaceId} onClose={onClose} />;
    case "relays":
      return <RelaysDialog spaceId={overlay.spaceId} onClose={onClose} />;
    case "trash":
      return <TrashDialog spaceId={overlay.spaceId} onClose={onClose} />;
    case "remove_copy":
      return (
        <RemoveCopyDialog
          documentId={overlay.documentId}
          title={overlay.title}
          onRemoved={() => afterRemoval(overlay)}
          onClose={onClose}
        />
      );
    case "profile":
      return <ProfileDialog onClose={onClose} />;
    case "shortcuts":
      return <ShortcutsDialog onClose={onClose} />;
  }
}
