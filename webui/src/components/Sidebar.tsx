/** Spaces, the pages of the current one, and the way to everything that is rarely needed. */
import {
  DoorOpen,
  FileText,
  Hash,
  Monitor,
  Moon,
  MoreHorizontal,
  PanelLeftClose,
  Pencil,
  Plus,
  Search,
  Server,
  Sun,
  Ticket,
  Trash2,
  TriangleAlert,
  UserPlus,
  Users,
} from "lucide-react";
import { useActions } from "../hooks/actions";
import { useApp } from "../hooks/app";
import { useCurrentSpaceId, useSpace, useTree } from "../hooks/library";
import { useStore } from "../hooks/store";
import { spaceWarning } from "../model/delivery";
import type { Space } from "../model/library";
import type { Theme } from "../stores/preferences";
import { Avatar } from "./Avatar";
import { Button, IconButton } from "./controls";
import { DocTree } from "./DocTree";
import { modKey } from "./keys";
import { Logo } from "./Logo";
import { Menu, type MenuItem } from "./Menu";

export function Sidebar({ onCollapse }: { onCollapse: () => void }) {
  const { overlays } = useApp();
  const spaceId = useCurrentSpaceId();
  return (
    <nav className="sidebar" aria-label="Spaces and pages">
      <div className="sidebar-head">
        <Logo />
        <IconButton label="Hide the sidebar" icon={<PanelLeftClose size={18} />} onClick={onCollapse} />
      </div>
      <button type="button" className="find-button" onClick={() => overlays.open({ kind: "palette" })}>
        <Search size={15} aria-hidden="true" />
        <span>Find or do…</span>
        <kbd>{modKey} K</kbd>
      </button>
      <div className="sidebar-scroll">
        <SpaceList current={spaceId} />
        <SpacePages />
      </div>
      <SidebarFoot />
    </nav>
  );
}

function SpaceList({ current }: { current: string | null }) {
  const { library, overlays } = useApp();
  const actions = useActions();
  const { spaces } = useStore(library);
  return (
    <section aria-label="Spaces">
      <div className="section-head">
        <h2>Spaces</h2>
        <IconButton
          label="Join a space"
          icon={<Ticket size={16} />}
          data-testid="join-open"
          onClick={() => overlays.open({ kind: "join" })}
        />
        <IconButton
          label="New space"
          icon={<Plus size={16} />}
          data-testid="new-space"
          onClick={() => overlays.open({ kind: "new_space" })}
        />
      </div>
      <ul className="space-list" data-testid="space-list">
        {(spaces ?? []).map((space) => (
          <li key={space.space_id}>
            <button
              type="button"
              className="space-row"
              data-space-id={space.space_id}
              aria-current={space.space_id === current ? "true" : undefined}
              onClick={() => actions.openSpace(space.space_id)}
            >
              <span className="space-mark" aria-hidden="true" />
              <span className="space-name" dir="auto">
                {space.name}
              </span>
              <SpaceNote space={space} />
            </button>
          </li>
        ))}
      </ul>
      {spaces?.length === 0 ? <p className="sidebar-words">No space yet.</p> : null}
    </section>
  );
}

function SpaceNote({ space }: { space: Space }) {
  const warning = spaceWarning(space.delivery);
  if (warning) {
    return (
      <span
        className="space-warning"
        role="img"
        aria-label={warning}
        title={warning}
        data-testid="space-warning"
      >
        <TriangleAlert size={14} aria-hidden="true" />
      </span>
    );
  }
  if (space.state === "joining") return <span className="tag">joining</span>;
  if (space.state === "unavailable") return <span className="tag">not readable</span>;
  if (space.role === "reader") return <span className="tag">reading</span>;
  return null;
}

