/** The keys a person should know, for the help dialog. Apart from `keymap`, so that it costs no editor code. */
export const shortcuts: readonly { label: string; keys: string }[] = [
  { label: "Find a page, or do something", keys: "Mod-K" },
  { label: "Insert a block", keys: "/" },
  { label: "Bold, italic, underline", keys: "Mod-B, Mod-I, Mod-U" },
  { label: "Strike through, code, highlight", keys: "Mod-Shift-S, Mod-E, Mod-Shift-H" },
  { label: "Link the selected words", keys: "Mod-K" },
  { label: "Heading 1, 2, 3, text", keys: "Mod-Alt-1 … Mod-Alt-0" },
  { label: "Numbers, bullets, to-do", keys: "Mod-Shift-7, 8, 9" },
  { label: "Indent, outdent", keys: "Tab, Shift-Tab" },
  { label: "Tick a to-do", keys: "Mod-Enter" },
  { label: "Move a block", keys: "Alt-↑, Alt-↓" },
  { label: "Format bar, from the keyboard", keys: "Alt-F10" },
  { label: "Leave the page (for Tab)", keys: "Escape" },
  { label: "Undo, redo your own changes", keys: "Mod-Z, Mod-Shift-Z" },
];
