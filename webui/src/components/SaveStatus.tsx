/** Where the words are, in few words; who has them, one click deeper. */
import {
  BookOpen,
  Check,
  CheckCheck,
  CircleHelp,
  CloudOff,
  Eye,
  HardDrive,
  LoaderCircle,
  Mailbox,
  TriangleAlert,
} from "lucide-react";
import type { ReactNode } from "react";
import { useApp } from "../hooks/app";
import { useDelivery } from "../hooks/delivery";
import { useSpace } from "../hooks/library";
import { useStore } from "../hooks/store";
import { type DeliveryWords, deliveryWords, type Headline } from "../model/delivery";
import type { SpaceId } from "../model/identifiers";
import { type SaveState, savingWords } from "../model/saving";
import type { DocumentSession } from "../sync/session";
import { DeliveryPanel } from "./DeliveryPanel";
import { Popover } from "./Popover";

const icons: Readonly<Record<Exclude<SaveState, "saved">, ReactNode>> = {
  saving: <LoaderCircle size={15} className="turning" />,
  unsaved: <TriangleAlert size={15} />,
  offline: <CloudOff size={15} />,
  readonly: <BookOpen size={15} />,
  held: <HardDrive size={15} />,
  paused: <HardDrive size={15} />,
  window: <TriangleAlert size={15} />,
};

const headlineIcons: Readonly<Record<Headline, ReactNode>> = {
  saved_here: <Check size={15} />,
  asking: <Check size={15} />,
  on_relay: <Mailbox size={15} />,
  delivered: <CheckCheck size={15} />,
  seen: <Eye size={15} />,
  unknown: <CircleHelp size={15} />,
};

interface SaveStatusProps {
  state: SaveState;
  session: DocumentSession;
  spaceId: SpaceId;
}

export function SaveStatus({ state, session, spaceId }: SaveStatusProps) {
  const { library } = useApp();
  const self = useStore(library).status?.user_id ?? null;
  const knowledge = useDelivery(session);
  const relayWarning = useSpace(spaceId)?.delivery.relay_warning ?? null;
  const bar = barOf(state, deliveryWords(knowledge, self, relayWarning));
  return (
    <Popover
      label={`${bar.long}${bar.warning ? ", with a warning" : ""}. Where it is and who has it`}
      panelLabel="Where it is"
      testId="save-state"
      data={{ "data-state": state, "data-delivery": bar.headline, "data-warning": String(bar.warning) }}
      buttonClass={`save-state save-${state} ${bar.warning ? "save-warning" : ""}`}
      button={
        <>
          <span className="save-icon" aria-hidden="true">
            {bar.warning ? <TriangleAlert size={15} /> : bar.icon}
          </span>
          <span className="save-long">{bar.long}</span>
          <span className="save-short">{bar.short}</span>
        </>
      }
    >
      <DeliveryPanel state={state} knowledge={knowledge} spaceId={spaceId} documentId={session.documentId} />
    </Popover>
  );
}

interface Bar {
  headline: Headline;
  icon: ReactNode;
  long: string;
  short: string;
  warning: boolean;
}

function barOf(state: SaveState, words: DeliveryWords): Bar {
  if (state === "saved") {
    return { ...words, icon: headlineIcons[words.headline], long: words.short };
  }
  // Not all of it is on the disk, or nobody can be asked: no claim about the others.
  const headline = state === "readonly" ? words.headline : "unknown";
  return { ...savingWords(state), icon: icons[state], headline, warning: words.warning };
}
