/** How this computer's keyboard calls its keys. */
const isApple = /Mac|iPhone|iPad/.test(navigator.userAgent);

export const modKey = isApple ? "⌘" : "Ctrl";

export function showKeys(keys: string): string {
  return keys
    .replaceAll("Mod", modKey)
    .replaceAll("Alt", isApple ? "⌥" : "Alt")
    .replaceAll("Shift", isApple ? "⇧" : "Shift")
    .replaceAll("-", " ");
}
