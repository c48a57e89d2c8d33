// A .tflite in LiteRT.js or an .onnx in onnxruntime-web, behind one function: pixels to the values of each output.

let litert = null, onnx = null;

async function liteRt() {
  const runtime = await import("/runtime/litert/index.js");
  await runtime.loadLiteRt("/runtime/litert/wasm/");
  return runtime;
}

async function onnxRuntime() {
  const runtime = await import("/runtime/onnx/ort.wasm.min.mjs");
  runtime.env.wasm.wasmPaths = "/runtime/onnx/";
  runtime.env.wasm.numThreads = 1;
  return runtime;
}

async function openTflite(url) {
  const runtime = await (litert ??= liteRt());
  const model = await runtime.loadAndCompile(url, {accelerator: "wasm"});
  const [entry] = model.getInputDetails();
  return async (pixels) => {
    const tensor = new runtime.Tensor(asInput(pixels.data, entry.dtype), shaped(entry.shape, pixels));
    const answers = await model.run(tensor);
    const values = answers.map((answer) => answer.toTypedArray().slice());
    for (const used of [tensor, ...answers]) used.delete();
    return values;
  };
}

async function openOnnx(url) {
  const runtime = await (onnx ??= onnxRuntime());
  const session = await runtime.InferenceSession.create(url, {executionProviders: ["wasm"]});
  const [entry] = session.inputMetadata;
  return async (pixels) => {
    const first = entry.shape[1] === pixels.channels && entry.shape[3] !== pixels.channels;
    const data = asInput(first ? channelsFirst(pixels) : pixels.data, entry.type);
    const {height, width, channels} = pixels;
    const dims = first ? [1, channels, height, width] : [1, height, width, channels];
    const answers = await session.run({[entry.name]: new runtime.Tensor(entry.type, data, dims)});
    return session.outputNames.map((name) => answers[name].data);
  };
}

const shaped = (shape, {height, width, channels}) => [1, height, width, channels];

// Bytes as they are, or (pixel - 128) / 128.
function asInput(bytes, type) {
  if (type === "uint8") return bytes;
  if (type === "float32") return Float32Array.from(bytes, (p) => (p - 128) / 128);
  throw new Error(`this file takes ${type}; export it with --interface uint8 or float`);
}

function channelsFirst({data, channels}) {
  const count = data.length / channels, result = new Uint8Array(data.length);
  for (let i = 0; i < data.length; i++) result[(i % channels) * count + Math.floor(i / channels)] = data[i];
  return result;
}

// Returns a function from pixels to a list of typed arrays, one for each output. It was run once, so that the next run is not the first.
export async function open({url, format, input}) {
  const run = await (format === "onnx" ? openOnnx(url) : openTflite(url));
  const [height, width, channels] = [input.height, input.width, input.mean.length];
  await run({height, width, channels, data: new Uint8Array(height * width * channels)});
  return run;
}
