// A picture to the model's pixels, as tfresnet does it on every device: the centre crop (or all of it), resized
// with Pillow's arithmetic (two passes, weights of 22 bits, 8-bit values between them).

const BITS = 22;
const FILTERS = {
  bilinear: {support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x))},
  bicubic: {support: 2, weight: cubic},
};

function cubic(x) {
  const a = -0.5, t = Math.abs(x);
  if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  if (t < 2) return (((t - 5) * t + 8) * t - 4) * a;
  return 0;
}

// Python's round: a half goes to the even neighbour.
function roundHalfEven(x) {
  const below = Math.floor(x), rest = x - below;
  if (rest !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}

// The part of a width x height picture that the model sees: [left, top, right, bottom].
export function cropBox(spec, width, height) {
  if (spec.fit === "stretch") return [0, 0, width, height];
  const scale = Math.min(width / spec.width, height / spec.height) * spec.crop_fraction;
  const across = Math.min(width, Math.max(1, roundHalfEven(spec.width * scale)));
  const down = Math.min(height, Math.max(1, roundHalfEven(spec.height * scale)));
  const left = Math.floor((width - across) / 2), top = Math.floor((height - down) / 2);
  return [left, top, left + across, top + down];
}

// For each output pixel: where its input begins, and the integer weights.
function weights(filter, size, from, to, wanted) {
  const scale = (to - from) / wanted, wide = Math.max(scale, 1), reach = filter.support * wide;
  return Array.from({length: wanted}, (_, i) => {
    const centre = from + (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - reach + 0.5));
    const last = Math.min(size, Math.trunc(centre + reach + 0.5));
    const found = [];
    for (let x = first; x < last; x++) found.push(filter.weight((x - centre + 0.5) / wide));
    const sum = found.reduce((a, b) => a + b, 0);
    const whole = found.map((w) => {
      const share = (sum ? w / sum : w) * 2 ** BITS;
      return Math.trunc(share < 0 ? share - 0.5 : share + 0.5);
    });
    return {first, whole};
  });
}

const clip = (sum) => Math.min(255, Math.max(0, Math.floor(sum / 2 ** BITS)));

// pixels: {width, height, channels, data}; returns the same kind, size wide x high.
export function resize(pixels, box, wide, high, interpolation) {
  const {width, height, channels, data} = pixels, filter = FILTERS[interpolation];
  if (!filter) throw new Error(`expected bilinear or bicubic, got ${interpolation}`);
  const across = weights(filter, width, box[0], box[2], wide);
  const down = weights(filter, height, box[1], box[3], high);
  const half = 2 ** (BITS - 1);
  const middle = new Uint8Array(wide * height * channels);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < wide; x++) {
      const {first, whole} = across[x];
      for (let c = 0; c < channels; c++) {
        let sum = half, at = (y * width + first) * channels + c;
        for (let k = 0; k < whole.length; k++, at += channels) sum += data[at] * whole[k];
        middle[(y * wide + x) * channels + c] = clip(sum);
      }
    }
  }
  const result = new Uint8Array(wide * high * channels), row = wide * channels;
  for (let y = 0; y < high; y++) {
    const {first, whole} = down[y];
    for (let x = 0; x < row; x++) {
      let sum = half, at = first * row + x;
      for (let k = 0; k < whole.length; k++, at += row) sum += middle[at] * whole[k];
      result[y * row + x] = clip(sum);
    }
  }
  return {width: wide, height: high, channels, data: result};
}

// RGBA of a canvas to RGB, or to grey as Pillow's "L".
export function withChannels(image, channels) {
  const count = image.width * image.height, data = new Uint8Array(count * channels);
  for (let i = 0; i < count; i++) {
    const [r, g, b] = image.data.subarray(4 * i, 4 * i + 3);
    if (channels === 3) data.set([r, g, b], 3 * i);
    else data[i] = (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16;
  }
  return {width: image.width, height: image.height, channels, data};
}

// source: an ImageBitmap or a video; returns uint8 pixels of spec.height x spec.width x channels.
export function prepare(source, width, height, spec) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", {willReadFrequently: true});
  context.drawImage(source, 0, 0, width, height);
  const image = context.getImageData(0, 0, width, height);
  const pixels = withChannels(image, spec.mean.length);
  const box = cropBox(spec, width, height);
  return resize(pixels, box, spec.width, spec.height, spec.interpolation);
}
