// Classify one picture with a model that tfresnet exported, through LiteRT's C API.
//
//   unzip -p model_int8.tflite labels.txt > labels.txt
//   ./classify model_int8.tflite photo.ppm labels.txt
//
// The picture is a binary PPM (P6) of the model's size; a camera gives you such bytes already. The
// model takes uint8 pixels and gives float probabilities, whatever it computes with inside.
//
// Build, with LiteRT's headers (github.com/google-ai-edge/LiteRT) and its library, which is also
// in the Python package ai-edge-litert (ai_edge_litert/libLiteRt.so):
//
//   g++ -std=c++17 -O2 classify.cc -I LiteRT libLiteRt.so -Wl,-rpath,'$ORIGIN' -o classify

#include <algorithm>

#include "picture_model.h"

int main(int count, char** arguments) {
  if (count < 3) {
    std::fprintf(stderr, "Usage: %s model.tflite picture.ppm [labels.txt]\n", arguments[0]);
    return 2;
  }
  PictureModel model(arguments[1], 1);
  const std::vector<float> probabilities = model.Run(ReadPpm(arguments[2]))[0];
  const auto best = std::max_element(probabilities.begin(), probabilities.end());
  const auto labels = count > 3 ? ReadLabels(arguments[3]) : std::vector<std::string>();
  std::printf("%s %.6f\n", LabelOf(labels, best - probabilities.begin()).c_str(), *best);
  return 0;
}
