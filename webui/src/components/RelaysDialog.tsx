/** The relays of a space: which they are, how they are reached, and what a relay can and cannot see. */
import { Plus, Server, Trash2 } from "lucide-react";
import { type FormEvent, useState } from "react";
import { explain } from "../hooks/actions";
import { useApp } from "../hooks/app";
import { useSpace } from "../hooks/library";
import { useStore } from "../hooks/store";
import { relayName } from "../model/delivery";
import type { SpaceId } from "../model/identifiers";
import { readRelayUrl, relay_urls_max, relayOfSpace, relayWords } from "../model/relays";
import { Button, Field, IconButton, Spinner } from "./controls";
import { Dialog } from "./Dialog";

export function RelaysDialog({ spaceId, onClose }: { spaceId: SpaceId; onClose: () => void }) {
  const { library } = useApp();
  const space = useSpace(spaceId);
  const [isBusy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const urls = space?.relay_urls ?? [];
  const isOwner = space?.role === "owner";

  const change = async (next: readonly string[]): Promise<boolean> => {
    setBusy(true);
    setProblem(null);
    try {
      await library.setRelays(spaceId, next);
      await library.refreshStatus().catch(() => undefined);
      return true;
    } catch (error) {
      setProblem(explain(error));
      return false;
    } finally {
      setBusy(false);
    }
  };

  return (
    <Dialog title={`Relays of “${space?.name ?? "this space"}”`} onClose={onClose} wide>
      <p className="lead">
        Through a relay, laptops find each other that share no network, and what you write waits there for
        those who are away.
      </p>
      {urls.length === 0 ? (
        <p className="relay-none" data-testid="no-relays">
          <Server size={20} aria-hidden="true" />
          <span>No relay. Your laptops meet when they are on one network.</span>
        </p>
      ) : (
        <RelayList
          urls={urls}
          canChange={isOwner && !isBusy}
          onRemove={isOwner ? (url) => void change(urls.filter((other) => other !== url)) : null}
        />
      )}
      {problem ? (
        <p className="form-problem" role="alert">
          {problem}
        </p>
      ) : null}
      {isOwner ? (
        <AddRelay urls={urls} isBusy={isBusy} add={(url) => change([...urls, url])} />
      ) : (
        <p className="hint">Owners of the space choose its relays.</p>
      )}
      <WhatItSees />
    </Dialog>
  );
}

interface RelayListProps {
  urls: readonly string[];
  canChange: boolean;
  /** Null for those who may not. */
  onRemove: ((url: string) => void) | null;
}

function RelayList({ urls, canChange, onRemove }: RelayListProps) {
  const { library } = useApp();
  const known = useStore(library).status?.relays ?? [];
  return (
    <ul className="member-list" aria-label="Relays" data-testid="relay-list">
      {urls.map((url) => {
        const relay = relayOfSpace(url, known);
        return (
          <li key={url} data-state={relay?.state ?? "unused"}>
            <span className={`delivery-mark relay-${relay?.state ?? "unused"}`} aria-hidden="true">
              <Server size={18} />
            </span>
            <span className="peer-words">
              <strong className="relay-url">{url}</strong>
              <span className="muted">
                {relay ? relayWords(relay) : "Not in use on this laptop yet."}
                {url.startsWith("ws://")
                  ? " Without TLS: the network in between sees what the relay sees."
                  : ""}
              </span>
            </span>
            {onRemove ? (
              <IconButton
                label={`Remove ${relayName(url)}`}
                icon={<Trash2 size={16} />}
                disabled={!canChange}
                onClick={() => onRemove(url)}
              />
            ) : null}
          </li>
        );
      })}
    </ul>
  );
}

interface AddRelayProps {
  urls: readonly string[];
  isBusy: boolean;
  add: (url: string) => Promise<boolean>;
}

function AddRelay({ urls, isBusy, add }: AddRelayProps) {
  const [text, setText] = useState("");
  const [complaint, setComplaint] = useState<string | null>(null);
  if (urls.length >= relay_urls_max) {
    return <p className="hint">A space has at most {relay_urls_max} relays. Remove one to add another.</p>;
  }
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const read = readRelayUrl(text, { existing: urls });
    setComplaint(read.ok ? null : read.complaint);
    if (read.ok && (await add(read.url))) setText("");
  };
  return (
    <form onSubmit={(event) => void submit(event)}>
      <Field label="Add a relay">
        {(id) => (
          <div className="field-with-button">
            <input
              id={id}
              data-testid="relay-input"
              value={text}
              placeholder="relay.example.org"
              spellCheck={false}
              autoComplete="off"
              autoCapitalize="none"
              inputMode="url"
              aria-invalid={complaint !== null}
              aria-describedby={complaint ? `${id}-problem` : undefined}
              onChange={(event) => {
                setText(event.target.value);
                setComplaint(null);
              }}
            />
            <Button type="submit" data-testid="relay-add" disabled={isBusy || text.trim() === ""}>
              {isBusy ? <Spinner label="Saving" /> : <Plus size={16} aria-hidden="true" />} Add
            </Button>
            {complaint ? (
              <p className="form-problem" role="alert" id={`${id}-problem`}>
                {complaint}
              </p>
            ) : null}
          </div>
        )}
      </Field>
    </form>
  );
}

function WhatItSees() {
  return (
    <section className="relay-facts" aria-label="What a relay sees">
      <div>
        <h3>A relay sees</h3>
        <ul>
          <li>the internet addresses of your laptops, and when they come and go</li>
          <li>how much is left with it and fetched, and when</li>
        </ul>
      </div>
      <div>
        <h3>It never sees</h3>
        <ul>
          <li>a word you write, a title, a name, or which space it is for</li>
          <li>who you are: it knows no accounts, and keeps only sealed pieces</li>
        </ul>
      </div>
      <p className="hint">
        A relay that loses or withholds something is noticed, and what it lost is given to it again. Anybody
        can run one, with <code>sheaf relay</code>.
      </p>
    </section>
  );
}
