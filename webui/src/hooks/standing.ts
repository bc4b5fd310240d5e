import { useEffect, useState } from "react";
import type { DocumentId } from "../model/identifiers";
import { ApiError } from "../model/ports";
import { type Standing, standingOf } from "../model/standing";
import { useApp } from "./app";
import { useStore } from "./store";

const again_ms = 5_000;
const asking: Standing = { kind: "asking" };

/** Asks the daemon about a document that no known list holds, and goes on asking while it cannot tell. */
export function useStanding(documentId: DocumentId, isKnown: boolean): Standing {
  const { library, daemon } = useApp();
  const link = useStore(daemon);
  const state = useStore(library).status?.storage.state ?? null;
  const [standing, setStanding] = useState<Standing>(asking);
  useEffect(() => {
    if (isKnown || link !== "online") return setStanding(link === "unreachable" ? { kind: link } : asking);
    let timer: ReturnType<typeof setTimeout> | null = null;
    let wanted = true;
    const ask = async () => {
      try {
        await library.lookUp(documentId);
      } catch (error) {
        if (!wanted) return;
        const next: Standing =
          error instanceof ApiError ? standingOf(error.failure, state && { state }) : { kind: "unreachable" };
        setStanding(next);
        if (next.kind !== "unknown") timer = setTimeout(() => void ask(), again_ms);
      }
    };
    void ask();
    return () => {
      wanted = false;
      if (timer) clearTimeout(timer);
    };
  }, [documentId, isKnown, link, library, state]);
  return standing;
}
