const MOST_BANDS = 4; // of runs: more of them hide one another
const alone = (value, i) => (value[i - 1] ?? null) === null && (value[i + 1] ?? null) === null;
const line = (run, x, series, style, name) => [
  ...(series.half && runs.length <= MOST_BANDS ? band(x, series.value, series.half, style) : []),
  {
    type: "scatter", mode: "lines+markers", x, y: series.value,
    line: { color: colour(style.colour), dash: style.dash, width: 2 }, marker: { symbol: style.symbol, size: series.value.length > 1 ? 5 : 8, color: colour(style.colour) },
    ...(series.half ? { error_y: {
      type: "data", array: series.value.map((_, i) => (alone(series.value, i) ? series.half[i] ?? 0 : 0)),
      color: colour(style.colour), thickness: 1.5, width: 0,
    } } : {}),
    hoverinfo: "text",
    hovertext: series.value.map((value, i) =>
      `${plain(name)}<br>${plain(run.moments[i])}<br>${series.half ? plusMinus(value, series.half[i]) : digits(value, 4)}`),
  },
];

const curves = section("curves", (made) => {
  const several = runs.length > 1;
  made.select("pairs", "Pairs", several || pairSets().length < 2 ? pairOptions() : { all: "all pair sets", ...pairOptions() }, several ? runs[0].main : "all");
  made.select("metric", "Metric", metricOptions(), "cosine");
  made.select("scope", "Gradients of", scopeOptions(), "");
  timeChoice(made);
  made.show = () => {
    const { pairs, metric, scope, time } = made.state;
    const scale = timeScale(time);
    const chosen = pairs === "all" ? pairSets() : [pairs];
    const style = (run, set) => (several ? runLine(runs.indexOf(run)) : LINES[Object.keys(PAIRS).indexOf(set)]);
    const turns = several ? [] : runs.filter((run) => run.turn !== null);
    const layout = () => ({
      xaxis: scale.axis,
      shapes: turns.map((run) => ({
        type: "line", xref: "x", yref: "paper", x0: scale.place(run.turn), x1: scale.place(run.turn), y0: 0, y1: 1,
        line: { color: "#e69f00", dash: "dot", width: 2 },
      })),
    });
    const drawn = [];
    const add = (id, title, traces, note) => {
      drawn.push(id);
      plot(made.panels, id, title, traces, layout, note);
    };
    const turned = turns.length ? "The dotted line marks where stiffness (cosine) has turned down for certain. " : "";
    for (const kind of ["within", "between", "mean"]) {
      const found = runs.flatMap((run) => chosen.map((set) => [run, set, run.scopes[scope]?.[set]?.[metric]?.[kind]])).filter((one) => one[2]);
      if (!found.length) continue;
      const title = kind === "mean" ? `Mean ${metric} over all pairs` : `${kind === "within" ? "Within" : "Between"} classes, ${metric}`;
      const note = runs.length > MOST_BANDS ? "With so many runs bands are left out; hover to read the intervals." : turned;
      add(kind, title, () => found.flatMap(([run, set, series], order) =>
        line(run, placed(run, scale, order, found.length), series, style(run, set), several ? run.name : PAIRS[set])), note);
    }
    for (const [id, title] of [["loss", "Loss on the probe"], ["accuracy", "Accuracy on the probe"]]) {
      if (!runs.some((run) => run[id].train.some((value) => value !== null))) continue;
      add(id, title, () => runs.flatMap((run) => Object.keys(HALVES).flatMap((half) => {
        const own = several ? { ...runLine(runs.indexOf(run)), dash: half === "train" ? "solid" : "dot" } : LINES[half === "train" ? 0 : 2];
        return line(run, placed(run, scale, 0, 1), { value: run[id][half] }, own, `${several ? `${run.name}, ` : ""}${HALVES[half]} half`);
      })), several ? "Solid: training half; dotted: validation half." : "Blue: training half; green, dash-dotted: validation half.");
    }
    keepOnly(made.panels, drawn);
    legend(made, several ? runEntries() : chosen.map((set) => [`${PAIRS[set]} pairs`, style(runs[0], set)]));
  };
});
