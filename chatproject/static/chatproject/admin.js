// What unfold's pages expect of Alpine, said by name: the policy of these pages allows no script to be made out of text, so Alpine's CSP build
// evaluates attributes, and that build sees no globals.
document.addEventListener("alpine:init", () => {
  const ofUnfold = theme;
  Alpine.data("theme", () => ofUnfold("auto"));
  Alpine.data("searchForm", searchForm);

  Alpine.data("page", () => ({
    activeTab: "general",
    sidebarMobileOpen: false,
    sidebarDesktopOpen: localStorage.getItem("sidebarDesktopOpen") !== "0",
    toggleSidebar() {
      this.sidebarDesktopOpen = !this.sidebarDesktopOpen;
      localStorage.setItem("sidebarDesktopOpen", this.sidebarDesktopOpen ? "1" : "0");
    },
    // What unfold's forms use of the globals.
    window: { location: { pathname: location.pathname, search: location.search } },
  }));

  Alpine.data("stores", () => ({
    rows: [],
    status: "asking",
    failed: false,
    init() {
      this.url = this.$el.dataset.url;
      this.look();
      this.timer = setInterval(() => this.look(), 5000);
    },
    destroy() {
      clearInterval(this.timer);
    },
    async look() {
      try {
        const answer = await (await fetch(this.url)).json();
        this.rows = Object.entries(answer.databases).map(([name, facts]) => ({
          name,
          role: facts.role,
          engine: facts.engine,
          status: facts.status,
          isWell: facts.status === "ok",
          latency: facts.latency_ms == null ? "–" : `${facts.latency_ms.toFixed(1)} ms`,
          more: describe(facts),
        }));
        this.status = answer.status;
        this.failed = false;
      } catch {
        this.failed = true;
      }
    },
  }));
});

function describe(facts) {
  const said = [];
  if (facts.pool) said.push(`pool ${facts.pool.size}, ${facts.pool.idle} idle, ${facts.pool.waiting} waiting`);
  if (facts.backlog != null) said.push(`${facts.backlog} messages waiting to be stored`);
  return said.join("; ");
}
