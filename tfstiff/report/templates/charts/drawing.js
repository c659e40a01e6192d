// Charts in the colours of the page, and what they have in common.
const colour = (name) =>
  name.startsWith("--") ? getComputedStyle(document.documentElement).getPropertyValue(name).trim() : name;
const faint = (name, share) => {
  const hex = colour(name);
  return `rgba(${[1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)).join(",")},${share})`;
};
// Runs that differ in their seed only are one group, and look alike.
const groups = [...new Set(runs.map((run) => run.group))];
const grouped = groups.length > 1 && groups.length < runs.length;
const runLine = (index) => {
  const number = grouped ? groups.indexOf(runs[index].group) : index;
  return { colour: MORE[number % MORE.length], dash: DASHES[Math.floor(number / MORE.length) % DASHES.length], symbol: "circle" };
};
const runEntries = () => {
  if (!grouped) return runs.map((run, i) => [run.name, runLine(i)]);
  return groups.map((group) => {
    const members = runs.filter((run) => run.group === group);
    return [`${group} (${members.length} ${members.length === 1 ? "run" : "runs"})`, runLine(runs.indexOf(members[0]))];
  });
};
const plots = new Map(); // place -> what is drawn there, to draw it anew in other colours

const plot = (panels, id, title, traces, layout, note = "") => {
  let figure = panels.querySelector(`[data-plot="${id}"]`);
  if (!figure) {
    figure = element("figure", {}, element("figcaption"), element("div", { className: "plot" }), element("p", { className: "note" }));
    figure.dataset.plot = id;
    panels.append(figure);
  }
  const [caption, place, words] = figure.children;
  caption.textContent = title;
  words.textContent = note;
  place.setAttribute("role", "img");
  place.setAttribute("aria-label", `Chart: ${title}. ${note}`);
  const draw = () => {
    const text = colour("--text");
    const line = colour("--line");
    const axis = { gridcolor: line, zerolinecolor: colour("--quiet"), linecolor: line, tickcolor: line, automargin: true };
    const narrow = place.clientWidth < 500;
    const whole = {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: text, size: narrow ? 11 : 12 },
      width: place.clientWidth,
      height: 320,
      margin: { l: 50, r: 12, t: 28, b: 40 },
      showlegend: false,
      hovermode: "closest",
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom", // a finger scrolls the page
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--quiet"), activecolor: colour("--accent") },
      hoverlabel: { bgcolor: colour("--panel"), bordercolor: line, font: { color: text } },
      ...layout(place.clientWidth),
    };
    whole.xaxis = { ...axis, ...whole.xaxis };
    whole.yaxis = { ...axis, ...whole.yaxis };
    const options = {
      displaylogo: false, displayModeBar: matchMedia("(hover: hover)").matches ? "hover" : false,
      modeBarButtons: [["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
    };
    Plotly.react(place, traces(), whole, options);
  };
  plots.set(place, draw);
};
const keepOnly = (panels, ids) => {
  for (const figure of [...panels.querySelectorAll("[data-plot]")]) {
    if (ids.includes(figure.dataset.plot)) continue;
    Plotly.purge(figure.children[1]);
    plots.delete(figure.children[1]);
    figure.remove();
  }
};
const band = (x, value, half, line, hidden = {}) => {
  // One closed outline for each stretch without gaps: Plotly joins an outline across them.
  const outlines = [];
  let stretch = [];
  const close = () => {
    if (stretch.length > 1) {
      outlines.push({
        type: "scatter", mode: "lines", fill: "toself", fillcolor: faint(line.colour, 0.18), line: { width: 0 }, hoverinfo: "skip",
        x: [...stretch.map((i) => x[i]), ...stretch.map((i) => x[i]).reverse()],
        y: [...stretch.map((i) => value[i] + half[i]), ...stretch.map((i) => value[i] - half[i]).reverse()], ...hidden,
      });
    }
    stretch = [];
  };
  value.forEach((v, i) => (v === null || half[i] === null ? close() : stretch.push(i)));
  close();
  return outlines;
};
const legend = (made, entries) => {
  made.place.querySelector(".legend")?.remove();
  if (entries.length < 2) return;
  const list = element("ul", { className: "legend" });
  const dashes = { solid: "", dash: "8 4", dot: "2 3", dashdot: "8 3 2 3" };
  for (const [name, line] of entries) {
    const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    picture.setAttribute("viewBox", "0 0 28 8");
    picture.setAttribute("aria-hidden", "true");
    const stroke = document.createElementNS("http://www.w3.org/2000/svg", "path");
    const attributes = {
      d: "M0 4H28", stroke: line.colour.startsWith("--") ? `var(${line.colour})` : line.colour, "stroke-width": 3,
      "stroke-dasharray": dashes[line.dash],
    };
    for (const [key, value] of Object.entries(attributes)) stroke.setAttribute(key, value);
    picture.append(stroke);
    list.append(element("li", {}, picture, name));
  }
  made.panels.before(list);
};
