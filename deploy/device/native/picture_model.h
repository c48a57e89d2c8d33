// What classify.cc and detect.cc share: a model in LiteRT's C API, a picture, and the labels.
#ifndef TFRESNET_PICTURE_MODEL_H_
#define TFRESNET_PICTURE_MODEL_H_

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

inline void Check(LiteRtStatus status, const char* what) {
  if (status == kLiteRtStatusOk) return;
  std::fprintf(stderr, "Error: %s: LiteRT status %d\n", what, static_cast<int>(status));
  std::exit(2);
}

struct Picture {
  int width = 0, height = 0;
  std::vector<unsigned char> pixels;  // row by row, RGB
};

// A binary PPM (P6).
inline Picture ReadPpm(const char* path) {
  std::ifstream file(path, std::ios::binary);
  std::string magic;
  Picture picture;
  int most = 0;
  file >> magic >> picture.width >> picture.height >> most;
  file.get();
  picture.pixels.assign(std::istreambuf_iterator<char>(file), {});
  const size_t expected = size_t(picture.width) * picture.height * 3;
  if (magic != "P6" || most != 255 || picture.pixels.size() != expected) {
    std::fprintf(stderr, "Error: %s: expected a whole binary PPM (P6)\n", path);
    std::exit(2);
  }
  return picture;
}

// A label a line.
inline std::vector<std::string> ReadLabels(const char* path) {
  std::vector<std::string> labels;
  std::ifstream file(path);
  for (std::string label; std::getline(file, label);) labels.push_back(label);
  return labels;
}

// The label of a class, or its number where there is none.
inline std::string LabelOf(const std::vector<std::string>& labels, size_t number) {
  return number < labels.size() ? labels[number] : std::to_string(number);
}

// A model with one input of uint8 pixels and outputs of float.
class PictureModel {
 public:
  PictureModel(const char* path, size_t outputs) : outputs_(outputs) {
    Check(LiteRtCreateEnvironment(0, nullptr, &environment_), "environment");
    Check(LiteRtCreateModelFromFile(environment_, path, &model_), path);
    Check(LiteRtCreateOptions(&options_), "options");
    Check(LiteRtSetOptionsHardwareAccelerators(options_, kLiteRtHwAcceleratorCpu), "accelerator");
    Check(LiteRtCreateCompiledModel(environment_, model_, options_, &compiled_), "compile");

    LiteRtSignature signature;
    LiteRtTensor tensor;
    LiteRtTensorBufferRequirements needs;
    Check(LiteRtGetModelSignature(model_, 0, &signature), "signature");
    Check(LiteRtGetSignatureInputTensorByIndex(signature, 0, &tensor), "input");
    Check(LiteRtGetCompiledModelInputBufferRequirements(compiled_, 0, 0, &needs), "input");
    input_ = MakeBuffer(tensor, needs);
    for (size_t i = 0; i < outputs; ++i) {
      Check(LiteRtGetSignatureOutputTensorByIndex(signature, i, &tensor), "output");
      Check(LiteRtGetCompiledModelOutputBufferRequirements(compiled_, 0, i, &needs), "output");
      outputs_[i] = MakeBuffer(tensor, needs);
    }
  }

  PictureModel(const PictureModel&) = delete;
  PictureModel& operator=(const PictureModel&) = delete;

  ~PictureModel() {
    LiteRtDestroyTensorBuffer(input_);
    for (LiteRtTensorBuffer output : outputs_) LiteRtDestroyTensorBuffer(output);
    LiteRtDestroyCompiledModel(compiled_);
    LiteRtDestroyOptions(options_);
    LiteRtDestroyModel(model_);
    LiteRtDestroyEnvironment(environment_);
  }

  // The values of each output for a picture of the model's size.
  std::vector<std::vector<float>> Run(const Picture& picture) {
    const size_t size = SizeOf(input_);
    if (size != picture.pixels.size()) {
      std::fprintf(stderr, "Error: expected a picture of %zu bytes, got %zu\n", size,
                   picture.pixels.size());
      std::exit(2);
    }
    void* memory = nullptr;
    Check(LiteRtLockTensorBuffer(input_, &memory, kLiteRtTensorBufferLockModeWrite), "lock");
    std::memcpy(memory, picture.pixels.data(), size);
    Check(LiteRtUnlockTensorBuffer(input_), "unlock");
    Check(LiteRtRunCompiledModel(compiled_, 0, 1, &input_, outputs_.size(), outputs_.data()), "run");

    std::vector<std::vector<float>> found;
    for (LiteRtTensorBuffer output : outputs_) {
      Check(LiteRtLockTensorBuffer(output, &memory, kLiteRtTensorBufferLockModeRead), "lock");
      const float* values = static_cast<const float*>(memory);
      found.emplace_back(values, values + SizeOf(output) / sizeof(float));
      Check(LiteRtUnlockTensorBuffer(output), "unlock");
    }
    return found;
  }

 private:
  // A buffer of the size and alignment that the model wants.
  LiteRtTensorBuffer MakeBuffer(LiteRtTensor tensor, LiteRtTensorBufferRequirements needs) {
    LiteRtRankedTensorType type;
    LiteRtTensorBuffer buffer;
    Check(LiteRtGetRankedTensorType(tensor, &type), "tensor type");
    Check(LiteRtCreateManagedTensorBufferFromRequirements(environment_, &type, needs, &buffer),
          "buffer");
    return buffer;
  }

  static size_t SizeOf(LiteRtTensorBuffer buffer) {
    size_t size = 0;
    Check(LiteRtGetTensorBufferPackedSize(buffer, &size), "size");
    return size;
  }

  LiteRtEnvironment environment_;
  LiteRtModel model_;
  LiteRtOptions options_;
  LiteRtCompiledModel compiled_;
  LiteRtTensorBuffer input_;
  std::vector<LiteRtTensorBuffer> outputs_;
};

#endif  // TFRESNET_PICTURE_MODEL_H_
