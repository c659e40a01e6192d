const distance = section("distance", (made) => {
  const current = () => runs[made.state.run];
  const series = () => current().scopes[made.state.scope]?.[made.state.pairs]?.spaces[made.state.space] ?? [];
  const indices = () => series().flatMap((one, i) => (one ? [i] : []));
  runChoice(made);
  made.select("pairs", "Pairs", pairOptions(), runs[0].main);
  made.select("metric", "Metric", { cosine: "cosine", sign: "sign" }, "cosine");
  made.select("scope", "Gradients of", scopeOptions(), "");
  made.select("space", "Distance in", spaceOptions(), spaces()[0]);
  made.slider("stage", () => indices().map((i) => current().moments[i]));
  made.show = () => {
    made.moved();
    const { pairs, metric, stage } = made.state;
    const all = series();
    const found = all[indices()[stage]];
    if (!found) {
      keepOnly(made.panels, []);
      made.panels.textContent = "There is no profile of this choice.";
      return;
    }
    if (!made.panels.querySelector("[data-plot]")) made.panels.textContent = "";
    const style = LINES[Object.keys(PAIRS).indexOf(pairs)];
    const filled = found.count.flatMap((count, i) => (count ? [i] : []));
    const middle = filled.map((i) => (found.edges[i] + found.edges[i + 1]) / 2);
    const most = Math.max(1, ...all.flatMap((one) => one?.count ?? []));
    const has_line = metric === found.metric && found.slope !== null && found.intercept !== null;
    const at = (x) => found.intercept + found.slope * x;
    const half = (x) => Math.sqrt(Math.max(found.variances[0] + 2 * x * found.variances[1] + x * x * found.variances[2], 0));
    const ends = all.flatMap((one) => (one ? one.count.flatMap((count, i) => (count ? [one.edges[i + 1]] : [])) : []));
    const reach = Math.max(1e-9, ...ends);
    const traces = () => {
      const made_of = [{
        type: "scatter", mode: "markers", x: middle, y: filled.map((i) => found[metric][i]),
        marker: { color: colour(style.colour), size: filled.map((i) => 4 + 14 * Math.sqrt(found.count[i] / most)), opacity: 0.8, line: { width: 0 } },
        error_y: { type: "data", array: filled.map((i) => found[`${metric}_half`][i] ?? 0), color: colour(style.colour), thickness: 1, width: 0 },
        hoverinfo: "text", hovertext: filled.map((i) => `${digits(found.edges[i])} to ${digits(found.edges[i + 1])}<br>`
          + `${plusMinus(found[metric][i], found[`${metric}_half`][i])}<br>${found.count[i]} pairs`),
      }];
      if (!has_line) return made_of;
      const ink = { color: colour("--text"), width: 1.5 };
      const grid = Array.from({ length: 41 }, (_, i) => found.from + ((found.to - found.from) * i) / 40);
      if (found.variances.every((one) => one !== null)) made_of.unshift(...band(grid, grid.map(at), grid.map(half), { colour: "--text" }));
      made_of.push({ type: "scatter", mode: "lines", x: [found.from, found.to], y: [at(found.from), at(found.to)], line: ink, hoverinfo: "skip" });
      if (found.xi === null) return made_of;
      const shown = Math.min(found.xi, 2 * reach);
      const gap = found.xi > found.to ? [found.to, shown] : found.xi < found.from ? [Math.max(found.xi, 0), found.from] : [];
      if (gap.length) made_of.push({ type: "scatter", mode: "lines", x: gap, y: gap.map(at), line: { ...ink, dash: "dash" }, hoverinfo: "skip" });
      if (found.xi >= 0 && found.xi <= 2 * reach) {
        made_of.push({
          type: "scatter", mode: "markers", x: [found.xi], y: [0], hoverinfo: "text", hovertext: [`ξ = ${digits(found.xi)}`],
          marker: { symbol: "diamond", size: 11, color: colour("--ground"), line: { color: colour("--text"), width: 1.5 } },
        });
      }
      return made_of;
    };
    const value = found.xi === null ? "" : `ξ = ${digits(found.xi)} (${found.limits}): `;
    const title = `${metric === "sign" ? "Sign" : "Cosine"}, ${PAIRS[pairs]} pairs, ${current().moments[indices()[stage]]}`;
    const low = Math.min(0, ...all.flatMap((one) => (one ? one[metric].filter((v) => v !== null) : [])));
    const high = Math.max(0, ...all.flatMap((one) => (one ? one[metric].filter((v) => v !== null) : [])));
    const room = 0.08 * (high - low || 1);
    plot(made.panels, "distance", title, traces, () => ({
      height: 380,
      xaxis: { title: { text: DISTANCES[current().distance] ?? plain(current().distance) }, rangemode: "tozero" },
      yaxis: { title: { text: `mean ${metric}` }, range: [low - room, high + room] },
    }), `${value}${found.words}.${metric === found.metric ? "" : ` The line is of the ${found.metric}.`}`);
  };
});
