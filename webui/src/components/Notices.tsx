import { X } from "lucide-react";
import { useApp } from "../hooks/app";
import { useStore } from "../hooks/store";
import { Button, IconButton } from "./controls";

export function Notices() {
  const { overlays } = useApp();
  const notices = useStore(overlays.notices);
  return (
    <div className="notices" role="status" aria-live="polite">
      {notices.map((notice) => (
        <div key={notice.id} className={`notice notice-${notice.tone}`}>
          <span>{notice.text}</span>
          {notice.action ? (
            <Button
              look="quiet"
              onClick={() => {
                overlays.dismiss(notice.id);
                notice.action?.run();
              }}
            >
              {notice.action.label}
            </Button>
          ) : null}
          <IconButton label="Dismiss" icon={<X size={16} />} onClick={() => overlays.dismiss(notice.id)} />
        </div>
      ))}
    </div>
  );
}
