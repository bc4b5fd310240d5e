/**
 * Who in this browser has a document open: each window that shows it holds a share of its lock, and what works on
 * it unseen takes the whole lock or nothing. Without the Web Locks API everybody gets what they ask for.
 */
const nameOf = (documentId: string) => `sheaf.document.${documentId}`;
const locks = (): LockManager | undefined => globalThis.navigator?.locks;

/** Holds a share until the returned function is called or the window ends. */
export function shareDocument(documentId: string): () => void {
  let release: () => void = () => undefined;
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  void locks()
    ?.request(nameOf(documentId), { mode: "shared" }, () => held)
    .catch(() => undefined);
  return () => release();
}

/** Runs `work` when no window shows the document, waiting so long for those that do; null when one stays. */
export async function whenUnshared<T>(
  documentId: string,
  patience_ms: number,
  work: () => Promise<T>,
): Promise<T | null> {
  const manager = locks();
  if (!manager) return work();
  if (patience_ms === 0) {
    return manager.request(nameOf(documentId), { ifAvailable: true }, (lock) => (lock ? work() : null));
  }
  const signal = AbortSignal.timeout(patience_ms);
  try {
    return await manager.request(nameOf(documentId), { signal }, work);
  } catch (error) {
    if (signal.aborted) return null;
    throw error;
  }
}
