const sections = [compare, curves, matrix, distance, lengths].filter(Boolean);
for (const made of sections) made.draw();

// Other colours, and paper: charts keep the width that they are drawn in, so they are drawn in that of a page.
const redraw = () => { for (const draw of plots.values()) draw(); };
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
let drawnFor = innerWidth; // on a phone scrolling changes the height alone
let waiting = 0;
addEventListener("resize", () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    if (innerWidth !== drawnFor) redraw();
    drawnFor = innerWidth;
  }, 150);
});
let opened = [];
addEventListener("beforeprint", () => {
  document.documentElement.classList.add("printing");
  opened = [...document.querySelectorAll(":is(#numbers, #provenance) details:not([open])")];
  for (const one of opened) one.open = true;
  redraw();
});
addEventListener("afterprint", () => {
  document.documentElement.classList.remove("printing");
  for (const one of opened) one.open = false;
  redraw();
});
matchMedia("print").addEventListener("change", redraw);
document.documentElement.dataset.ready = "yes";
