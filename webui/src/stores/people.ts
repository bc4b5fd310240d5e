/** Who is connected, who belongs to which space, which invitations are open. Facts of the moment: not cached. */
import type { SpaceId } from "../model/identifiers";
import type { Invitation, Member, Peer } from "../model/library";
import type { SheafApi } from "../model/ports";
import { createStore, type ReadableStore } from "../model/store";

export interface People {
  peers: Peer[];
  members: Partial<Record<SpaceId, Member[]>>;
  invitations: Partial<Record<SpaceId, Invitation[]>>;
}

export interface PeopleStore extends ReadableStore<People> {
  refreshPeers(): Promise<void>;
  refreshMembers(spaceId: SpaceId): Promise<void>;
  refreshInvitations(spaceId: SpaceId): Promise<void>;
  /** The daemon is away: nobody is known to be connected. */
  lost(): void;
}

export function createPeople(api: SheafApi): PeopleStore {
  const store = createStore<People>({ peers: [], members: {}, invitations: {} });
  return {
    get: store.get,
    subscribe: store.subscribe,
    async refreshPeers() {
      const peers = await api.peers();
      store.update((current) => ({ ...current, peers }));
    },
    async refreshMembers(spaceId) {
      const members = await api.members(spaceId);
      store.update((current) => ({ ...current, members: { ...current.members, [spaceId]: members } }));
    },
    async refreshInvitations(spaceId) {
      const invitations = await api.invitations(spaceId);
      store.update((current) => ({
        ...current,
        invitations: { ...current.invitations, [spaceId]: invitations },
      }));
    },
    lost: () => store.update((current) => ({ ...current, peers: [] })),
  };
}
