/** Where the words are, in words; who has them, one click deeper. */
import { Check, CloudOff, Eye, LoaderCircle, TriangleAlert } from "lucide-react";
import { useApp } from "../hooks/app";
import { useStore } from "../hooks/store";
import type { SpaceId } from "../model/identifiers";
import { holders, listNames, type SaveState, savingWords } from "../model/saving";
import { Popover } from "./Popover";

const icons: Readonly<Record<SaveState, React.ReactNode>> = {
  saved: <Check size={15} />,
  saving: <LoaderCircle size={15} className="turning" />,
  unsaved: <TriangleAlert size={15} />,
  offline: <CloudOff size={15} />,
  readonly: <Eye size={15} />,
};

const laptopLine: Readonly<Record<SaveState, string>> = {
  saved: "Every change is written to this laptop's disk.",
  saving: "Your last words are on their way to this laptop's disk.",
  unsaved:
    "Your last words are kept in this browser. They move to the laptop's disk as soon as Sheaf runs again.",
  offline: "Sheaf is not running. All you wrote is on this laptop; go on writing, this browser keeps it.",
  readonly: "You were invited as a reader. What others write arrives here.",
};

export function SaveStatus({ state, spaceId }: { state: SaveState; spaceId: SpaceId }) {
  const { people, library } = useApp();
  const { peers } = useStore(people);
  const { status } = useStore(library);
  const who = holders(peers, spaceId, status?.user_id ?? null);
  const words = savingWords(state, who);
  return (
    <Popover
      label={words.long}
      testId="save-state"
      data={{ "data-state": state }}
      buttonClass={`save-state save-${state}`}
      button={
        <>
          <span className="save-icon" aria-hidden="true">
            {icons[state]}
          </span>
          <span className="save-long">{words.long}</span>
          <span className="save-short">{words.short}</span>
        </>
      }
    >
      <h3>Where it is</h3>
      <ul className="fact-list">
        <li>
          <strong>This laptop</strong>
          <span>{laptopLine[state]}</span>
        </li>
        {who.have.length > 0 ? (
          <li>
            <strong>{listNames(who.have)}</strong>
            <span>
              {who.have.length === 1 ? "has" : "have"} everything this laptop has written in the space.
            </span>
          </li>
        ) : null}
        {who.receiving.length > 0 ? (
          <li>
            <strong>{listNames(who.receiving)}</strong>
            <span>{who.receiving.length === 1 ? "is" : "are"} connected and catching up.</span>
          </li>
        ) : null}
        {who.waiting.length > 0 ? (
          <li>
            <strong>{listNames(who.waiting)}</strong>
            <span>will get it the next time your laptops meet.</span>
          </li>
        ) : null}
      </ul>
      {peers.length === 0 ? (
        <p className="hint">Nobody else is in this space yet, or nobody was seen since Sheaf started.</p>
      ) : null}
    </Popover>
  );
}
