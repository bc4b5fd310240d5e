/** The smaller dialogs: making, naming and leaving a space, its people, its trash, and who I am. */
import { FileText, Hash, RotateCcw } from "lucide-react";
import { type FormEvent, useEffect, useState } from "react";
import { shortcuts } from "../editor/shortcuts";
import { explain, useActions } from "../hooks/actions";
import { useApp } from "../hooks/app";
import { useSpace } from "../hooks/library";
import type { SessionRegistry } from "../hooks/sessions";
import { useStore } from "../hooks/store";
import type { DocumentId, SpaceId } from "../model/identifiers";
import { type Role, titleOf } from "../model/library";
import { relativeTime } from "../model/time";
import { trashed } from "../model/tree";
import type { WaitingDocument } from "../model/unsaved";
import { wordsInWords } from "../model/words";
import { withLocalCopy } from "../sync/local-copy";
import { Avatar } from "./Avatar";
import { Button, Field, Switch } from "./controls";
import { Dialog } from "./Dialog";
import { showKeys } from "./keys";

interface NameFormProps {
  title: string;
  label: string;
  initial: string;
  submit: string;
  placeholder?: string;
  lead?: string;
  save: (name: string) => Promise<void>;
  onClose: () => void;
}

function NameForm({ title, label, initial, submit, placeholder, lead, save, onClose }: NameFormProps) {
  const [name, setName] = useState(initial);
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const onSubmit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    try {
      await save(name.trim());
      onClose();
    } catch (error) {
      setProblem(explain(error));
      setBusy(false);
    }
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <form onSubmit={(event) => void onSubmit(event)}>
        {lead ? <p className="lead">{lead}</p> : null}
        <Field label={label}>
          {(id) => (
            <input
              id={id}
              data-testid="name-input"
              value={name}
              maxLength={120}
              placeholder={placeholder}
              autoFocus
              onChange={(event) => setName(event.target.value)}
            />
          )}
        </Field>
        {problem ? (
          <p className="form-problem" role="alert">
            {problem}
          </p>
        ) : null}
        <Button type="submit" look="primary" data-testid="name-submit" disabled={busy || name.trim() === ""}>
          {submit}
        </Button>
      </form>
    </Dialog>
  );
}

export function NewSpaceDialog({ onClose }: { onClose: () => void }) {
  const { library } = useApp();
  const actions = useActions();
  return (
    <NameForm
      title="New space"
      label="Name"
      initial=""
      placeholder="Island trip"
      lead="A space holds pages and the people who share them. It lives on this laptop and on theirs, and nobody else can read it."
      submit="Make the space"
      onClose={onClose}
      save={async (name) => actions.openSpace((await library.createSpace(name)).space_id)}
    />
  );
}

export function RenameSpaceDialog({ spaceId, onClose }: { spaceId: SpaceId; onClose: () => void }) {
  const { library } = useApp();
  const space = useSpace(spaceId);
  return (
    <NameForm
      title="Rename space"
      label="Name"
      initial={space?.name ?? ""}
      submit="Rename"
      onClose={onClose}
      save={(name) => library.renameSpace(spaceId, name)}
    />
  );
}

/** The browser's copies go with the space, except those with words that were never saved. */
async function forgetCopies(sessions: SessionRegistry, documents: readonly DocumentId[]): Promise<void> {
  for (const documentId of await withLocalCopy(documents)) {
    await sessions.forget(documentId, { onlySaved: true }).catch(() => false);
  }
}

export function LeaveSpaceDialog({ spaceId, onClose }: { spaceId: SpaceId; onClose: () => void }) {
  const { library, navigation, overlays, sessions, handover } = useApp();
  const space = useSpace(spaceId);
  const waiting = useStore(handover).filter(
    ({ documentId }) => library.find(documentId)?.space_id === spaceId,
  );
  const nameWaiting = ({ documentId, words }: WaitingDocument) =>
    `“${titleOf(library.find(documentId) ?? { title: "" })}”, ${wordsInWords(words)}`;
  const leave = async () => {
    const documents = (library.get().documents[spaceId] ?? []).map(({ document_id }) => document_id);
    try {
      await library.leaveSpace(spaceId);
      void forgetCopies(sessions, documents);
      onClose();
      navigation.go({ page: "home" });
    } catch (error) {
      overlays.notify(explain(error), { tone: "problem" });
    }
  };
  return (
    <Dialog
      title={`Leave “${space?.name ?? "this space"}”?`}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>Stay</Button>
          <Button look="danger" onClick={() => void leave()}>
            Leave and remove it from this laptop
          </Button>
        </>
      }
    >
      <p className="lead">
        Its pages are removed from this laptop. The others keep theirs. What you wrote and nobody has received
        yet is lost, so look first at what it says above your pages.
      </p>
      {waiting.length > 0 ? (
        <p className="lead" data-testid="leave-unsaved">
          Words that Sheaf has not saved yet stay in this browser until you remove them:{" "}
          {waiting.map(nameWaiting).join("; ")}. Nobody in the space gets them.
        </p>
      ) : null}
    </Dialog>
  );
}

const roles: Readonly<Record<Role, string>> = { owner: "owner", editor: "writes", reader: "reads" };

