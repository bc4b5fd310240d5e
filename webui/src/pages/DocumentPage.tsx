/** One document: title, paper, and what there is to say about its state. */
import { FileQuestion, FileX2, LoaderCircle, PlugZap } from "lucide-react";
import { lazy, Suspense, useEffect, useRef, useState } from "react";
import { Button, EmptyState } from "../components/controls";
import { TitleField } from "../components/TitleField";
import { plainTextOf } from "../editor/plain-text";
import { explain, useActions } from "../hooks/actions";
import { useApp } from "../hooks/app";
import { useCopy } from "../hooks/clipboard";
import { type PageEditorCallbacks, usePageEditor, useTextEditor } from "../hooks/document";
import { useDocument, useSpace } from "../hooks/library";
import { useStore } from "../hooks/store";
import type { DocumentId } from "../model/identifiers";
import { type Document, titleOf } from "../model/library";
import type { DocumentSession, SessionState } from "../sync/session";

const PageSurface = lazy(async () => ({ default: (await import("../components/PageSurface")).PageSurface }));

interface DocumentPageProps {
  documentId: DocumentId;
  session: DocumentSession | null;
}

export function DocumentPage({ documentId, session }: DocumentPageProps) {
  const { library, preferences, daemon } = useApp();
  const document = useDocument(documentId);
  const link = useStore(daemon);
  const [missing, setMissing] = useState<string | null>(null);
  const known = document !== null;

  // A link may be opened before any list that holds the document.
  useEffect(() => {
    setMissing(null);
    if (known || link !== "online") return;
    library.lookUp(documentId).catch((error: unknown) => setMissing(explain(error)));
  }, [documentId, known, link, library]);

  const spaceId = document?.space_id;
  useEffect(() => {
    if (spaceId) preferences.visited(spaceId, documentId);
  }, [spaceId, documentId, preferences]);

  const title = document ? titleOf(document) : null;
  useEffect(() => {
    window.document.title = title === null ? "Sheaf" : `${title} · Sheaf`;
  }, [title]);

  // A document that leaves the library while it is open stays on the screen: there may be words in it to keep.
  const lastKnown = useRef<Document | null>(null);
  if (document) lastKnown.current = document;
  const shown = document ?? (lastKnown.current?.document_id === documentId ? lastKnown.current : null);

  if (!shown) {
    if (missing !== null) return <Missing words={missing} session={session} />;
    return link === "unreachable" ? <NeverSeen /> : <PaperSkeleton />;
  }
  if (!session) return <PaperSkeleton title={title} />;
  return <OpenDocument key={documentId} document={shown} session={session} />;
}

function OpenDocument({ document, session }: { document: Document; session: DocumentSession }) {
  const { daemon } = useApp();
  const state = useStore(session.state);
  const link = useStore(daemon);
  const space = useSpace(document.space_id);
  const readOnly = state.readOnly || space?.role === "reader" || document.trashed;
  const editable = !readOnly && state.link.kind !== "stopped";
  const focusBody = useRef<() => void>(() => undefined);
  useForgetWhenGone(session);
  const waiting =
    !state.bindable && state.localLoaded && (link === "unreachable" || state.link.kind === "offline");
  return (
    <article className={`paper paper-${document.type}`} aria-label={titleOf(document)}>
      <StateBanner document={document} session={session} state={state} />
      <TitleField document={document} readOnly={readOnly} onLeave={() => focusBody.current()} />
      {waiting ? (
        <NeverSeen />
      ) : document.type === "page" ? (
        <Page
          document={document}
          session={session}
          bindable={state.bindable}
          editable={editable}
          focusBody={focusBody}
        />
      ) : (
        <Text
          document={document}
          session={session}
          bindable={state.bindable}
          editable={editable}
          focusBody={focusBody}
        />
      )}
    </article>
  );
}

/** A document that is gone, and of which nothing is unsaved, leaves no copy behind when the person moves on. */
function useForgetWhenGone(session: DocumentSession): void {
  const { sessions } = useApp();
  useEffect(
    () => () => {
      const { link, pending } = session.state.get();
      if (link.kind !== "stopped" || link.reason !== "gone" || pending) return;
      void session.erase().then(() => sessions.discard(session.documentId));
    },
    [session, sessions],
  );
}

function textOf(session: DocumentSession): string {
  return plainTextOf(session.doc.getXmlFragment("body")) + session.doc.getText("text").toString();
}

interface BodyProps {
  document: Document;
  session: DocumentSession;
  bindable: boolean;
  editable: boolean;
  focusBody: React.RefObject<() => void>;
}

function Page({ document, session, bindable, editable, focusBody }: BodyProps) {
  const callbacks = useRef<PageEditorCallbacks>({ onLinkKey: () => undefined, onBarKey: () => undefined });
  const editor = usePageEditor(session, bindable, `Page: ${titleOf(document)}`, callbacks);
  focusBody.current = () => editor?.focus("start");
  if (!editor) return <BodySkeleton />;
  return (
    <Suspense fallback={<BodySkeleton />}>
      <PageSurface editor={editor} editable={editable} callbacks={callbacks} />
    </Suspense>
  );
}

