// The page's own script: the theme, the charts and the switches that set their signals.
(() => {
  "use strict";
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");

  function stored(value) {
    try {
      if (value) localStorage.setItem("speechladder-theme", value);
      return localStorage.getItem("speechladder-theme");
    } catch {
      return null; // a browser may forbid storage to files
    }
  }

  function isDark() {
    return root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
  }

  function show() {
    button.setAttribute("aria-pressed", String(isDark()));
  }

  if (["light", "dark"].includes(stored())) root.dataset.theme = stored();
  show();
  system.addEventListener("change", show);
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    stored(root.dataset.theme);
    show();
  });

  const views = [];
  const config = JSON.parse(document.getElementById("vega-config").textContent);
  config.font = getComputedStyle(root).getPropertyValue("--sans").trim();
  const options = {
    mode: "vega-lite",
    renderer: "svg",
    actions: false,
    defaultStyle: false,
    tooltip: { disableDefaultStyle: true },
    config,
  };

  async function draw(figure) {
    const place = figure.querySelector(".plot");
    const spec = JSON.parse(figure.querySelector("script").textContent);
    const { view } = await vegaEmbed(place, spec, options);
    const drawing = place.querySelector("svg");
    drawing.setAttribute("role", "img"); // one picture with one description; its figures stand in a table
    drawing.setAttribute("aria-label", place.dataset.label);
    drawing.firstElementChild?.setAttribute("aria-hidden", "true");
    views.push(view);
  }

  // A chart inside closed details has no width; it is drawn again when they open.
  for (const details of document.querySelectorAll("details")) {
    details.addEventListener("toggle", () => dispatchEvent(new Event("resize")));
  }

  function set(name, value) {
    for (const view of views) {
      if (Object.hasOwn(view.getState().signals ?? {}, name)) view.signal(name, value).runAsync();
    }
    for (const input of document.querySelectorAll(`input[data-signal="${name}"]`)) {
      if (input.type === "checkbox") input.checked = value;
      else input.checked = input.value === value;
    }
  }

  document.addEventListener("change", ({ target }) => {
    const name = target.dataset?.signal;
    if (name) set(name, target.type === "checkbox" ? target.checked : target.value);
  });

  (async () => {
    for (const figure of document.querySelectorAll(".chart")) await draw(figure);
    root.dataset.ready = "true";
  })();
})();
