import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { between_ms, glance_ms, look_ms, SeenReporter } from "../../src/sync/seen";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function reporter(report = vi.fn(() => Promise.resolve())) {
  return { report, seen: new SeenReporter({ report }) };
}

const long_ms = 60_000;

describe("telling what was seen", () => {
  it("waits until somebody has looked, at a page that shows everything", async () => {
    const { report, seen } = reporter();
    seen.arrived();
    await vi.advanceTimersByTimeAsync(long_ms);
    seen.looking("visible");
    await vi.advanceTimersByTimeAsync(long_ms);
    expect(report).not.toHaveBeenCalled();
    seen.ready(true);
    await vi.advanceTimersByTimeAsync(look_ms - 1);
    expect(report).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(1);
    expect(report).toHaveBeenCalledTimes(1);
  });

  it("takes a glance for enough when the focus is in the page", async () => {
    const { report, seen } = reporter();
    seen.ready(true);
    seen.looking("focused");
    seen.arrived();
    await vi.advanceTimersByTimeAsync(glance_ms);
    expect(report).toHaveBeenCalledTimes(1);
  });

  it("does not count a page that was in front for a moment only", async () => {
    const { report, seen } = reporter();
    seen.ready(true);
    seen.arrived();
    for (let n = 0; n < 5; n += 1) {
      seen.looking("visible");
      await vi.advanceTimersByTimeAsync(look_ms - 1);
      seen.looking("away");
      await vi.advanceTimersByTimeAsync(long_ms);
    }
    expect(report).not.toHaveBeenCalled();
  });

  it("tells nothing twice, and one thing for many that came together", async () => {
    const { report, seen } = reporter();
    seen.ready(true);
    seen.looking("visible");
    for (let n = 0; n < 50; n += 1) seen.arrived();
    await vi.advanceTimersByTimeAsync(long_ms);
    seen.looking("away");
    seen.looking("focused");
    await vi.advanceTimersByTimeAsync(long_ms);
    expect(report).toHaveBeenCalledTimes(1);
  });

  it("tells it now and then while somebody types without a pause", async () => {
    const { report, seen } = reporter();
    seen.ready(true);
    seen.looking("focused");
    for (let at_ms = 0; at_ms < 10 * between_ms; at_ms += 100) {
      seen.arrived();
      await vi.advanceTimersByTimeAsync(100);
    }
    expect(report.mock.calls.length).toBeGreaterThanOrEqual(9);
    expect(report.mock.calls.length).toBeLessThanOrEqual(11);
  });

  it("tells later what could not be told", async () => {
    const { report, seen } = reporter();
    report.mockImplementationOnce(() => Promise.reject(new Error("away")));
    seen.ready(true);
    seen.looking("visible");
    seen.arrived();
    await vi.advanceTimersByTimeAsync(long_ms);
    expect(report).toHaveBeenCalledTimes(1);
    seen.ready(false);
    seen.ready(true);
    await vi.advanceTimersByTimeAsync(long_ms);
    expect(report).toHaveBeenCalledTimes(2);
  });

  it("is silent once the page is closed", async () => {
    const { report, seen } = reporter();
    seen.ready(true);
    seen.looking("visible");
    seen.arrived();
    seen.close();
    seen.arrived();
    await vi.advanceTimersByTimeAsync(long_ms);
    expect(report).not.toHaveBeenCalled();
  });
});
