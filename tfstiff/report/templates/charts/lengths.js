const lengths = section("lengths", (made) => {
  const several = runs.length > 1;
  made.select("pairs", "Pairs", several || pairSets().length < 2 ? pairOptions() : { all: "all pair sets", ...pairOptions() }, several ? runs[0].main : "all");
  made.select("scope", "Gradients of", scopeOptions(), "");
  made.select("space", "Distance in", spaceOptions(), spaces()[0]);
  timeChoice(made);
  made.show = () => {
    const { pairs, scope, space, time } = made.state;
    const scale = timeScale(time);
    const chosen = pairs === "all" ? pairSets() : [pairs];
    const drawn = runs.flatMap((run, index) => chosen.flatMap((set) => {
      const found = run.scopes[scope]?.[set]?.spaces[space];
      return found ? [{ run, set, found, style: several ? runLine(index) : LINES[Object.keys(PAIRS).indexOf(set)] }] : [];
    }));
    const none = drawn.some(({ found }) => found.some((one) => one && one.xi === null));
    const all = drawn.flatMap(({ found }) => found.flatMap((one) => (one && one.xi !== null ? [one.xi] : [])));
    const reach = Math.max(...drawn.flatMap(({ found }) => found.flatMap((one) => (one && one.to !== null ? [one.to] : []))), 1e-9);
    const shown = all.filter((xi) => xi >= 0 && xi <= 4 * reach);
    const top = 1.15 * Math.max(...shown, shown.length ? 0 : reach);
    plot(made.panels, "lengths", "Critical length ξ", () => drawn.map(({ run, set, found, style }, order) => {
      const ink = colour(style.colour);
      const outside = (one) => one && one.status !== "ok";
      return {
        type: "scatter", mode: "lines+markers", x: placed(run, scale, order, drawn.length), y: found.map((one) => one?.xi ?? null),
        line: { color: ink, dash: style.dash, width: 1.5 },
        marker: { size: 8, symbol: found.map((one) => style.symbol + (outside(one) ? "-open" : "")), color: ink },
        error_y: {
          type: "data", symmetric: false, color: faint(style.colour, 0.6), thickness: 1, width: 0,
          array: found.map((one) => (one?.bounded && one.xi !== null ? one.high - one.xi : 0)),
          arrayminus: found.map((one) => (one?.bounded && one.xi !== null ? one.xi - one.low : 0)),
        },
        hoverinfo: "text",
        hovertext: found.map((one, i) => (one ? `${plain(several ? run.name : PAIRS[set])}<br>${plain(run.moments[i])}<br>ξ = ${digits(one.xi)}<br>${one.limits}<br>${one.words}` : "")),
      };
    }), () => ({ height: 360, xaxis: scale.axis, yaxis: { title: { text: "ξ" }, range: [0, top] } }), (none ? "Where there is no mark, there is no ξ: stiffness does not fall significantly, or there are too few pairs. " : "")
    + (shown.length < all.length ? "Some ξ lie outside this axis, beyond four times the largest distance observed or below 0; the table has them." : ""));
    legend(made, several ? runEntries() : chosen.map((set) => [`${PAIRS[set]} pairs`, LINES[Object.keys(PAIRS).indexOf(set)]]));
  };
});
