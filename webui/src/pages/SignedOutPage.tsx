/** This browser has no session with the daemon. */
import { Check, Copy } from "lucide-react";
import { Button } from "../components/controls";
import { Logo } from "../components/Logo";
import { useCopy } from "../hooks/clipboard";

const command = "sheaf open";

export function SignedOutPage() {
  const { copied, copy } = useCopy();
  return (
    <main className="signed-out" data-testid="signed-out">
      <Logo />
      <h1>This browser is signed out</h1>
      <p>
        Sheaf opens only for you, with a link that works once. Run this in a terminal on this laptop, and the
        editor opens signed in:
      </p>
      <div className="command-line">
        <code>{command}</code>
        <Button look="quiet" onClick={() => void copy(command)}>
          {copied ? <Check size={15} aria-hidden="true" /> : <Copy size={15} aria-hidden="true" />}
          {copied ? "Copied" : "Copy"}
        </Button>
      </div>
      <p className="muted">
        Anything you typed and that was not saved yet is kept in this browser until then.
      </p>
    </main>
  );
}
