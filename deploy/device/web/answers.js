// What the outputs of a model say, and how its card shows that; a kind of output is an entry of ANSWERS.

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

// A class of each pixel: a mask over the picture, and the share of each class that occurs.
const regions = (read) => ({
  draws: true,
  read,
  build(card) {
    const scene = element("div", "scene");
    scene.append(element("canvas", "whole"), element("canvas", "mask"));
    scene.firstChild.setAttribute("role", "img");
    scene.lastChild.setAttribute("aria-hidden", "true");
    card.querySelector("ol").before(scene);
    this.clear(card);
  },
  clear(card) {
    card.querySelector(".scene").hidden = true;
    list(card, []);
  },
  show(card, classes, {input, output, colors}, picture) {
    const shares = new Float64Array(output.labels.length);
    for (const label of classes) shares[label] += 1 / classes.length;
    const found = largestFirst(shares).filter((i) => shares[i] > 0), name = (i) => output.labels[i];
    list(card, found.map((i) => row(name(i), shares[i], colors[i])));
    const [whole, mask] = card.querySelectorAll(".scene canvas");
    drawPicture(whole, picture);
    drawClasses(mask, classes, input, colors);
    whole.setAttribute("aria-label", `${picture.name} with ${found.map(name).join(", ")}`);
    card.querySelector(".scene").hidden = false;
    return found.map(name).join(", ");
  },
});

const MOST = 1024; // pixels of a side that are drawn

function drawPicture(canvas, {source, width, height}) {
  const scale = Math.min(1, MOST / Math.max(width, height));
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  canvas.getContext("2d").drawImage(source, 0, 0, canvas.width, canvas.height);
}

// One pixel for each of the map; the style sheet stretches them over the picture.
function drawClasses(canvas, classes, {width, height}, colors) {
  const byte = (color, at) => parseInt(color.slice(at, at + 2), 16);
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
};
