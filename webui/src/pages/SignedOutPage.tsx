/** This browser has no session with the daemon. */
import { Check, Copy } from "lucide-react";
import { Button } from "../components/controls";
import { Logo } from "../components/Logo";
import { useApp } from "../hooks/app";
import { useCopy } from "../hooks/clipboard";
import { useStore } from "../hooks/store";
import { wordsInWords } from "../model/words";

const command = "sheaf open";

export function SignedOutPage() {
  const { handover } = useApp();
  const waiting = useStore(handover);
  const words = waiting.reduce((sum, one) => sum + one.words, 0);
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
      <p className="muted" data-testid="signed-out-waiting">
        {waiting.length === 0
          ? "Anything you typed and that was not saved yet is kept in this browser until then."
          : `${wordsInWords(words)} in ${waiting.length === 1 ? "1 page" : `${waiting.length} pages`} not saved yet: kept in this browser, and saved by themselves when you are signed in.`}
      </p>
    </main>
  );
}
