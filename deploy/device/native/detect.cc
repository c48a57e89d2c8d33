// Find the objects in one picture with a model that tfresnet exported, through LiteRT's C API.
//
//   unzip -p model_int8.tflite labels.txt > labels.txt
//   ./detect model_int8.tflite photo.ppm labels.txt
//
// The picture is a binary PPM (P6) of the model's size, stretched to it whatever its shape was. Each
// line of the answer is an object, the best first: label, score, and left, top, right, bottom in
// pixels of that picture.
//
// Build, with LiteRT's headers (github.com/google-ai-edge/LiteRT) and its library, which is also
// in the Python package ai-edge-litert (ai_edge_litert/libLiteRt.so):
//
//   g++ -std=c++17 -O2 detect.cc -I LiteRT libLiteRt.so -Wl,-rpath,'$ORIGIN' -o detect

#include "boxes.h"
#include "picture_model.h"

static const float kThreshold = 0.3f;  // score of the objects that are printed

int main(int count, char** arguments) {
  if (count < 3) {
    std::fprintf(stderr, "Usage: %s model.tflite picture.ppm [labels.txt]\n", arguments[0]);
    return 2;
  }
  PictureModel model(arguments[1], 2);
  const Picture picture = ReadPpm(arguments[2]);
  const auto outputs = model.Run(picture);
  const std::vector<float>&boxes = outputs[0], &scores = outputs[1];
  const size_t places = boxes.size() / 4, classes = scores.size() / places;
  static Detections found;
  DetectionsFind(&found, boxes.data(), scores.data(), int(places), int(classes), kThreshold);

  const auto labels = count > 3 ? ReadLabels(arguments[3]) : std::vector<std::string>();
  for (int i = 0; i < found.count; ++i) {
    const Detection& one = found.all[i];
    std::printf("%s %.6f %.2f %.2f %.2f %.2f\n", LabelOf(labels, one.label).c_str(), one.score,
                one.x1 * picture.width, one.y1 * picture.height, one.x2 * picture.width,
                one.y2 * picture.height);
  }
  return 0;
}
