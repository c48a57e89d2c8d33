// The scores and boxes of a detector to detections: non-maximum suppression, as tfresnet/runtime/boxes.py has it.
// Numbers are rounded to 32 bits after each operation, as they are there, so that ties fall the same way.

export const LOWEST = 0.01; // score of a candidate
export const SHOWN = 0.3; // score of the detections that a person is shown
const LIMIT = 100; // detections of a picture
const CANDIDATES = 300; // boxes that are compared with each other
const OVERLAP = 0.5; // intersection over union with a better box of the same class, from which on it goes
const TINY = Math.fround(1e-12); // an area, so that nothing is divided by 0

const f32 = Math.fround;
const side = (from, to) => Math.max(f32(to - from), 0);
const area = ([x1, y1, x2, y2]) => f32(side(x1, x2) * side(y1, y2));

// The intersection over union of two boxes, [x1, y1, x2, y2]; 0 without an area.
function iou(a, b) {
  const across = side(Math.max(a[0], b[0]), Math.min(a[2], b[2]));
  const down = side(Math.max(a[1], b[1]), Math.min(a[3], b[3]));
  const shared = f32(across * down), whole = f32(f32(area(a) + area(b)) - shared);
  return f32(shared / Math.max(whole, TINY));
}

// The best candidates, best first; of equal scores the first place and class comes first.
function candidates(boxes, scores, classes, lowest) {
  const found = [];
  for (let i = 0; i < scores.length; i++) if (scores[i] >= lowest) found.push(i);
  found.sort((a, b) => scores[b] - scores[a]); // a stable sort
  return found.slice(0, CANDIDATES).map((i) => {
    const place = Math.floor(i / classes);
    const box = Array.from(boxes.subarray(4 * place, 4 * place + 4), (x) => Math.min(Math.max(x, 0), 1));
    return {box, score: scores[i], kind: i % classes};
  });
}

// boxes: Float32Array [places, 4], x1 y1 x2 y2 in shares of the picture; scores: Float32Array [places, classes].
// Returns a list of {box, score, kind}, best first; kind is the number of the class.
export function suppressed(boxes, scores, classes, lowest = LOWEST) {
  const kept = [];
  for (const one of candidates(boxes, scores, classes, f32(lowest))) {
    if (kept.length === LIMIT) break;
    if (!kept.some((better) => better.kind === one.kind && iou(better.box, one.box) >= OVERLAP)) kept.push(one);
  }
  return kept;
}
