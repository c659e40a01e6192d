// A logarithmic axis has no 0, so that initialisation stands apart at its left.
const logarithmic = () => {
  const times = runs.flatMap((run) => run.times).filter((time) => time > 0);
  return times.length > 1 && Math.max(...times) / Math.min(...times) >= LOGARITHMIC_FROM;
};
const timeScale = (kind) => {
  const times = runs.flatMap((run) => run.times);
  const positive = times.filter((time) => time > 0);
  const unit = union(runs.map((run) => run.unit)).join(" or ");
  if (new Set(times).size === 1) {
    const only = times[0];
    return { place: () => only, spread: 0.12, axis: { title: { text: unit }, tickvals: [only], range: [only - 1, only + 1], zeroline: false } };
  }
  if (kind === "linear" || !positive.length) return { place: (time) => time, spread: 0, axis: { title: { text: unit } } };
  const [low, high] = [Math.min(...positive), Math.max(...positive)];
  const apart = low / Math.max(2, (high / low) ** 0.14);
  const [tickvals, ticktext] = [[], []];
  if (times.includes(0)) { tickvals.push(apart); ticktext.push("init"); }
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
    for (const first of [1, 2, 5]) {
      const value = first * 10 ** power;
      if (value < low * 0.99 || value > high * 1.01) continue;
      tickvals.push(value);
      ticktext.push(first === 1 || high / low < 1000 ? String(Number(value.toPrecision(3))) : "");
    }
  }
  const range = [Math.log10(times.includes(0) ? apart / 1.3 : low / 1.2), Math.log10(high * 1.25)];
  return {
    place: (time) => (time > 0 ? time : apart),
    spread: 0,
    axis: { type: "log", title: { text: `${unit} (logarithmic)` }, tickvals, ticktext, range },
  };
};
const placed = (run, scale, order, count) => run.times.map((time) => scale.place(time) + scale.spread * (order - (count - 1) / 2));
const timeChoice = (made) => {
  if (logarithmic()) made.select("time", "Time axis", { log: "logarithmic", linear: "linear" }, "log");
  else made.state.time = "linear";
};
