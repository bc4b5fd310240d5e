/** Hooks around who has an open document: keeping the answer true, and telling what was seen here. */
import { useEffect } from "react";
import type { DeliveryKnowledge } from "../model/delivery";
import { type Looking, SeenReporter } from "../sync/seen";
import type { DocumentSession } from "../sync/session";
import { useApp } from "./app";
import { useStore } from "./store";

const asking: DeliveryKnowledge = { kind: "asking" };

/** Who has the session's document; an answer from before the last change here is never shown. */
export function useDelivery(session: DocumentSession): DeliveryKnowledge {
  const { delivery } = useApp();
  const { documentId } = session;
  useEffect(() => {
    const unwatch = delivery.watch(documentId);
    const follow = () => {
      if (session.state.get().pending) delivery.written(documentId);
      else delivery.saved(documentId);
    };
    follow();
    const unsubscribe = session.state.subscribe(follow);
    return () => {
      unsubscribe();
      unwatch();
    };
  }, [delivery, session, documentId]);
  return useStore(delivery)[documentId] ?? asking;
}

function lookingNow(): Looking {
  if (document.visibilityState !== "visible") return "away";
  return document.hasFocus() ? "focused" : "visible";
}

/** Tells the daemon what a person has before their eyes, unless they would rather not say. */
export function useSeen(session: DocumentSession | null, isShared: boolean): void {
  const { api } = useApp();
  useEffect(() => {
    if (!session || !isShared) return;
    const reporter = new SeenReporter({ report: () => api.seen(session.documentId) });
    const look = () => reporter.looking(lookingNow());
    const follow = () => {
      const { link, synced, bindable } = session.state.get();
      reporter.ready(link.kind === "online" && synced && bindable);
    };
    const onUpdate = (_update: Uint8Array, _origin: unknown, _doc: unknown, change: { local: boolean }) => {
      if (!change.local) reporter.arrived();
    };
    reporter.arrived();
    look();
    follow();
    const unsubscribe = session.state.subscribe(follow);
    session.doc.on("update", onUpdate);
    document.addEventListener("visibilitychange", look);
    addEventListener("focus", look);
    addEventListener("blur", look);
    return () => {
      reporter.close();
      unsubscribe();
      session.doc.off("update", onUpdate);
      document.removeEventListener("visibilitychange", look);
      removeEventListener("focus", look);
      removeEventListener("blur", look);
    };
  }, [api, session, isShared]);
}
