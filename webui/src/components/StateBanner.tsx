/**
 * Above a page: what keeps the person from writing, or their words from being saved, with the way on. Being offline
 * is none of it: that is the save state's.
 */
import { BookOpen, FileX2, HardDrive, TriangleAlert } from "lucide-react";
import type { ReactNode } from "react";
import { wholeText } from "../editor/markdown-copy";
import { useActions } from "../hooks/actions";
import { useApp } from "../hooks/app";
import { useSpace } from "../hooks/library";
import { useStore } from "../hooks/store";
import { type Document, isReadOnly, isSaving, titleOf } from "../model/library";
import { trashedAbove } from "../model/tree";
import { wordsInWords } from "../model/words";
import type { StopReason } from "../sync/closing";
import type { DocumentSession, SessionState } from "../sync/session";
import { Button } from "./controls";
import { SaveCopyButtons } from "./KeptWords";

interface StateBannerProps {
  document: Document;
  session: DocumentSession;
  state: SessionState;
  /** The page was open before it went to the trash. */
  wasOpen: boolean;
}

export function StateBanner(props: StateBannerProps) {
  const { document, state } = props;
  const { library } = useApp();
  const { documents } = useStore(library);
  const space = useSpace(document.space_id);
  const above = trashedAbove(documents[document.space_id] ?? [], document.document_id);
  if (state.link.kind === "stopped") return <StoppedBanner {...props} reason={state.link.reason} />;
  if (state.pending && !state.kept) return <WindowOnlyBanner {...props} />;
  if (state.pending && (state.readOnly || isReadOnly(space))) return <ReaderBanner {...props} />;
  if (document.trashed || above) return <TrashBanner {...props} trashed={above ?? document} />;
  return null;
}

/** "12 words you wrote were never saved by Sheaf." or nothing. */
function Unsaved({ session, state }: Pick<StateBannerProps, "session" | "state">) {
  if (!state.pending) return null;
  const words = session.unsavedWords();
  return (
    <p data-testid="unsaved-words">
      <strong>{wordsInWords(words)}</strong>
      {` you made here ${words === 1 ? "was" : "were"} not saved by Sheaf. This browser keeps them.`}
    </p>
  );
}

function SaveButtons({ document, session }: Pick<StateBannerProps, "document" | "session">) {
  return <SaveCopyButtons title={titleOf(document)} read={() => wholeText(session.doc)} />;
}

interface RemoveButtonProps {
  document: Document;
  next: "leave" | "reload";
  children: ReactNode;
}

function RemoveButton({ document, next, children }: RemoveButtonProps) {
  const { overlays } = useApp();
  const { document_id: documentId } = document;
  return (
    <Button
      look="quiet"
      data-testid="remove-open"
      onClick={() => overlays.open({ kind: "remove_copy", documentId, title: titleOf(document), next })}
    >
      {children}
    </Button>
  );
}

function StoppedBanner({ reason, ...props }: StateBannerProps & { reason: StopReason }) {
  const { library } = useApp();
  const { status } = useStore(library);
  switch (reason) {
    case "signed_out":
      return null;
    case "gone":
    case "unknown":
      return isSaving(status?.storage) ? (
        <GoneBanner {...props} reason={reason} />
      ) : (
        <TroubleBanner {...props} />
      );
    case "forbidden":
      return (
        <Banner title="You may not open this page." icon={<FileX2 size={18} />}>
          <p>Ask an owner of the space.</p>
          <Unsaved {...props} />
          <div className="banner-actions">
            <SaveButtons {...props} />
          </div>
        </Banner>
      );
    case "too_big":
    case "refused":
    case "protocol":
      return (
        <Banner
          title={reason === "too_big" ? "This is too much to save at once." : "A change was not accepted."}
          icon={<FileX2 size={18} />}
        >
          <p>
            {reason === "too_big"
              ? "More than 32 MB of changes wait in this browser. Save your text first; then take the page as it is on the laptop, and put the text in again in parts."
              : "This page and the one on the laptop no longer fit together. Save your text first; then take the page as it is on the laptop."}
          </p>
          <Unsaved {...props} />
          <div className="banner-actions">
            <SaveButtons {...props} />
            <RemoveButton document={props.document} next="reload">
              Take the laptop's version…
            </RemoveButton>
          </div>
        </Banner>
      );
  }
}

