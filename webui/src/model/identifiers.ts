/**
 * Identifiers as the daemon writes them. A template type is enough to keep a space's id out of a document's
 * place, and the two parsers below are the only doors for text that a person or an address bar supplied.
 */
export type SpaceId = `s_${string}`;
export type DocumentId = `d_${string}`;
export type UserId = `u_${string}`;
export type DeviceId = `v_${string}`;

const body = /^[A-Za-z0-9_-]{1,128}$/;

export function parseSpaceId(text: string): SpaceId | null {
  return text.startsWith("s_") && body.test(text.slice(2)) ? (text as SpaceId) : null;
}

export function parseDocumentId(text: string): DocumentId | null {
  return text.startsWith("d_") && body.test(text.slice(2)) ? (text as DocumentId) : null;
}
