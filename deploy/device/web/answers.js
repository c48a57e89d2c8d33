// What the outputs of a model say, and how its card shows that; a kind of output is an entry of ANSWERS.
import {SHOWN, counted, strongest, suppressed} from "/web/boxes.js";

const TOP = 5;
const THRESHOLD = 0.5; // of a label, where a picture may have many

export function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

// A line of a card's list: a label, its share in percent and as a bar, and the color it is drawn in, if any.
function row(label, share, color) {
  const item = document.createElement("li"), name = element("span", "label", label);
  const track = element("span", "track"), bar = document.createElement("span");
  if (color) {
    const square = element("span", "square");
    square.style.background = color;
    name.prepend(square);
  }
  bar.style.width = `${100 * share}%`;
  track.setAttribute("aria-hidden", "true");
  track.append(bar);
  item.append(name, element("span", "value", `${(100 * share).toFixed(1)} %`), track);
  return item;
}

const list = (card, rows) => card.querySelector("ol").replaceChildren(...rows);
const largestFirst = (values) => [...values.keys()].sort((a, b) => values[b] - values[a]);

// A probability of each label of the picture.
const labels = {
  build: () => {},
  clear: (card) => list(card, []),
  read: ([probabilities]) => probabilities,
  show(card, probabilities, {output}) {
    const order = largestFirst(probabilities), name = (i) => output.labels[i];
    list(card, order.slice(0, TOP).map((i) => row(name(i), probabilities[i])));
    if (output.task !== "multi_label") return name(order[0]);
    return order.filter((i) => probabilities[i] >= THRESHOLD).map(name).join(" and ") || "none of the labels";
  },
};

// A picture in a card, and over it what a screen reader has in the picture's label.
const scenes = (cover) => ({
  build(card) {
    const scene = element("div", "scene");
    scene.append(element("canvas", "whole"), cover());
    scene.firstChild.setAttribute("role", "img");
    scene.lastChild.setAttribute("aria-hidden", "true");
    card.querySelector("ol").before(scene);
    this.clear(card);
  },
  clear(card) {
    card.querySelector(".scene").hidden = true;
    list(card, []);
  },
});

// Draws the picture, says what is in it, and returns what lies over it.
function drawScene(card, picture, words) {
  const scene = card.querySelector(".scene");
  drawPicture(scene.firstChild, picture);
  scene.firstChild.setAttribute("aria-label", `${picture.name} with ${words}`);
  scene.hidden = false;
  return scene.lastChild;
}

// A class of each pixel: a mask over the picture, and the share of each class that occurs.
const regions = (read) => ({
  ...scenes(() => element("canvas", "mask")),
  draws: true,
  read,
  show(card, classes, {input, output, colors}, picture) {
    const shares = new Float64Array(output.labels.length);
    for (const label of classes) shares[label] += 1 / classes.length;
    const found = largestFirst(shares).filter((i) => shares[i] > 0), name = (i) => output.labels[i];
    const words = found.map(name).join(", ");
    list(card, found.map((i) => row(name(i), shares[i], colors[i])));
    drawClasses(drawScene(card, picture, words), classes, input, colors);
    return words;
  },
});

// Objects: a mark on each, and a line for each, best first.
const objects = (read, mark) => ({
  ...scenes(() => element("div", "marks")),
  read,
  show(card, found, {output, colors}, picture) {
    const words = summary(found, output.labels), name = ({kind}) => output.labels[kind];
    list(card, found.map((one) => row(name(one), one.score, colors[one.kind])));
    const marks = drawScene(card, picture, words);
    const shown = found.map((one) => mark(one, `${name(one)} ${(100 * one.score).toFixed(0)} %`, colors[one.kind]));
    marks.replaceChildren(...shown.reverse().flat()); // the best ones on top
    return words;
  },
});

// How many there are of each class: "2 cat, 1 dog".
function summary(found, labels) {
  const count = (kind) => found.filter((one) => one.kind === kind).length;
  const there = [...labels.keys()].filter(count).map((kind) => `${count(kind)} ${labels[kind]}`);
  return there.join(", ") || "nothing";
}

const percent = (share) => `${100 * share}%`, rest = (share) => percent(1 - share);

// A frame around a box, and its label.
function frame({box: [x1, y1, x2, y2]}, text, color) {
  const border = element("div", "frame");
  Object.assign(border.style, {left: percent(x1), top: percent(y1), right: rest(x2), bottom: rest(y2), borderColor: color});
  return [border, tag([x1, y1, x2], text, color)];
}

// A dot at a point, and its label.
function dot({point: [x, y]}, text, color) {
  const middle = element("div", "dot");
  Object.assign(middle.style, {left: percent(x), top: percent(y), background: color, borderColor: ink(color)});
  return [middle, tag([x, y, x], text, color)];
}

// A label above what is between x1 and x2: at its top where there is no room, and inside the picture.
function tag([x1, y1, x2], text, color) {
  const label = element("span", "label", text);
  Object.assign(label.style, {top: `max(0px, ${percent(y1)} - 1.3em)`, background: color, color: ink(color)});
  if (x1 + x2 < 1) Object.assign(label.style, {left: percent(x1), maxWidth: rest(x1)});
  else Object.assign(label.style, {right: rest(x2), maxWidth: percent(x2)});
  return label;
}

const byte = (color, at) => parseInt(color.slice(at, at + 2), 16);

// Black or white, which is read better on a color (ITU-R 601-2).
const ink = (color) => (0.299 * byte(color, 1) + 0.587 * byte(color, 3) + 0.114 * byte(color, 5) > 128 ? "#000" : "#fff");

const MOST = 1024; // pixels of a side that are drawn

function drawPicture(canvas, {source, width, height}) {
  const scale = Math.min(1, MOST / Math.max(width, height));
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  canvas.getContext("2d").drawImage(source, 0, 0, canvas.width, canvas.height);
}

// One pixel for each of the map; the style sheet stretches them over the picture.
function drawClasses(canvas, classes, {width, height}, colors) {
  const packed = Uint32Array.from(colors, (c) => byte(c, 1) | (byte(c, 3) << 8) | (byte(c, 5) << 16) | (255 << 24));
  const image = new ImageData(width, height), pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = packed[classes[i]];
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// The most probable class of each pixel; of equal ones the first.
function mostProbable([probabilities], {output}) {
  const count = output.labels.length, found = new Uint8Array(probabilities.length / count);
  for (let i = 0; i < found.length; i++) {
    for (let c = 1; c < count; c++) {
      if (probabilities[i * count + c] > probabilities[i * count + found[i]]) found[i] = c;
    }
  }
  return found;
}

// build adds to a new card what it needs, read makes an answer of the outputs, show puts it on the
// card and returns it in words, clear takes it away.
export const ANSWERS = {
  probabilities: labels,
  class_map: regions(([classes]) => classes),
  class_probabilities: regions(mostProbable),
  boxes: objects(([boxes, scores], {output}) => suppressed(boxes, scores, output.labels.length, SHOWN), frame),
  detections: objects(([boxes, classes, scores, [count]]) => counted(boxes, classes, scores, count, SHOWN), frame),
  points: objects(([points, scores], {output}) => strongest(points, scores, output.labels.length, SHOWN), dot),
};
