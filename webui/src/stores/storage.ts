/** JSON in localStorage that never throws: a full or forbidden storage only forgets. */
export interface Cache {
  read(key: string): unknown;
  write(key: string, value: unknown): void;
}

const prefix = "sheaf.";

export const browserCache: Cache = {
  read(key) {
    try {
      const text = localStorage.getItem(prefix + key);
      return text === null ? null : (JSON.parse(text) as unknown);
    } catch {
      return null;
    }
  },
  write(key, value) {
    try {
      localStorage.setItem(prefix + key, JSON.stringify(value));
    } catch {
      // See above.
    }
  },
};