function Text({ document, session, bindable, editable, focusBody }: BodyProps) {
  const { host, editor } = useTextEditor(session, bindable, editable, `Text: ${titleOf(document)}`);
  focusBody.current = () => editor?.focus();
  return (
    <>
      {editor ? null : <BodySkeleton />}
      <div ref={host} className="text-host" />
    </>
  );
}

interface StateBannerProps {
  document: Document;
  session: DocumentSession;
  state: SessionState;
}

/** What keeps the person from writing, with the way on. Being offline is none of it: that is the save state's. */
function StateBanner({ document, session, state }: StateBannerProps) {
  const { sessions, navigation } = useApp();
  const actions = useActions();
  const { copied, copy } = useCopy();
  const copyButton = (
    <Button onClick={() => void copy(textOf(session))}>{copied === null ? "Copy its text" : "Copied"}</Button>
  );
  const forget = async (after: () => void) => {
    await session.erase();
    sessions.discard(document.document_id);
    after();
  };
  if (state.link.kind === "stopped") {
    switch (state.link.reason) {
      case "signed_out":
        return null;
      case "gone":
        return (
          <Banner title="This page is gone from the laptop." icon={<FileX2 size={18} />}>
            <p>
              It was deleted for good, or you are no longer in its space.{" "}
              {state.pending ? "Some of your words were not saved before that: " : ""}Copy what you want to
              keep.
            </p>
            {copyButton}
            <Button
              look="danger"
              onClick={() => void forget(() => navigation.go({ page: "space", spaceId: document.space_id }))}
            >
              Remove it from this browser
            </Button>
          </Banner>
        );
      case "forbidden":
        return (
          <Banner title="You may not open this page." icon={<FileX2 size={18} />}>
            <p>Ask an owner of the space.</p>
            {copyButton}
          </Banner>
        );
      case "too_big":
      case "refused":
      case "protocol":
        return (
          <Banner title="A change was not accepted." icon={<FileX2 size={18} />}>
            <p>
              This page and the one on the laptop no longer fit together. Copy your text first; then take the
              page as it is on the laptop.
            </p>
            {copyButton}
            <Button look="danger" onClick={() => void forget(() => location.reload())}>
              Take the laptop's version
            </Button>
          </Banner>
        );
    }
  }
  if (document.trashed) {
    return (
      <Banner title="This page is in the trash." icon={<FileX2 size={18} />}>
        <Button onClick={() => void actions.restore(document.document_id)}>Put it back</Button>
      </Banner>
    );
  }
  return null;
}

interface BannerProps {
  title: string;
  icon: React.ReactNode;
  children: React.ReactNode;
}

function Banner({ title, icon, children }: BannerProps) {
  return (
    <div className="banner" role="alert">
      <span aria-hidden="true">{icon}</span>
      <div>
        <strong>{title}</strong>
        {children}
      </div>
    </div>
  );
}

function NeverSeen() {
  return (
    <EmptyState icon={<PlugZap size={30} />} title="Waiting for Sheaf">
      <p>
        This page has not been opened in this browser before, so it is only on the laptop's disk. It appears
        as soon as Sheaf runs again: <code>sheaf up</code>
      </p>
    </EmptyState>
  );
}

function Missing({ words, session }: { words: string; session: DocumentSession | null }) {
  const { navigation } = useApp();
  if (session) return <MissingButKept words={words} session={session} />;
  return (
    <EmptyState
      icon={<FileQuestion size={30} />}
      title="No such page here"
      actions={<Button onClick={() => navigation.go({ page: "home" })}>Go to your spaces</Button>}
    >
      <p>{words}</p>
    </EmptyState>
  );
}

/** The laptop knows nothing of it, but this browser may have a copy from an earlier visit. */
function MissingButKept({ words, session }: { words: string; session: DocumentSession }) {
  const { sessions, navigation } = useApp();
  const { bindable } = useStore(session.state);
  const { copied, copy } = useCopy();
  if (!bindable) return <Missing words={words} session={null} />;
  const forget = async () => {
    await session.erase();
    sessions.discard(session.documentId);
    navigation.go({ page: "home" });
  };
  return (
    <EmptyState
      icon={<FileQuestion size={30} />}
      title="Only a copy is left"
      actions={
        <>
          <Button onClick={() => void copy(textOf(session))}>
            {copied === null ? "Copy its text" : "Copied"}
          </Button>
          <Button look="danger" onClick={() => void forget()}>
            Remove it from this browser
          </Button>
        </>
      }
    >
      <p>{words} This browser still has what it showed last.</p>
    </EmptyState>
  );
}

function BodySkeleton() {
  return (
    <div className="skeleton-body" role="status" aria-label="Opening">
      <LoaderCircle size={16} className="turning skeleton-late" aria-hidden="true" />
    </div>
  );
}

function PaperSkeleton({ title = null }: { title?: string | null }) {
  return (
    <article className="paper">
      <p className="doc-title doc-title-waiting">{title ?? "\u00a0"}</p>
      <BodySkeleton />
    </article>
  );
}