function GoneBanner({ reason, ...props }: StateBannerProps & { reason: "gone" | "unknown" }) {
  const isGone = reason === "gone";
  return (
    <Banner
      title={
        isGone ? "This page is no longer on this laptop." : "Sheaf does not have this page on this laptop."
      }
      icon={<FileX2 size={18} />}
    >
      <p>
        {isGone
          ? "You left its space, here or in another window. What you see is this browser's copy."
          : "You may have left its space, or the laptop's data came from an older backup. What you see is this browser's copy; should the page come back, it goes on by itself."}
      </p>
      <Unsaved {...props} />
      <div className="banner-actions">
        <SaveButtons {...props} />
        <RemoveButton document={props.document} next="leave">
          Remove the copy…
        </RemoveButton>
      </div>
    </Banner>
  );
}

/** The daemon's storage is in trouble: whatever it says about the page now is no reason to remove anything. */
function TroubleBanner(props: StateBannerProps) {
  return (
    <Banner title="Sheaf cannot read its disk right now." icon={<HardDrive size={18} />}>
      <p>What you see is this browser's copy. The page goes on by itself when the disk works again.</p>
      <Unsaved {...props} />
      <div className="banner-actions">
        <SaveButtons {...props} />
      </div>
    </Banner>
  );
}

function WindowOnlyBanner(props: StateBannerProps) {
  return (
    <Banner title="What you write is only in this window." icon={<TriangleAlert size={18} />}>
      <p>
        Sheaf has not saved it, and this browser cannot keep it: its own storage is full or switched off. Do
        not close the window before it says “Saved”, or save your text first.
      </p>
      <div className="banner-actions">
        <SaveButtons {...props} />
      </div>
    </Banner>
  );
}

function ReaderBanner(props: StateBannerProps) {
  return (
    <Banner title="You can only read this page now." icon={<BookOpen size={18} />}>
      <Unsaved {...props} />
      <p>An owner of the space can let you write again; then they are saved by themselves.</p>
      <div className="banner-actions">
        <SaveButtons {...props} />
        <RemoveButton document={props.document} next="reload">
          Remove them…
        </RemoveButton>
      </div>
    </Banner>
  );
}

function TrashBanner({ trashed, wasOpen, ...props }: StateBannerProps & { trashed: Document }) {
  const actions = useActions();
  const isSelf = trashed.document_id === props.document.document_id;
  return (
    <Banner
      title={
        isSelf ? "This page is in the trash." : `“${titleOf(trashed)}”, above this page, is in the trash.`
      }
      icon={<FileX2 size={18} />}
    >
      {isSelf && wasOpen ? (
        <p>
          It was put there while you had it open. What you wrote, and what you write now, stays in it and
          comes back with it.
        </p>
      ) : isSelf ? null : (
        <p>So this page is in no list until that one is put back. Every word is in it.</p>
      )}
      <div className="banner-actions">
        <Button data-testid="put-back" onClick={() => void actions.restore(trashed.document_id)}>
          {isSelf ? "Put it back" : `Put “${titleOf(trashed)}” back`}
        </Button>
        <SaveButtons {...props} />
      </div>
    </Banner>
  );
}

interface BannerProps {
  title: string;
  icon: ReactNode;
  children: ReactNode;
}

export function Banner({ title, icon, children }: BannerProps) {
  return (
    <div className="banner" role="alert" data-testid="banner">
      <span aria-hidden="true">{icon}</span>
      <div>
        <strong>{title}</strong>
        {children}
      </div>
    </div>
  );
}
