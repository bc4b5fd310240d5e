/** Where the person is. The address bar is the truth; this is its reading. */
import { addressOf, parseRoute, type Route } from "../model/routes";
import { createStore, type ReadableStore } from "../model/store";

export interface Navigation {
  route: ReadableStore<Route>;
  go(route: Route, how?: "push" | "replace"): void;
}

export function createNavigation(): Navigation {
  const route = createStore<Route>(parseRoute(location.pathname));
  addEventListener("popstate", () => route.set(parseRoute(location.pathname)));
  return {
    route,
    go(next, how = "push") {
      const address = addressOf(next);
      if (address !== location.pathname) {
        if (how === "push") history.pushState(null, "", address);
        else history.replaceState(null, "", address);
      }
      route.set(next);
    },
  };
}
