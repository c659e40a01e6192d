// Names come from outside: they reach the page as text nodes, and Plotly, which reads a subset of HTML, only through
// `plain`.
const LINES = [
  { colour: "--first", dash: "solid", symbol: "circle" },
  { colour: "--second", dash: "dash", symbol: "square" },
  { colour: "--third", dash: "dashdot", symbol: "triangle-up" },
];
const MORE = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8c6bb1", "#999999"];
const DASHES = ["solid", "dash", "dot", "dashdot"];
const RED_WHITE_BLUE = ["#053061", "#2166ac", "#4393c3", "#92c5de", "#d1e5f0", "#ffffff",
  "#fddbc7", "#f4a582", "#d6604d", "#b2182b", "#67001f"].map((colour, i) => [i / 10, colour]);
const MOST_NAMES = 25;
const LOGARITHMIC_FROM = 100; // the ratio of the last time to the first from which a logarithmic axis is shown

const plain = (text) => String(text).replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);
const short = (text, limit = 16) => (text.length > limit ? `${text.slice(0, limit - 1)}…` : text);
const digits = (value, count = 3) => {
  if (value === null || value === undefined) return "–";
  const text = Math.abs(value) < 1000 ? value.toFixed(count) : value.toPrecision(4);
  return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", "−");
};
const plusMinus = (value, half) => digits(value) + (half > 1e-9 ? ` ± ${digits(half)}` : "");
const element = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};
