/** Whether the daemon answers this window. */
import { createStore, type Store } from "../model/store";

export type DaemonLink = "connecting" | "online" | "unreachable" | "signed_out";

export const createDaemonLink = (): Store<DaemonLink> => createStore<DaemonLink>("connecting");
