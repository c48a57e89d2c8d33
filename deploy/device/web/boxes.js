// The scores of a detector and its boxes or points to what is found, as tfresnet/runtime/boxes.py and points.py have it.
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

// The best scores, best first; of equal ones the first place and class comes first.
function best(scores, classes, lowest, count) {
  const found = [], least = f32(lowest);
  for (let i = 0; i < scores.length; i++) if (scores[i] >= least) found.push(i);
  found.sort((a, b) => scores[b] - scores[a]); // a stable sort
  return found.slice(0, count).map((i) => ({place: Math.floor(i / classes), score: scores[i], kind: i % classes}));
}

// One of rows of numbers, each cut off at the picture's border.
const inside = (values, size, row) => Array.from(values.subarray(size * row, size * (row + 1)), (x) => Math.min(Math.max(x, 0), 1));

// boxes: Float32Array [places, 4], x1 y1 x2 y2 in shares of the picture; scores: Float32Array [places, classes].
// Returns a list of {box, score, kind}, best first; kind is the number of the class.
export function suppressed(boxes, scores, classes, lowest = LOWEST) {
  const kept = [];
  for (const {place, score, kind} of best(scores, classes, lowest, CANDIDATES)) {
    if (kept.length === LIMIT) break;
    const box = inside(boxes, 4, place);
    const [x1, y1, x2, y2] = box;
    if (!(x2 > x1 && y2 > y1)) continue; // without an area it is none
    if (!kept.some((better) => better.kind === kind && iou(better.box, box) >= OVERLAP)) kept.push({box, score, kind});
  }
  return kept;
}

// Of a file that has suppressed by itself: boxes [100, 4], y1 x1 y2 x2, classes [100], scores [100], best first, and
// how many of them there are. Returns what suppressed() does.
export function counted(boxes, classes, scores, count, lowest = LOWEST) {
  const found = Array.from(scores.subarray(0, count), (score, i) => {
    const [y1, x1, y2, x2] = inside(boxes, 4, i);
    return {box: [x1, y1, x2, y2], score, kind: classes[i]};
  });
  return found.filter(({score}) => score >= f32(lowest));
}

// points: Float32Array [places, 2], x y in shares of the picture; scores as above.
// Returns a list of {point, score, kind}, best first.
export function strongest(points, scores, classes, lowest = LOWEST) {
  return best(scores, classes, lowest, LIMIT).map(({place, score, kind}) => ({point: inside(points, 2, place), score, kind}));
}
