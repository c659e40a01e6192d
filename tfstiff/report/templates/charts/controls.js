// Each section has its own controls, and draws itself anew when one changes.
const section = (id, build) => {
  const place = document.getElementById(id);
  if (!place) return null;
  const state = {};
  const panels = place.querySelector(".panels");
  const controls = place.querySelector(".controls");
  const made = { place, panels, controls, state, show: () => {} };
  made.draw = () => {
    made.show(); // all figures take their places, and with them their widths, before any is drawn
    for (const figure of panels.querySelectorAll("[data-plot]")) plots.get(figure.children[1])();
  };
  made.select = (name, label, options, initial) => {
    const known = Object.keys(options);
    state[name] = known.includes(initial) ? initial : known[0];
    if (known.length < 2) return;
    const list = element("select", { name });
    for (const [value, text] of Object.entries(options)) list.append(element("option", { value, textContent: text }));
    list.value = state[name];
    list.addEventListener("change", () => { state[name] = list.value; made.draw(); });
    controls.append(element("label", {}, label, list));
  };
  made.slider = (name, moments) => {
    const bar = element("input", { type: "range", name, min: 0, max: Math.max(moments().length - 1, 0), step: 1 });
    const shown = element("output", {});
    const label = element("label", { className: "slider" }, shown, bar);
    made.moved = () => {
      bar.max = Math.max(moments().length - 1, 0);
      state[name] = Math.min(state[name] ?? Infinity, Number(bar.max));
      bar.value = state[name];
      bar.hidden = Number(bar.max) === 0;
      const text = moments()[state[name]] ?? "";
      shown.textContent = text.charAt(0).toUpperCase() + text.slice(1);
      bar.setAttribute("aria-valuetext", text);
      bar.setAttribute("aria-label", "Moment of the training");
    };
    bar.addEventListener("input", () => { state[name] = Number(bar.value); made.draw(); });
    controls.append(label);
    made.moved();
  };
  place.hidden = false;
  build(made);
  return made;
};
const runChoice = (made) => made.select("run", "Run", Object.fromEntries(runs.map((run, i) => [i, run.name])), "0");
const union = (lists) => [...new Set(lists.flat())];
const pairSets = () => Object.keys(PAIRS).filter((name) => runs.some((run) => run.scopes[""][name]));
const pairOptions = () => Object.fromEntries(pairSets().map((name) => [name, PAIRS[name]]));
const metricOptions = () => Object.fromEntries(union(runs.map((run) => run.metrics)).map((name) => [name, name]));
const scopeOptions = () =>
  Object.fromEntries(union(runs.map((run) => Object.keys(run.scopes))).map((path) => [path, path || "whole model"]));
const spaces = () => union(runs.flatMap((run) => Object.values(run.scopes).flatMap((scope) =>
  Object.values(scope).map((found) => Object.keys(found.spaces)))));
const spaceOptions = () => Object.fromEntries(spaces().map((name) => [name, name]));
