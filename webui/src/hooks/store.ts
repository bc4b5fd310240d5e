import { useSyncExternalStore } from "react";
import type { ReadableStore } from "../model/store";

/** Reads an external store; the component draws again when its value changes. */
export function useStore<T>(store: ReadableStore<T>): T {
  return useSyncExternalStore(store.subscribe, store.get);
}