export function MembersDialog({ spaceId, onClose }: { spaceId: SpaceId; onClose: () => void }) {
  const { people, overlays } = useApp();
  const members = useStore(people).members[spaceId];
  const [problem, setProblem] = useState<string | null>(null);
  useEffect(() => {
    people.refreshMembers(spaceId).catch((error: unknown) => setProblem(explain(error)));
  }, [people, spaceId]);
  return (
    <Dialog
      title="Members"
      onClose={onClose}
      footer={<Button onClick={() => overlays.open({ kind: "share", spaceId })}>Invite somebody</Button>}
    >
      {problem && !members ? <p className="form-problem">{problem}</p> : null}
      <ul className="member-list">
        {(members ?? []).map((member) => (
          <li key={member.user_id}>
            <Avatar name={member.name} id={member.user_id} />
            <span className="peer-words">
              <span>
                <strong>{member.name}</strong>
                {member.is_self ? <span className="muted"> (you)</span> : null}
              </span>
              <span className="muted">
                {member.devices
                  .map((device) => `${device.name}${device.online ? ", here now" : ""}`)
                  .join(" · ")}
              </span>
            </span>
            <span className="tag">{roles[member.role]}</span>
          </li>
        ))}
      </ul>
    </Dialog>
  );
}

export function TrashDialog({ spaceId, onClose }: { spaceId: SpaceId; onClose: () => void }) {
  const { library } = useApp();
  const actions = useActions();
  const documents = trashed(useStore(library).documents[spaceId] ?? []);
  const now = Date.now();
  return (
    <Dialog title="Trash" onClose={onClose}>
      {documents.length === 0 ? (
        <p className="lead">Nothing here. Pages you move to the trash wait here until you want them back.</p>
      ) : (
        <ul className="member-list" data-testid="trash-list">
          {documents.map((document) => (
            <li key={document.document_id}>
              <span className="doc-icon" aria-hidden="true">
                {document.type === "page" ? <FileText size={16} /> : <Hash size={16} />}
              </span>
              <span className="peer-words">
                <span>{titleOf(document)}</span>
                <span className="muted">{relativeTime(document.updated_at, now)}</span>
              </span>
              <Button onClick={() => void actions.restore(document.document_id)}>
                <RotateCcw size={15} aria-hidden="true" /> Put back
              </Button>
            </li>
          ))}
        </ul>
      )}
    </Dialog>
  );
}

export function ProfileDialog({ onClose }: { onClose: () => void }) {
  const { api, library, daemon, overlays } = useApp();
  const { status } = useStore(library);
  const [userName, setUserName] = useState(status?.user_name ?? "");
  const [deviceName, setDeviceName] = useState(status?.device_name ?? "");
  const [shareSeen, setShareSeen] = useState(status?.share_seen ?? true);
  const [problem, setProblem] = useState<string | null>(null);
  const save = async (event: FormEvent) => {
    event.preventDefault();
    try {
      await api.updateProfile({
        user_name: userName.trim(),
        device_name: deviceName.trim(),
        share_seen: shareSeen,
      });
      await library.refreshStatus();
      onClose();
    } catch (error) {
      setProblem(explain(error));
    }
  };
  const signOut = async () => {
    await api.signOut().catch(() => undefined);
    overlays.close();
    daemon.set("signed_out");
  };
  return (
    <Dialog title="You" onClose={onClose}>
      <form onSubmit={(event) => void save(event)}>
        <Field label="Your name" hint="Shown to the people you share with, next to your cursor.">
          {(id) => (
            <input
              id={id}
              value={userName}
              maxLength={64}
              onChange={(event) => setUserName(event.target.value)}
            />
          )}
        </Field>
        <Field label="This laptop">
          {(id) => (
            <input
              id={id}
              value={deviceName}
              maxLength={64}
              onChange={(event) => setDeviceName(event.target.value)}
            />
          )}
        </Field>
        <Switch
          label="Tell others when I have seen their changes"
          hint="They see “Seen” next to your name. That your laptop has a change, they see in any case."
          checked={shareSeen}
          onChange={setShareSeen}
          testId="share-seen"
        />
        {problem ? (
          <p className="form-problem" role="alert">
            {problem}
          </p>
        ) : null}
        <div className="button-row">
          <Button type="submit" look="primary" disabled={userName.trim() === "" || deviceName.trim() === ""}>
            Save
          </Button>
          <Button look="quiet" onClick={() => overlays.open({ kind: "shortcuts" })}>
            Keyboard
          </Button>
          <Button look="quiet" onClick={() => void signOut()}>
            Sign this browser out
          </Button>
        </div>
      </form>
      {status ? (
        <dl className="lan-facts">
          <dt>Sheaf</dt>
          <dd>{status.version}</dd>
          <dt>Kept in</dt>
          <dd>{status.data_dir}</dd>
          <dt>Contains</dt>
          <dd>
            <a href="/third-party-licenses.txt" target="_blank" rel="noreferrer">
              npm packages and their licences
            </a>
          </dd>
        </dl>
      ) : null}
    </Dialog>
  );
}

export function ShortcutsDialog({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Keyboard" onClose={onClose}>
      <dl className="shortcut-list">
        {shortcuts.map(({ label, keys }) => (
          <div key={label}>
            <dt>{label}</dt>
            <dd>{showKeys(keys)}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}
