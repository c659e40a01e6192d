const compare = section("compare", (made) => {
  const { points, names, rates, shown } = data.comparison;
  made.select("point", "Compared", Object.fromEntries(points.map((point, i) => [i, point.title])), String(shown));
  made.show = () => {
    const point = points[made.state.point];
    const order = groups;
    for (const [id, title] of Object.entries(names)) {
      const values = point.values[id];
      const x = rates ?? runs.map((run) => order.indexOf(run.group));
      const traces = () => {
        const means = point.means[id].map((one) => ({ ...one, x: x[runs.findIndex((run) => run.group === one.group)] }));
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
      plot(made.panels, id, `At ${point.title}: ${title}`, traces, () => ({ xaxis: axis }), notes.length ? `Hollow marks: ${notes.join(", ")}.` : "");
    }
  };
});
