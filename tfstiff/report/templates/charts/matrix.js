const matrix = section("matrix", (made) => {
  const current = () => runs[made.state.run];
  const series = () => current().scopes[made.state.scope]?.[made.state.pairs]?.[made.state.metric]?.matrices ?? [];
  const indices = () => series().flatMap((one, i) => (one ? [i] : []));
  runChoice(made);
  made.select("pairs", "Pairs", pairOptions(), runs[0].main);
  made.select("metric", "Metric", metricOptions(), "sign");
  made.select("scope", "Gradients of", scopeOptions(), "");
  made.slider("stage", () => indices().map((i) => current().moments[i]));
  const details = element("details", {}, element("summary", { textContent: "This matrix as a table" }));
  details.addEventListener("toggle", () => made.draw());
  made.show = () => {
    made.moved();
    const run = current();
    const { pairs, metric, scope, stage } = made.state;
    const found = series()[indices()[stage]];
    if (!found) {
      keepOnly(made.panels, []);
      details.remove();
      made.panels.textContent = "There is no matrix of this choice.";
      return;
    }
    if (!made.panels.querySelector("[data-plot]")) made.panels.textContent = "";
    const { size } = found;
    const names = run.classes.length === size ? run.classes : Array.from({ length: size }, (_, i) => String(i));
    const read = (at, row, column) => {
      const whole = cells[at + row * size + column];
      return whole === absent ? null : whole / data.steps;
    };
    const grid = (make) => Array.from({ length: size }, (_, row) => Array.from({ length: size }, (__, column) => make(row, column)));
    const value = grid((row, column) => read(found.at, row, column));
    const spread = (row, column) => {
      const half = read(found.half, row, column);
      if (half === null || half === 0) return "";
      return half >= data.width_limit ? ` ± ${digits(half, 2)} or more` : ` ± ${digits(half)}`;
    };
    const words = (row, column) => (value[row][column] === null ? "no pair" : digits(value[row][column]) + spread(row, column));
    const [first, second] = pairs.split("_").map((half) => HALVES[half]);
    const few = size <= MOST_NAMES;
    const ticks = few ? names.map((_, i) => i) : names.map((_, i) => i).filter((i) => i % 10 === 0);
    const labels = few ? names.map((name) => plain(short(name))) : ticks.map(String);
    const title = `${metric === "sign" ? "Sign" : "Cosine"}, ${PAIRS[pairs]} pairs${scope ? `, ${scope}` : ""}, ${run.moments[indices()[stage]]}`;
    const numberOf = few ? "class" : "class, by number";
    plot(made.panels, "matrix", title, () => [{
      type: "heatmap", z: value, zmin: -1, zmax: 1, colorscale: RED_WHITE_BLUE, xgap: few ? 1 : 0, ygap: few ? 1 : 0, hoverongaps: true,
      hoverinfo: "text", hovertext: grid((row, column) => `${first} ${plain(names[row])}<br>${second} ${plain(names[column])}<br>${words(row, column)}`),
      ...(size <= 12 && made.panels.clientWidth > 520
        ? { text: value.map((row) => row.map((one) => (one === null ? "" : digits(one, 2)))), texttemplate: "%{text}", textfont: { size: 11 } } : {}),
      colorbar: {
        ...(made.panels.clientWidth > 520 ? {} : { orientation: "h", y: 1.02, yanchor: "bottom", len: 1 }),
        thickness: 12, outlinewidth: 0, tickvals: [-1, -0.5, 0, 0.5, 1], ticktext: ["−1", "−0.5", "0", "0.5", "1"],
      },
    }], (width) => ({
      height: Math.min(width < 520 ? width + 90 : width, size <= 3 ? 420 : 680), plot_bgcolor: colour("--missing"), margin: { l: 20, r: 10, t: 28, b: 20 },
      xaxis: { tickvals: ticks, ticktext: labels, title: { text: `${second} ${numberOf}`, standoff: 10 }, showgrid: false, zeroline: false, constrain: "domain" },
      yaxis: { tickvals: ticks, ticktext: labels, title: { text: `${first} ${numberOf}`, standoff: 10 }, showgrid: false, zeroline: false, autorange: "reversed", scaleanchor: "x", constrain: "domain" },
    }), value.flat().includes(null) ? "Grey cells have no pair." : "");
    made.place.append(details);
    details.querySelector(".wide")?.remove();
    if (!details.open) return;
    const head = element("tr", {}, element("td"), ...names.map((name) => element("th", { scope: "col", textContent: name })));
    const rows = names.map((name, row) => element("tr", {}, element("th", { scope: "row", textContent: name }),
      ...names.map((_, column) => element("td", { textContent: words(row, column) }))));
    const region = element("div", { className: "wide", tabIndex: 0 },
      element("table", {}, element("caption", { textContent: title }), element("thead", {}, head), element("tbody", {}, ...rows)));
    region.setAttribute("role", "region");
    region.setAttribute("aria-label", title);
    details.append(region);
  };
});
