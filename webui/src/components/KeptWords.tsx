/** Words that only this browser has: saving them elsewhere, and, after a question, removing them. */
import { Copy, Download } from "lucide-react";
import { useId, useState } from "react";
import { useApp } from "../hooks/app";
import { useCopy } from "../hooks/clipboard";
import { downloadMarkdown, type KeptCopy, useKeptCopy } from "../hooks/saving-copies";
import type { DocumentId } from "../model/identifiers";
import { countWords, wordsInWords } from "../model/words";
import { Button, Spinner } from "./controls";
import { Dialog } from "./Dialog";

/** Copying the text and saving it to a file. `read` is asked at the press: the words may be newer than the screen. */
export function SaveCopyButtons({ title, read }: { title: string; read: () => string }) {
  const { copied, copy } = useCopy();
  return (
    <>
      <Button onClick={() => void copy(read())}>
        <Copy size={15} aria-hidden="true" /> {copied === null ? "Copy its text" : "Copied"}
      </Button>
      <Button onClick={() => downloadMarkdown(title, read())}>
        <Download size={15} aria-hidden="true" /> Download as Markdown
      </Button>
    </>
  );
}

interface RemoveCopyDialogProps {
  documentId: DocumentId;
  title: string;
  /** What follows when the copy is gone. */
  onRemoved: () => void;
  onClose: () => void;
}

export function RemoveCopyDialog({ documentId, title, onRemoved, onClose }: RemoveCopyDialogProps) {
  const copy = useKeptCopy(documentId);
  return (
    <Dialog title={`Remove this browser's copy of “${title}”?`} onClose={onClose}>
      {copy ? (
        <RemoveCopy
          copy={copy}
          documentId={documentId}
          title={title}
          onRemoved={onRemoved}
          onClose={onClose}
        />
      ) : (
        <Spinner label="Reading the copy" />
      )}
    </Dialog>
  );
}

function RemoveCopy({
  copy,
  documentId,
  title,
  onRemoved,
  onClose,
}: RemoveCopyDialogProps & { copy: KeptCopy }) {
  const { sessions, overlays } = useApp();
  const [isSure, setSure] = useState(false);
  const box = useId();
  const whole = countWords(copy.text);
  const remove = async () => {
    const isRemoved = await sessions.forget(documentId).catch(() => false);
    onClose();
    if (isRemoved) onRemoved();
    else overlays.notify("Nothing was removed: another window has the page open.", { tone: "problem" });
  };
  return (
    <>
      <p className="lead" data-testid="remove-says">
        {copy.isUnsaved ? (
          <>
            <strong>{wordsInWords(copy.unsavedWords)}</strong> of it{" "}
            {copy.unsavedWords === 1 ? "was" : "were"} never saved by Sheaf, on this laptop or anywhere else.
            If you remove the copy, they are gone for good.
          </>
        ) : (
          <>
            The copy has {wordsInWords(whole)}. All of them were once saved by Sheaf, but Sheaf on this laptop
            does not have the page now.
          </>
        )}
      </p>
      <div className="button-row">
        <SaveCopyButtons title={title} read={() => copy.text} />
      </div>
      <label className="sure" htmlFor={box}>
        <input
          id={box}
          type="checkbox"
          checked={isSure}
          data-testid="remove-sure"
          onChange={(event) => setSure(event.target.checked)}
        />
        <span>
          {copy.isUnsaved
            ? "I have saved what I need, or do not need it."
            : "I do not need this copy any more."}
        </span>
      </label>
      <div className="button-row">
        <Button onClick={onClose}>Keep it</Button>
        <Button look="danger" disabled={!isSure} data-testid="remove-copy" onClick={() => void remove()}>
          {copy.isUnsaved
            ? `Remove ${wordsInWords(copy.unsavedWords)} for good`
            : `Remove the copy of ${wordsInWords(whole)}`}
        </Button>
      </div>
    </>
  );
}
