// The scores and boxes of a detector to detections: non-maximum suppression, C99 and C++11, without
// allocation. It gives what the Python runtime gives.
//
//   static Detections found;  // 7.2 kB
//   DetectionsFind(&found, boxes, scores, places, classes, 0.3f);
//   for (int i = 0; i < found.count; ++i) Use(found.all[i]);
//
// Outputs that are integers, (value - zero_point) * scale, are added one by one instead:
// DetectionsClear, then DetectionsAdd for each place and class, in their order, then
// DetectionsSuppress.
#ifndef TFRESNET_BOXES_H_
#define TFRESNET_BOXES_H_

enum {
  kDetectionCandidates = 300,  // boxes that are compared with each other
  kDetectionLimit = 100        // detections of a picture
};

typedef struct {
  float x1, y1, x2, y2;  // in shares of the picture's width and height, 0 to 1
  float score;           // 0 to 1
  int label;             // the number of the class
} Detection;

typedef struct {
  Detection all[kDetectionCandidates];  // best first
  int count;
} Detections;

static inline float DetectionClip(float x) { return x < 0 ? 0 : x > 1 ? 1 : x; }

static inline float DetectionSide(float from, float to) { return to - from < 0 ? 0 : to - from; }

// A product that is rounded before it is added to something, as in NumPy, on every processor.
static inline float DetectionProduct(float a, float b) {
  volatile float product = a * b;
  return product;
}

static inline float DetectionArea(const Detection* a) {
  return DetectionProduct(DetectionSide(a->x1, a->x2), DetectionSide(a->y1, a->y2));
}

// The intersection over union of two boxes; 0 without an area.
static inline float DetectionIou(const Detection* a, const Detection* b) {
  const float across = DetectionSide(a->x1 > b->x1 ? a->x1 : b->x1, a->x2 < b->x2 ? a->x2 : b->x2);
  const float down = DetectionSide(a->y1 > b->y1 ? a->y1 : b->y1, a->y2 < b->y2 ? a->y2 : b->y2);
  const float shared = DetectionProduct(across, down);
  const float whole = DetectionArea(a) + DetectionArea(b) - shared;
  return shared / (whole < 1e-12f ? 1e-12f : whole);
}

static inline void DetectionsClear(Detections* found) { found->count = 0; }

// Adds a candidate where its score puts it, behind those of the same score; the worst one may go.
static inline void DetectionsAdd(Detections* found, const float box[4], float score, int label) {
  int at = found->count;
  while (at > 0 && found->all[at - 1].score < score) --at;
  if (at == kDetectionCandidates) return;
  if (found->count < kDetectionCandidates) ++found->count;
  for (int i = found->count - 1; i > at; --i) found->all[i] = found->all[i - 1];
  Detection* added = &found->all[at];
  added->x1 = DetectionClip(box[0]);
  added->y1 = DetectionClip(box[1]);
  added->x2 = DetectionClip(box[2]);
  added->y2 = DetectionClip(box[3]);
  added->score = score;
  added->label = label;
}

// Takes away boxes without an area, and each that overlaps a better one of its class by half or more.
static inline void DetectionsSuppress(Detections* found) {
  const int candidates = found->count;
  found->count = 0;
  for (int i = 0; i < candidates && found->count < kDetectionLimit; ++i) {
    const Detection one = found->all[i];
    int rival = !(one.x2 > one.x1 && one.y2 > one.y1);
    for (int k = 0; k < found->count && !rival; ++k) {
      rival = found->all[k].label == one.label && DetectionIou(&found->all[k], &one) >= 0.5f;
    }
    if (!rival) found->all[found->count++] = one;
  }
}

// boxes: [places][4], x1, y1, x2, y2 in shares of the picture; scores: [places][classes]; those
// below lowest are left out.
static inline void DetectionsFind(Detections* found, const float* boxes, const float* scores,
                                  int places, int classes, float lowest) {
  DetectionsClear(found);
  for (int place = 0; place < places; ++place) {
    for (int label = 0; label < classes; ++label) {
      const float score = scores[place * classes + label];
      if (score >= lowest) DetectionsAdd(found, boxes + 4 * place, score, label);
    }
  }
  DetectionsSuppress(found);
}

#endif  // TFRESNET_BOXES_H_
