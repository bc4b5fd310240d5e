/** One document: title, paper, and what there is to say about its state. */
import { FileQuestion, HardDrive, LoaderCircle, PlugZap } from "lucide-react";
import { lazy, Suspense, useEffect, useRef, useState } from "react";
import { Button, EmptyState } from "../components/controls";
import { SaveCopyButtons } from "../components/KeptWords";
import { Banner, StateBanner } from "../components/StateBanner";
import { TitleField } from "../components/TitleField";
import { wholeText } from "../editor/markdown-copy";
import { useApp } from "../hooks/app";
import { type PageEditorCallbacks, usePageEditor, useTextEditor } from "../hooks/document";
import { useDocument, useSpace } from "../hooks/library";
import { useStanding } from "../hooks/standing";
import { useStore } from "../hooks/store";
import type { DocumentId } from "../model/identifiers";
import { type Document, isReadOnly, titleOf, untitled } from "../model/library";
import type { Standing } from "../model/standing";
import { countWords, wordsInWords } from "../model/words";
import type { DocumentSession } from "../sync/session";
import { readNotes } from "../sync/unsaved-notes";

const PageSurface = lazy(async () => ({ default: (await import("../components/PageSurface")).PageSurface }));

interface DocumentPageProps {
  documentId: DocumentId;
  session: DocumentSession | null;
}

export function DocumentPage({ documentId, session }: DocumentPageProps) {
  const { preferences } = useApp();
  const document = useDocument(documentId);
  // A link may be opened before any list that holds the document.
  const standing = useStanding(documentId, document !== null);

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

  if (!shown) return <Unlisted session={session} standing={standing} />;
  if (!session) return <PaperSkeleton title={title} />;
  return <OpenDocument key={documentId} document={shown} session={session} />;
}

function Unlisted({ session, standing }: { session: DocumentSession | null; standing: Standing }) {
  return session ? <MaybeKept session={session} standing={standing} /> : <Elsewhere standing={standing} />;
}

function MaybeKept({ session, standing }: KeptPageProps) {
  const { bindable } = useStore(session.state);
  const isTold = standing.kind !== "asking";
  return bindable && isTold ? (
    <KeptPage session={session} standing={standing} />
  ) : (
    <Elsewhere standing={standing} />
  );
}

function OpenDocument({ document, session }: { document: Document; session: DocumentSession }) {
  const { daemon } = useApp();
  const state = useStore(session.state);
  const link = useStore(daemon);
  const space = useSpace(document.space_id);
  // Somebody may put the page into the trash while it is written in: no key is lost, the words go with the page.
  const [wasOpen] = useState(!document.trashed);
  const readOnly = state.readOnly || isReadOnly(space) || (document.trashed && !wasOpen);
  const editable = !readOnly && state.link.kind !== "stopped";
  const focusBody = useRef<() => void>(() => undefined);
  useForgetWhenLeft(session);
  useHoldWindow(session);
  const spaceName = space?.name ?? "";
  useEffect(() => {
    session.describe({ title: document.title, type: document.type, space: spaceName });
  }, [session, document.title, document.type, spaceName]);
  const waiting =
    !state.bindable && state.localLoaded && (link === "unreachable" || state.link.kind === "offline");
  return (
    <article className={`paper paper-${document.type}`} aria-label={titleOf(document)}>
      <StateBanner document={document} session={session} state={state} wasOpen={wasOpen} />
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

/** A space was left while its page was open: a copy with nothing unsaved in it goes when the person moves on. */
function useForgetWhenLeft(session: DocumentSession): void {
  const { sessions } = useApp();
  useEffect(
    () => () => {
      const { link, pending } = session.state.get();
      if (link.kind !== "stopped" || link.reason !== "gone" || pending) return;
      void sessions.forget(session.documentId, { onlySaved: true }).catch(() => undefined);
    },
    [session, sessions],
  );
}

/** Asks before the window closes, only when nothing else has what was typed. */
function useHoldWindow(session: DocumentSession): void {
  useEffect(() => {
    const hold = (event: BeforeUnloadEvent) => {
      const { pending, kept } = session.state.get();
      if (pending && !kept) event.preventDefault();
    };
    addEventListener("beforeunload", hold);
    return () => removeEventListener("beforeunload", hold);
  }, [session]);
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

function Missing({ words }: { words: string }) {
  const { navigation } = useApp();
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

/** The daemon is there and cannot tell: nothing is said about the page, and nothing is offered but patience. */
function Troubled({ words }: { words: string }) {
  return (
    <EmptyState icon={<HardDrive size={30} />} title="Sheaf cannot read this page right now">
      <p>{words}</p>
      <p>It appears here by itself as soon as Sheaf can.</p>
    </EmptyState>
  );
}

function Elsewhere({ standing }: { standing: Standing }) {
  switch (standing.kind) {
    case "asking":
      return <PaperSkeleton />;
    case "unreachable":
      return <NeverSeen />;
    case "troubled":
      return <Troubled words={standing.words} />;
    case "unknown":
      return <Missing words={standing.words} />;
  }
}

const copyTitles: Readonly<Record<Standing["kind"], string>> = {
  asking: "This browser has a copy of this page.",
  unreachable: "Sheaf is not running. This is this browser's copy.",
  troubled: "Sheaf cannot read this page right now. This is this browser's copy.",
  unknown: "Sheaf does not have this page on this laptop. This is this browser's copy.",
};

interface KeptPageProps {
  session: DocumentSession;
  standing: Standing;
}

/** No list holds the page, but this browser has a copy from an earlier visit: its words, and ways to save them. */
function KeptPage({ session, standing }: KeptPageProps) {
  const { overlays } = useApp();
  const { pending } = useStore(session.state);
  const { documentId } = session;
  const label = readNotes(documentId).find((note) => note.label)?.label ?? null;
  const title = label ? titleOf(label) : untitled;
  const words = session.unsavedWords();
  const text = wholeText(session.doc);
  return (
    <article className="paper" aria-label={title}>
      <Banner title={copyTitles[standing.kind]} icon={<FileQuestion size={18} />}>
        {standing.kind === "troubled" ? <p>{standing.words}</p> : null}
        <p data-testid="unsaved-words">
          It has {wordsInWords(countWords(text))}.{" "}
          {pending ? (
            <>
              <strong>{wordsInWords(words)}</strong> of it {words === 1 ? "was" : "were"} not saved by Sheaf.
            </>
          ) : null}
        </p>
        <div className="banner-actions">
          <SaveCopyButtons title={title} read={() => wholeText(session.doc)} />
          {standing.kind === "unknown" ? (
            <Button
              look="quiet"
              data-testid="remove-open"
              onClick={() => overlays.open({ kind: "remove_copy", documentId, title, next: "leave" })}
            >
              Remove the copy…
            </Button>
          ) : null}
        </div>
      </Banner>
      <p className="doc-title" dir="auto">
        {title}
      </p>
      <pre className="kept-text" dir="auto" data-testid="kept-text">
        {text}
      </pre>
    </article>
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