function SpacePages() {
  const { navigation, overlays } = useApp();
  const actions = useActions();
  const spaceId = useCurrentSpaceId();
  const space = useSpace(spaceId);
  const tree = useTree(spaceId);
  const route = useStore(navigation.route);
  if (!space || !spaceId) return null;
  const isReadable = space.state !== "unavailable";
  const canEdit = isReadable && space.role !== "reader";
  const menu: (MenuItem | "separator")[] = [
    { label: "Share…", icon: <UserPlus size={15} />, run: () => overlays.open({ kind: "share", spaceId }) },
    { label: "Members", icon: <Users size={15} />, run: () => overlays.open({ kind: "members", spaceId }) },
    { label: "Relays", icon: <Server size={15} />, run: () => overlays.open({ kind: "relays", spaceId }) },
    { label: "Trash", icon: <Trash2 size={15} />, run: () => overlays.open({ kind: "trash", spaceId }) },
    "separator",
    {
      label: "Rename space",
      icon: <Pencil size={15} />,
      run: () => overlays.open({ kind: "rename_space", spaceId }),
    },
    {
      label: "Leave space…",
      icon: <DoorOpen size={15} />,
      danger: true,
      run: () => overlays.open({ kind: "leave_space", spaceId }),
    },
  ];
  return (
    <section aria-label={`Pages of ${space.name}`}>
      <div className="section-head">
        <h2>{space.name}</h2>
        <Menu
          label={`Actions for ${space.name}`}
          icon={<MoreHorizontal size={16} />}
          items={menu}
          testId="space-menu"
        />
      </div>
      {tree === null && !isReadable ? (
        <p className="sidebar-words">Its pages cannot be read right now.</p>
      ) : tree === null ? (
        <TreeSkeleton />
      ) : tree.length === 0 ? (
        <p className="sidebar-words">Nothing written here yet.</p>
      ) : (
        <DocTree
          nodes={tree}
          canEdit={canEdit}
          label={`Pages of ${space.name}`}
          current={route.page === "document" ? route.documentId : null}
        />
      )}
      {canEdit ? (
        <div className="new-row">
          <Button
            look="quiet"
            data-testid="new-page"
            onClick={() => void actions.createDocument(spaceId, "page")}
          >
            <FileText size={15} aria-hidden="true" /> New page
          </Button>
          <Button
            look="quiet"
            data-testid="new-text"
            onClick={() => void actions.createDocument(spaceId, "text")}
          >
            <Hash size={15} aria-hidden="true" /> New text
          </Button>
        </div>
      ) : null}
    </section>
  );
}

function TreeSkeleton() {
  return (
    <div className="skeleton-rows" role="status" aria-label="Loading pages">
      <span style={{ width: "70%" }} />
      <span style={{ width: "52%" }} />
      <span style={{ width: "62%" }} />
    </div>
  );
}

const themes: readonly { theme: Theme; label: string; icon: React.ReactNode }[] = [
  { theme: "system", label: "Theme: as the system", icon: <Monitor size={17} /> },
  { theme: "light", label: "Theme: light", icon: <Sun size={17} /> },
  { theme: "dark", label: "Theme: dark", icon: <Moon size={17} /> },
];

function SidebarFoot() {
  const { library, preferences, overlays } = useApp();
  const { status } = useStore(library);
  const { theme } = useStore(preferences);
  const at = themes.findIndex((entry) => entry.theme === theme);
  const shown = themes[at] ?? themes[0];
  const next = themes[(at + 1) % themes.length] ?? themes[0];
  return (
    <div className="sidebar-foot">
      <button type="button" className="profile-button" onClick={() => overlays.open({ kind: "profile" })}>
        <Avatar name={status?.user_name ?? "You"} {...(status ? { id: status.user_id } : {})} />
        <span className="profile-words">
          <span>{status?.user_name ?? "You"}</span>
          <span className="muted">{status?.device_name ?? "this laptop"}</span>
        </span>
      </button>
      <IconButton
        label={`${shown?.label ?? "Theme"} (press for ${next?.theme ?? "another"})`}
        icon={shown?.icon}
        data-testid="theme-switch"
        onClick={() => next && preferences.setTheme(next.theme)}
      />
    </div>
  );
}
