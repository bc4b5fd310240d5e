/** On the start page: words that wait in this browser, document by document, and titles that were not taken. */
import { FileText, Hash, Hourglass, Type } from "lucide-react";
import { useApp } from "../hooks/app";
import { useNow } from "../hooks/clock";
import { useStore } from "../hooks/store";
import type { DocumentId } from "../model/identifiers";
import { titleOf } from "../model/library";
import { relativeMoment } from "../model/time";
import { isStuck, stateNow, type WaitingDocument, waitingWords } from "../model/unsaved";
import { wordsInWords } from "../model/words";
import type { UnsentTitle } from "../stores/titles";
import { Button } from "./controls";

const minute_ms = 60_000;

export function WaitingPanel() {
  const { handover, library, daemon } = useApp();
  const waiting = useStore(handover);
  const { unsentTitles } = useStore(library);
  const link = useStore(daemon);
  const now = useNow(minute_ms, waiting.length > 0);
  const titles = Object.entries(unsentTitles) as [DocumentId, UnsentTitle][];
  if (waiting.length === 0 && titles.length === 0) return null;
  const needsHand = waiting.some(({ state }) => isStuck(state));
  return (
    <section className="waiting" data-testid="waiting" aria-label="Not saved on this laptop yet">
      <h2>
        <Hourglass size={17} aria-hidden="true" /> Not saved on this laptop yet
      </h2>
      <p className="muted">
        {link === "unreachable"
          ? "Sheaf is not running. This browser keeps these words and hands them over by itself as soon as Sheaf runs again; you need not open the pages."
          : needsHand
            ? "This browser keeps these words. Some of them cannot be saved where they were written: decide what becomes of them."
            : "This browser keeps these words and hands them over by itself; you need not open the pages."}
      </p>
      <ul>
        {waiting.map((one) => (
          <WaitingRow key={one.documentId} waiting={one} now={now} />
        ))}
        {titles.map(([documentId, unsent]) => (
          <TitleRow key={documentId} documentId={documentId} unsent={unsent} />
        ))}
      </ul>
    </section>
  );
}

function WaitingRow({ waiting, now }: { waiting: WaitingDocument; now: number }) {
  const { library, navigation, overlays } = useApp();
  useStore(library);
  const { documentId, label } = waiting;
  const state = stateNow(waiting.state, library.get().status?.storage);
  const document = library.find(documentId);
  const space = library.get().spaces?.find(({ space_id }) => space_id === document?.space_id);
  const title = document ? titleOf(document) : label ? titleOf(label) : "A page";
  const type = document?.type ?? label?.type ?? "page";
  return (
    <li data-testid="waiting-document" data-state={state}>
      <span className="doc-icon" aria-hidden="true">
        {type === "page" ? <FileText size={17} /> : <Hash size={17} />}
      </span>
      <span className="waiting-words">
        <span className="waiting-line">
          <button
            type="button"
            className="waiting-name"
            dir="auto"
            onClick={() => navigation.go({ page: "document", documentId })}
          >
            {title}
          </button>
          <span className="muted" dir="auto">
            {space?.name ?? label?.space ?? ""}
          </span>
        </span>
        <span className="muted">
          <strong>{wordsInWords(waiting.words)}</strong>
          {waiting.since_ms > 0 ? `, ${relativeMoment(waiting.since_ms, now)}` : ""} · {waitingWords(state)}
        </span>
      </span>
      {isStuck(state) ? (
        <Button
          look="quiet"
          onClick={() => overlays.open({ kind: "remove_copy", documentId, title, next: "leave" })}
          aria-label={`Save or remove the words of “${title}”`}
        >
          Save or remove…
        </Button>
      ) : null}
    </li>
  );
}

function TitleRow({ documentId, unsent }: { documentId: DocumentId; unsent: UnsentTitle }) {
  const { library } = useApp();
  const again = () => void library.setTitle(documentId, unsent.title).catch(() => undefined);
  return (
    <li data-testid="waiting-title" data-state={unsent.refused === null ? "waiting" : "refused"}>
      <span className="doc-icon" aria-hidden="true">
        <Type size={17} />
      </span>
      <span className="waiting-words">
        <span>
          The title <strong dir="auto">“{unsent.title}”</strong>
        </span>
        <span className="muted">{unsent.refused ?? "Waits in this browser"}</span>
      </span>
      {unsent.refused === null ? null : (
        <>
          {library.find(documentId) ? (
            <Button look="quiet" onClick={again}>
              Use it
            </Button>
          ) : null}
          <Button look="quiet" onClick={() => library.dismissTitle(documentId)}>
            Let it go
          </Button>
        </>
      )}
    </li>
  );
}
