// The numbers and Plotly, as they were packed into the page. Nothing is fetched.
const packed = (id) => {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent.trim()), (c) => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")));
};
const trouble = (text) => {
  const place = document.getElementById("trouble");
  place.textContent = text;
  place.hidden = false;
};
if (typeof DecompressionStream === "undefined") {
  trouble("This browser is too old for the charts; the text and the tables are complete.");
  return;
}
const data = await packed("data-packed").json();
const buffer = await packed("cells-packed").arrayBuffer();
const cells = data.steps === 100 ? new Int8Array(buffer) : new Int16Array(buffer);
const absent = data.steps === 100 ? -128 : -32768;
const library = document.createElement("script");
library.textContent = await packed("plotly-packed").text();
document.head.append(library);
const runs = data.runs;
const { pairs: PAIRS, halves: HALVES, distances: DISTANCES } = data.words;
