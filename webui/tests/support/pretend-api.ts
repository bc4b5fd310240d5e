/** The daemon's HTTP API with nothing behind it: every call fails until a test says otherwise. */
import { ApiError, type SheafApi } from "../../src/model/ports";

export const unreachable = () => Promise.reject(new ApiError({ kind: "unreachable" }));
export const refused = (title: string, status = 409) =>
  Promise.reject(new ApiError({ kind: "problem", status, title, detail: null }));

export function pretendApi(answers: Partial<SheafApi>): SheafApi {
  return new Proxy(answers as SheafApi, {
    get: (target, name: keyof SheafApi) => target[name] ?? unreachable,
  });
}

export function memoryCache() {
  const values = new Map<string, unknown>();
  return {
    values,
    read: (key: string) => values.get(key) ?? null,
    write: (key: string, value: unknown) => void values.set(key, structuredClone(value)),
    remove: (key: string) => void values.delete(key),
    keys: (beginning: string) => [...values.keys()].filter((key) => key.startsWith(beginning)),
  };
}
