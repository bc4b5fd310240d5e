import type { CSSProperties } from "react";
import { initials, presenceColour } from "../model/presence";

interface AvatarProps {
  name: string;
  /** What the colour is made from; the name when there is no id. */
  id?: string;
  color?: string;
  dim?: boolean;
  small?: boolean;
}

export function Avatar({ name, id, color, dim = false, small = false }: AvatarProps) {
  return (
    <span
      className={`avatar ${dim ? "avatar-dim" : ""} ${small ? "avatar-small" : ""}`}
      style={{ "--presence": color ?? presenceColour(id ?? name) } as CSSProperties}
      title={name}
      aria-hidden="true"
    >
      {initials(name)}
    </span>
  );
}
