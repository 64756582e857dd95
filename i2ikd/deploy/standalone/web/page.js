// Run the network of this bundle by onnxruntime-web on its test vector, or on a volume in a .npy file.

import { readNpy, readNpz } from "./arrays.js";

const REPEATS = 5;
const element = (id) => document.getElementById(id);
const state = { sessions: {}, volume: null };

async function fetched(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path}: ${response.status} ${response.statusText}`);
  return response;
}

async function runtime() {
  try {
    const ort = await import("./ort/ort.wasm.min.mjs");
    ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
    ort.env.wasm.numThreads = 1;
    return ort;
  } catch (error) {
    throw new Error(`web/ort lacks the files of onnxruntime-web; export again with --web-runtime (${error.message})`);
  }
}

async function session(model) {
  state.sessions[model] ??= await state.ort.InferenceSession.create(`../${model}`, { executionProviders: ["wasm"] });
  return state.sessions[model];
}

/** Return the output of the network for arrays {shape, values} by name, and the median time of a run in ms. */
async function compute(inputs) {
  const network = await session(element("model").value);
  const feeds = {};
  for (const name of network.inputNames) feeds[name] = new state.ort.Tensor("float32", inputs[name].values, inputs[name].shape);
  let output = null;
  const times = [];
  for (let run = 0; run <= REPEATS; run += 1) {
    const start = performance.now();
    output = (await network.run(feeds))[network.outputNames[0]];
    if (run > 0) times.push(performance.now() - start);
  }
  times.sort((a, b) => a - b);
  return { output: { shape: [...output.dims], values: output.data }, ms: times[REPEATS >> 1] };
}

/** Return the magnitude of the first sample of an array [B, C, H, W] as {height, width, values}. */
function picture({ shape, values }) {
  const [height, width] = shape.slice(-2);
  const [size, channels] = [height * width, shape.length > 2 ? shape.at(-3) : 1];
  const result = new Float32Array(size);
  for (let i = 0; i < size; i += 1) result[i] = channels === 2 ? Math.hypot(values[i], values[size + i]) : values[i];
  return { height, width, values: result };
}

function pattern({ shape, values }, { height, width }) {
  const [rows, columns] = shape.slice(-2);
  const result = new Float32Array(height * width);
  for (let r = 0; r < height; r += 1) {
    for (let c = 0; c < width; c += 1) result[r * width + c] = values[(rows === 1 ? 0 : r) * columns + (columns === 1 ? 0 : c)];
  }
  return { height, width, values: result };
}

function range(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  return [low, high];
}

function show(title, note, { height, width, values }, [low, high]) {
  const figure = document.createElement("figure");
  const caption = figure.appendChild(document.createElement("figcaption"));
  caption.textContent = `${title} `;
  caption.appendChild(document.createElement("span")).textContent = note;
  const canvas = figure.appendChild(document.createElement("canvas"));
  [canvas.width, canvas.height] = [width, height];
  const pixels = new ImageData(width, height);
  for (let i = 0; i < values.length; i += 1) {
    const grey = (255 * (values[i] - low)) / (high - low || 1);
    pixels.data.set([grey, grey, grey, 255], 4 * i);
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  element("panels").appendChild(figure);
}

/** Show input, pattern, output, reference and error beside each other, and their numbers. */
async function present(inputs, reference, source) {
  element("problem").textContent = "";
  const { output, ms } = await compute(inputs);
  const [shown, wanted] = [picture(output), picture(reference)];
  const [low, high] = range(wanted.values);
  const error = { ...shown, values: shown.values.map((value, i) => Math.abs(value - wanted.values[i])) };
  const mean = error.values.reduce((sum, value) => sum + value * value, 0) / error.values.length;
  const largest = range(error.values)[1];
  const psnr = 10 * Math.log10((high * high) / mean);
  element("panels").replaceChildren();
  show("input", "", picture(inputs.input), [low, high]);
  if (inputs.mask) show("sampling pattern", "", pattern(inputs.mask, shown), [0, 1]);
  show("output", `${ms.toFixed(1)} ms`, shown, [low, high]);
  show(source === "test vector" ? "expected output" : "file", "", wanted, [low, high]);
  show("error", `0 to ${largest.toPrecision(2)}`, error, [0, largest || 1]);
  const numbers = {
    "one slice": `${ms.toFixed(1)} ms`,
    "largest error": largest.toPrecision(3),
    "root mean square error": Math.sqrt(mean).toPrecision(3),
    ...(source === "test vector" ? {} : { PSNR: `${psnr.toFixed(2)} dB` }),
  };
  element("numbers").replaceChildren(...Object.entries(numbers).map(([term, text]) => {
    const row = document.createElement("div");
    row.appendChild(document.createElement("dt")).textContent = term;
    row.appendChild(document.createElement("dd")).textContent = text;
    return row;
  }));
  element("result").textContent = JSON.stringify({ source, model: element("model").value, ms, largest, rms: Math.sqrt(mean), psnr });
}

async function presentVector() {
  const { expected, ...inputs } = await readNpz(await (await fetched("../test_vector.npz")).arrayBuffer());
  state.volume = null;
  await present(inputs, expected, "test vector");
}

/** Show a slice of the opened volume, prepared as by run.py of the bundle. */
async function presentSlice() {
  const { shape, values } = state.volume;
  const [height, width] = shape.slice(-2);
  const index = Number(element("slice").value);
  element("number").textContent = index;
  const scale = state.preparation.scaleOf(values, state.options);
  const slice = values.slice(index * height * width, (index + 1) * height * width).map((value) => value / scale);
  const { inputs, reference } = state.preparation.networkInputs({ height, width, values: slice }, state.options, state.arrays);
  await present(inputs, reference, "file");
}

async function openVolume(buffer) {
  if (!state.preparation) throw new Error("this network has no preparation for files in the browser; use its test vector");
  const volume = readNpy(buffer);
  if (volume.shape.length !== 2 && volume.shape.length !== 3) throw new Error("expected an array [slices, H, W] or [H, W]");
  state.volume = volume;
  const slices = volume.shape.length === 3 ? volume.shape[0] : 1;
  [element("slice").max, element("slice").value] = [slices - 1, slices >> 1];
  await presentSlice();
}

const reported = (action) => async (...given) => {
  try {
    await action(...given);
    document.body.dataset.state = "done";
  } catch (error) {
    element("problem").textContent = error.message;
    document.body.dataset.state = "failed";
  }
};

async function start() {
  const config = await (await fetched("../config.json")).json();
  element("name").textContent = config.name;
  element("about").textContent = `${config.model}, i2ikd ${config.i2ikd}. The network runs in this browser; nothing is sent.`;
  element("model").replaceChildren(...Object.keys(config.models).map((name) => new Option(name)));
  state.options = config.preparation;
  if (config.preparation?.script) {
    state.preparation = await import("./preparation.js");
    state.arrays = await readNpz(await (await fetched("../preparation.npz")).arrayBuffer());
  }
  state.ort = await runtime();
  const file = new URLSearchParams(location.search).get("file");
  if (file === null) await presentVector();
  else await openVolume(await (await fetched(new URL(file, location.origin).pathname)).arrayBuffer());
}

const again = reported(() => (state.volume ? presentSlice() : presentVector()));
const opened = reported(async (file) => openVolume(await file.arrayBuffer()));
element("model").addEventListener("change", again);
element("slice").addEventListener("change", again);
element("vector").addEventListener("click", reported(presentVector));
element("file").addEventListener("change", (event) => event.target.files.length && opened(event.target.files[0]));
document.addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("drop"); });
document.addEventListener("dragleave", () => document.body.classList.remove("drop"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("drop");
  if (event.dataTransfer.files.length) opened(event.dataTransfer.files[0]);
});
reported(start)();
