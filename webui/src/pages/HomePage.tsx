/** The first run, and "nowhere in particular". */
import { Compass, Sprout, Ticket, WifiOff } from "lucide-react";
import { useEffect } from "react";
import { Button, EmptyState, Spinner } from "../components/controls";
import { WaitingPanel } from "../components/WaitingPanel";
import { useApp } from "../hooks/app";
import { useCurrentSpaceId } from "../hooks/library";
import { useStore } from "../hooks/store";

export function HomePage() {
  const { library, overlays, navigation, daemon } = useApp();
  const { spaces } = useStore(library);
  const link = useStore(daemon);
  const current = useCurrentSpaceId();

  useEffect(() => {
    if (current) navigation.go({ page: "space", spaceId: current }, "replace");
  }, [current, navigation]);
  useEffect(() => {
    document.title = "Sheaf";
  }, []);

  if (spaces === null) {
    return link === "unreachable" ? (
      <div className="paper">
        <WaitingPanel />
        <EmptyState icon={<WifiOff size={30} />} title="Sheaf is not running">
          <p>
            Start it on this laptop and this window goes on by itself: <code>sheaf up</code>
          </p>
        </EmptyState>
      </div>
    ) : (
      <div className="page-waiting">
        <Spinner label="Loading" />
      </div>
    );
  }
  if (spaces.length > 0) return null;
  return (
    <div className="paper">
      <WaitingPanel />
      <EmptyState
        icon={<Sprout size={34} />}
        title="Write together, on your own laptops"
        actions={
          <>
            <Button look="primary" onClick={() => overlays.open({ kind: "new_space" })}>
              Make a space
            </Button>
            <Button onClick={() => overlays.open({ kind: "join" })}>
              <Ticket size={16} aria-hidden="true" /> Join with an invitation
            </Button>
          </>
        }
      >
        <p>
          A space holds pages and the people who share them. What you write goes from laptop to laptop,
          sealed, and is kept on each. No server in between can read it.
        </p>
      </EmptyState>
    </div>
  );
}

export function UnknownPage() {
  const { navigation } = useApp();
  return (
    <EmptyState
      icon={<Compass size={30} />}
      title="There is nothing at this address"
      actions={<Button onClick={() => navigation.go({ page: "home" })}>Go to your spaces</Button>}
    />
  );
}
