/** JSON in localStorage that never throws: a full or forbidden storage only forgets. */
export interface Cache {
  read(key: string): unknown;
  write(key: string, value: unknown): void;
  remove(key: string): void;
  /** All keys that begin so. */
  keys(beginning: string): string[];
}

const prefix = "sheaf.";

function attempt<T>(work: () => T, otherwise: T): T {
  try {
    return work();
  } catch {
    return otherwise;
  }
}

export const browserCache: Cache = {
  read: (key) =>
    attempt(() => {
      const text = localStorage.getItem(prefix + key);
      return text === null ? null : (JSON.parse(text) as unknown);
    }, null),
  write: (key, value) => attempt(() => localStorage.setItem(prefix + key, JSON.stringify(value)), undefined),
  remove: (key) => attempt(() => localStorage.removeItem(prefix + key), undefined),
  keys: (beginning) =>
    attempt(
      () =>
        Array.from({ length: localStorage.length }, (_, index) => localStorage.key(index) ?? "")
          .filter((key) => key.startsWith(prefix + beginning))
          .map((key) => key.slice(prefix.length)),
      [],
    ),
};
