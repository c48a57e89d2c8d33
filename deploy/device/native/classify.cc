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

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "litert/c/litert_common.h"
#include "litert/c/litert_compiled_model.h"
#include "litert/c/litert_environment.h"
#include "litert/c/litert_model.h"
#include "litert/c/litert_options.h"
#include "litert/c/litert_tensor_buffer.h"

static void Check(LiteRtStatus status, const char* what) {
  if (status == kLiteRtStatusOk) return;
  std::fprintf(stderr, "Error: %s: LiteRT status %d\n", what, static_cast<int>(status));
  std::exit(2);
}

// The pixels of a P6 picture, row by row, RGB.
static std::vector<unsigned char> ReadPpm(const char* path) {
  std::ifstream file(path, std::ios::binary);
  std::string magic;
  int width = 0, height = 0, most = 0;
  file >> magic >> width >> height >> most;
  file.get();
  std::vector<unsigned char> pixels((std::istreambuf_iterator<char>(file)), {});
  if (magic != "P6" || most != 255 || pixels.size() != size_t(width) * height * 3) {
    std::fprintf(stderr, "Error: %s: expected a whole binary PPM (P6)\n", path);
    std::exit(2);
  }
  return pixels;
}

// A buffer of the size and alignment that the model wants for its only input or output.
static LiteRtTensorBuffer MakeBuffer(LiteRtEnvironment environment, LiteRtTensor tensor,
                                     LiteRtTensorBufferRequirements requirements) {
  LiteRtRankedTensorType type;
  LiteRtTensorBuffer buffer;
  Check(LiteRtGetRankedTensorType(tensor, &type), "tensor type");
  Check(LiteRtCreateManagedTensorBufferFromRequirements(environment, &type, requirements, &buffer),
        "buffer");
  return buffer;
}

int main(int count, char** arguments) {
  if (count < 3) {
    std::fprintf(stderr, "Usage: %s model.tflite picture.ppm [labels.txt]\n", arguments[0]);
    return 2;
  }
  LiteRtEnvironment environment;
  LiteRtModel model;
  LiteRtOptions options;
  LiteRtCompiledModel compiled;
  Check(LiteRtCreateEnvironment(0, nullptr, &environment), "environment");
  Check(LiteRtCreateModelFromFile(environment, arguments[1], &model), arguments[1]);
  Check(LiteRtCreateOptions(&options), "options");
  Check(LiteRtSetOptionsHardwareAccelerators(options, kLiteRtHwAcceleratorCpu), "accelerator");
  Check(LiteRtCreateCompiledModel(environment, model, options, &compiled), "compile");

  LiteRtSignature signature;
  LiteRtTensor in, out;
  LiteRtTensorBufferRequirements in_needs, out_needs;
  Check(LiteRtGetModelSignature(model, 0, &signature), "signature");
  Check(LiteRtGetSignatureInputTensorByIndex(signature, 0, &in), "input");
  Check(LiteRtGetSignatureOutputTensorByIndex(signature, 0, &out), "output");
  Check(LiteRtGetCompiledModelInputBufferRequirements(compiled, 0, 0, &in_needs), "input");
  Check(LiteRtGetCompiledModelOutputBufferRequirements(compiled, 0, 0, &out_needs), "output");
  LiteRtTensorBuffer input = MakeBuffer(environment, in, in_needs);
  LiteRtTensorBuffer output = MakeBuffer(environment, out, out_needs);

  const std::vector<unsigned char> pixels = ReadPpm(arguments[2]);
  size_t size = 0;
  Check(LiteRtGetTensorBufferPackedSize(input, &size), "input size");
  if (size != pixels.size()) {
    std::fprintf(stderr, "Error: expected a picture of %zu bytes, got %zu\n", size, pixels.size());
    return 2;
  }
  void* memory = nullptr;
  Check(LiteRtLockTensorBuffer(input, &memory, kLiteRtTensorBufferLockModeWrite), "lock");
  std::memcpy(memory, pixels.data(), size);
  Check(LiteRtUnlockTensorBuffer(input), "unlock");
  Check(LiteRtRunCompiledModel(compiled, 0, 1, &input, 1, &output), "run");

  Check(LiteRtGetTensorBufferPackedSize(output, &size), "output size");
  Check(LiteRtLockTensorBuffer(output, &memory, kLiteRtTensorBufferLockModeRead), "lock");
  const float* probabilities = static_cast<const float*>(memory);
  size_t best = 0;
  for (size_t i = 1; i < size / sizeof(float); ++i) {
    if (probabilities[i] > probabilities[best]) best = i;
  }
  std::string label = std::to_string(best);
  if (count > 3) {
    std::ifstream labels(arguments[3]);
    for (size_t i = 0; i <= best && std::getline(labels, label);) ++i;
  }
  std::printf("%s %.6f\n", label.c_str(), probabilities[best]);
  Check(LiteRtUnlockTensorBuffer(output), "unlock");

  LiteRtDestroyTensorBuffer(input);
  LiteRtDestroyTensorBuffer(output);
  LiteRtDestroyCompiledModel(compiled);
  LiteRtDestroyOptions(options);
  LiteRtDestroyModel(model);
  LiteRtDestroyEnvironment(environment);
  return 0;
}
