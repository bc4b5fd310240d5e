import { useEffect, useState } from "react";

/** The time, again every `interval_ms` while something on the screen depends on it. */
export function useNow(interval_ms: number, isRunning = true): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    if (!isRunning) return;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), interval_ms);
    return () => clearInterval(timer);
  }, [interval_ms, isRunning]);
  return now;
}
