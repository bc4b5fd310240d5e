import { describe, expect, it } from "vitest";
import {
  type Delivery,
  type DeliveryState,
  deliveryWords,
  deviceWords,
  notDelivered,
  type PersonDelivery,
  relayLine,
  relayName,
  spaceWarning,
  warnings,
} from "../../src/model/delivery";

function person(name: string, state: DeliveryState): PersonDelivery {
  const device = { device_id: `v_${name}` as const, name: `${name}'s`, state, at_ms: null, missing: 0 };
  return { user_id: `u_${name}`, name, state, devices: [device] };
}

function delivery(people: PersonDelivery[], fields: Partial<Delivery> = {}): Delivery {
  return {
    document_id: "d_1",
    space_id: "s_1",
    saved: true,
    relays: [],
    people,
    incomplete: null,
    ...fields,
  };
}

const words = (...people: PersonDelivery[]) =>
  deliveryWords({ kind: "known", delivery: delivery(people) }, "u_Me").short;
const states: readonly DeliveryState[] = ["waiting", "on_relay", "delivered", "seen"];

describe("who has it, in few words", () => {
  it.each([
    [[], "Saved here"],
    [[person("Ann", "waiting")], "Saved here"],
    [[person("Ann", "on_relay")], "On the relay"],
    [[person("Ann", "delivered")], "Delivered to Ann"],
    [[person("Ann", "seen")], "Seen by Ann"],
    [[person("Ann", "delivered"), person("Bo", "waiting"), person("Cy", "seen")], "Delivered to 2 of 3"],
    [[person("Ann", "delivered"), person("Bo", "seen")], "Delivered to everybody"],
    [[person("Ann", "seen"), person("Bo", "seen")], "Seen by everybody"],
    [[person("Ann", "on_relay"), person("Bo", "waiting")], "Saved here"],
  ] as const)("of %j is “%s”", (people, expected) => {
    expect(words(...people)).toBe(expected);
  });

  it("speaks of my own other laptop only when there is nobody else", () => {
    expect(words(person("Me", "delivered"))).toBe("Delivered to your Me's");
    expect(words(person("Me", "delivered"), person("Ann", "waiting"))).toBe("Saved here");
  });

  it("never says more than every person's state bears, whatever the states are", () => {
    for (const first of states)
      for (const second of states)
        for (const third of states) {
          const people = [first, second, third].map((state, n) => person(`P${n}`, state));
          const { headline } = deliveryWords({ kind: "known", delivery: delivery(people) }, null);
          const all = (...wanted: DeliveryState[]) => people.every(({ state }) => wanted.includes(state));
          if (headline === "seen") expect(all("seen")).toBe(true);
          if (headline === "on_relay") expect(all("on_relay")).toBe(true);
          if (headline === "delivered") expect(all("waiting", "on_relay")).toBe(false);
        }
  });

  it.each([
    [{ kind: "asking" } as const, "asking", "Saved here"],
    [{ kind: "unknown" } as const, "unknown", "Saved here, others unknown"],
  ])("claims nothing while %j", (knowledge, headline, short) => {
    expect(deliveryWords(knowledge, null)).toEqual({ headline, short, warning: false });
  });

  it("does not say saved when the daemon says it is not", () => {
    const unsaved = delivery([person("Ann", "seen")], { saved: false });
    expect(deliveryWords({ kind: "known", delivery: unsaved }, null).short).toBe("Not saved yet");
  });
});

describe("what is wrong", () => {
  it("is nothing, as a rule; a relay that is away for a while included", () => {
    const relays = [{ url: "wss://r.example", state: "unreachable" as const, detail: null }];
    expect(warnings(delivery([person("Ann", "waiting")], { relays }))).toEqual([]);
  });

  it("names a gap, a full relay and a forgetful one", () => {
    const found = warnings(
      delivery([], {
        incomplete: { missing: 3, from: "Ann's laptop" },
        relays: [
          { url: "wss://a.example:7412", state: "full", detail: null },
          { url: "wss://b.example", state: "lost", detail: "It went back to Monday." },
        ],
      }),
    );
    expect(found).toEqual([
      "Incomplete: 3 changes from Ann's laptop have not arrived yet.",
      "a.example:7412 is full and takes nothing more for this space.",
      "It went back to Monday.",
    ]);
  });

  it("includes what a relay did to the space, unless that is said already", () => {
    const rolledBack = "relay.example went back to an older copy.";
    expect(warnings(delivery([]), rolledBack)).toEqual([rolledBack]);
    expect(deliveryWords({ kind: "known", delivery: delivery([]) }, null, rolledBack).warning).toBe(true);
    const relays = [{ url: "wss://relay.example", state: "lost" as const, detail: "It lost all." }];
    expect(warnings(delivery([], { relays }), rolledBack)).toEqual(["It lost all."]);
  });

  it("counts one as one", () => {
    const incomplete = { missing: 1, from: "Ann's laptop" };
    expect(warnings(delivery([], { incomplete }))[0]).toMatch(/1 change from Ann's laptop has not/);
  });

  it("marks a space, and most spaces not", () => {
    const fine = {
      state: "delivered" as const,
      waiting_people: 2,
      incomplete_missing: 0,
      relay_warning: null,
    };
    expect(spaceWarning(fine)).toBeNull();
    expect(spaceWarning(notDelivered)).toBeNull();
    expect(spaceWarning({ ...fine, incomplete_missing: 2 })).toMatch(/2 changes have not arrived/);
    expect(spaceWarning({ ...fine, relay_warning: "The relay is full." })).toBe("The relay is full.");
  });
});

describe("the small words", () => {
  it("of a device say what it lacks", () => {
    const device = { ...person("Ann", "on_relay").devices[0], missing: 4 } as PersonDelivery["devices"][0];
    expect(deviceWords(device, "2 minutes ago")).toBe("Left on the relay 2 minutes ago · lacks 4 changes");
    expect(deviceWords({ ...device, state: "seen", missing: 0 }, null)).toBe("Seen");
  });
  it("of a relay say that it keeps something only where somebody needs it from there", () => {
    const stored = { url: "wss://relay.example", state: "stored" as const, detail: null };
    expect(relayLine(stored, [person("Ann", "on_relay")])).toBe("The relay keeps it, sealed.");
    expect(relayLine(stored, [person("Ann", "seen")])).toBe("Nobody needs it from the relay.");
    const away = { ...stored, state: "unreachable" as const, detail: "No route." };
    expect(relayLine(away, [])).toBe("No route.");
    expect(relayLine({ ...away, detail: null }, [])).toBe("The relay cannot be reached.");
    expect(relayLine({ ...stored, state: "full", detail: "64 MiB." }, [])).toBe("The relay is full.");
  });
  it("call a relay by its host", () => {
    expect(relayName("wss://relay.example.org/team")).toBe("relay.example.org");
    expect(relayName("nonsense")).toBe("nonsense");
  });
});
