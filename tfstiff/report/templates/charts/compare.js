// The runs of a group side by side, or the bars of one would hide those of another.
const SPREAD = 0.3; // of the way to the next group, from the first run to the last
const beside = (centre) => {
  const sorted = union(data.comparison.rates ?? []).sort((a, b) => a - b);
  const step = Math.min(...sorted.slice(1).map((rate, i) => rate / sorted[i]));
  return centre.map((place, i) => {
    const members = runs.flatMap((run, j) => (run.group === runs[i].group ? [j] : []));
    if (members.length < 2) return place;
    const aside = SPREAD * (members.indexOf(i) / (members.length - 1) - 0.5);
    return data.comparison.rates ? place * step ** aside : place + aside;
  });
};
const compare = section("compare", (made) => {
  const { points, names, rates, shown } = data.comparison;
  made.select("point", "Compared", Object.fromEntries(points.map((point, i) => [i, point.title])), String(shown));
  made.show = () => {
    const point = points[made.state.point];
    const order = groups;
    for (const [id, title] of Object.entries(names)) {
      const values = point.values[id];
      const centre = rates ?? runs.map((run) => order.indexOf(run.group));
      const x = beside(centre);
      const traces = () => {
        const means = point.means[id].map((one) => ({ ...one, x: centre[runs.findIndex((run) => run.group === one.group)] }));
        return [{
          type: "scatter", mode: "markers", x, y: values.map((one) => one.value),
          marker: { color: runs.map((_, i) => runLine(i).colour), size: 9, symbol: values.map((one) => (one.note ? "circle-open" : "circle")) },
          error_y: {
            type: "data", symmetric: false, thickness: 1, width: 0, color: colour("--quiet"),
            array: values.map((one) => (one.high === null || one.value === null ? 0 : one.high - one.value)),
            arrayminus: values.map((one) => (one.low === null || one.value === null ? 0 : one.value - one.low)),
          },
          hoverinfo: "text",
          hovertext: values.map((one, i) => `${plain(runs[i].name)}<br>${plain(runs[i].group)}<br>${plain(one.words)}`),
        }, {
          type: "scatter", mode: "markers", x: means.map((one) => one.x), y: means.map((one) => one.value),
          marker: { symbol: "line-ew-open", size: 22, line: { width: 2, color: colour("--text") }, color: colour("--text") },
          hoverinfo: "text", hovertext: means.map((one) => plain(one.words)),
        }];
      };
      const notes = union(values.flatMap((one) => (one.note ? [one.note] : [])));
      const axis = rates
        ? { type: "log", title: { text: "learning rate (logarithmic)" }, tickvals: union(rates), ticktext: union(rates).map((rate) => String(rate)) }
        : { tickvals: order.map((_, i) => i), ticktext: order.map((group) => plain(short(group, 28))), range: [-0.5, order.length - 0.5] };
      plot(made.panels, id, `At ${point.title}: ${title}`, traces, () => ({ xaxis: axis }), notes.length ? `At hollow marks ${notes.join("; or ")}.` : "");
    }
  };
});
