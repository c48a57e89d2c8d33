// The page: a picture from anywhere, the answers of every model side by side.
import {ANSWERS, element} from "/web/answers.js";
import {open} from "/web/model.js";
import {prepare} from "/web/pixels.js";

const RUNS = 5, HINT = "Drop a picture here, paste one, or choose one.";
const find = (id) => document.getElementById(id);
const models = [];
let busy = false, stream = null;

async function start() {
  const site = await (await fetch("/site.json")).json();
  find("title").textContent = site.title;
  document.title = site.title;
  for (const {url, name} of site.samples) addSample(url, name);
  for (const facts of site.models) {
    const answers = ANSWERS[facts.kind];
    models.push({facts, answers, card: addCard(facts, answers), run: await open(facts)});
  }
  find("opacity").hidden = !models.some(({answers}) => answers.draws);
  find("status").textContent = "Ready.";
  window.ready = true;
}

function addCard(facts, answers) {
  const card = element("article", ""), size = (facts.bytes / 1000).toLocaleString("en", {maximumFractionDigits: 1});
  const accuracy = facts.value === null ? "" : `, ${(100 * facts.value).toFixed(2)} % ${facts.metric} when exported`;
  card.append(element("h3", "", facts.name), element("p", "facts", `${size} kB${accuracy}`));
  card.append(element("p", "facts latency"), document.createElement("ol"));
  answers.build(card);
  find("models").append(card);
  return card;
}

function addSample(url, name) {
  const button = element("button", ""), image = document.createElement("img");
  button.type = "button";
  image.src = url;
  image.alt = name;
  button.append(image);
  button.addEventListener("click", async () => show(await (await fetch(url)).blob(), name));
  find("samples").append(button);
}

// What one model answers, and the median milliseconds of a run.
async function ask({facts, answers, run}, pixels) {
  const times = [];
  let outputs = null;
  for (let i = 0; i < (stream ? 1 : RUNS); i++) {
    const started = performance.now();
    outputs = await run(pixels);
    times.push(performance.now() - started);
  }
  times.sort((a, b) => a - b);
  return {answer: answers.read(outputs, facts), ms: times[Math.floor(times.length / 2)]};
}

// Ask every model about what is drawable, {source, width, height, name}; returns what each says, in words.
async function predict(picture) {
  const found = [];
  for (const model of models) {
    const pixels = prepare(picture.source, picture.width, picture.height, model.facts.input);
    if (!found.length) draw(pixels, picture.name);
    const {answer, ms} = await ask(model, pixels);
    found.push(model.answers.show(model.card, answer, model.facts, picture));
    model.card.querySelector(".latency").textContent = `${ms.toFixed(2)} ms`;
  }
  const said = models.map(({facts}, i) => `${found[i]} (${facts.name})`);
  find("status").textContent = `${picture.name}: ${said.join(", ")}`;
  return found;
}

function draw({width, height, channels, data}, name) {
  const canvas = find("seen"), image = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = data[i * channels + (channels === 3 ? c : 0)];
    image.data[4 * i + 3] = 255;
  }
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(image, 0, 0);
  canvas.setAttribute("aria-label", `What the model sees of ${name}`);
  find("hint").textContent = "This is what the model sees.";
}

async function show(blob, name) {
  if (!window.ready || busy) return null;
  busy = true;
  try {
    const bitmap = await createImageBitmap(blob, {
      imageOrientation: "from-image", premultiplyAlpha: "none", colorSpaceConversion: "none",
    });
    return await predict({source: bitmap, width: bitmap.width, height: bitmap.height, name});
  } catch (error) {
    clear();
    return fail(`${name}: expected a picture that this browser can read (${error.message})`);
  } finally {
    busy = false;
  }
}

// Take away the picture and its answers: beside an error they would look like those of what failed.
function clear() {
  for (const {card, answers} of models) {
    answers.clear(card);
    card.querySelector(".latency").textContent = "";
  }
  const canvas = find("seen");
  canvas.width = canvas.height = 1;
  canvas.setAttribute("aria-label", "No picture");
  find("hint").textContent = HINT;
}

function fail(message) {
  find("status").replaceChildren(element("span", "error", message));
  return null;
}

async function toggleCamera() {
  if (stream) return stopCamera();
  try {
    stream = await navigator.mediaDevices.getUserMedia({video: {facingMode: "environment"}});
  } catch (error) {
    return fail(`No camera: ${error.message}`);
  }
  find("camera").setAttribute("aria-pressed", "true");
  find("video").srcObject = stream;
  await find("video").play();
  requestAnimationFrame(watch);
}

function stopCamera() {
  stream.getTracks().forEach((track) => track.stop());
  stream = null;
  find("camera").setAttribute("aria-pressed", "false");
}

async function watch() {
  const video = find("video");
  if (!stream) return;
  if (video.videoWidth) {
    const frame = await createImageBitmap(video); // what is drawn is what was predicted
    await predict({source: frame, width: frame.width, height: frame.height, name: "Camera"});
    frame.close();
  }
  requestAnimationFrame(watch);
}

const drop = find("drop");
for (const event of ["dragenter", "dragover"]) {
  drop.addEventListener(event, (e) => { e.preventDefault(); drop.classList.add("over"); });
}
for (const event of ["dragleave", "drop"]) drop.addEventListener(event, () => drop.classList.remove("over"));
drop.addEventListener("drop", (e) => {
  e.preventDefault();
  const [file] = e.dataTransfer.files;
  if (file) show(file, file.name);
});
document.addEventListener("paste", (e) => {
  const [file] = e.clipboardData.files;
  if (file) show(file, file.name || "The pasted picture");
});
find("file").addEventListener("change", (e) => {
  const [file] = e.target.files;
  if (file) show(file, file.name);
});
find("camera").addEventListener("click", toggleCamera);
find("share").addEventListener("input", (e) => {
  document.documentElement.style.setProperty("--share", e.target.value / 100);
});
window.show = show;
start().catch((error) => fail(`The model could not be loaded: ${error.message}`));
