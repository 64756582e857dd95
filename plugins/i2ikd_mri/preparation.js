// Slices of magnitude images as inputs of networks, as preparation.py does it; pages of bundles contain a copy.

/** Return the divisor of the values of a volume. */
export function scaleOf(values, options) {
  let largest = 0;
  for (const value of values) largest = Math.max(largest, Math.abs(value));
  if (!(largest > 0) || !Number.isFinite(largest)) throw new Error("expected finite values with a signal");
  return options.normalise === "volume" ? largest : 1;
}

/** Return the inputs of the network by name, {shape, values}, and the image that they were simulated from. */
export function networkInputs(slice, options, arrays) {
  const image = options.size ? resampled(complexOf(slice), options.size, true) : complexOf(slice);
  return options.kind === "undersampled" ? undersampled(image, options, arrays) : lowResolution(image, options);
}

function undersampled(image, options, arrays) {
  const { height, width } = image;
  const mask = arrays[`mask-${height}x${width}`];
  if (!mask) throw new Error(`expected slices of a size with a mask, got ${height}x${width}`);
  const kspace = transformed(image, [0, 1], false, options.centered);
  const [rows, columns] = mask.shape;
  for (let r = 0; r < height; r += 1) {
    for (let c = 0; c < width; c += 1) {
      const kept = mask.values[(rows === 1 ? 0 : r) * columns + (columns === 1 ? 0 : c)];
      kspace.re[r * width + c] *= kept;
      kspace.im[r * width + c] *= kept;
    }
  }
  const zeroFilled = transformed(kspace, [0, 1], true, options.centered);
  const measured = options.mode === "complex" ? stacked(zeroFilled) : channel(zeroFilled.re, height, width);
  const input = options.input === "magnitude" ? magnitude(zeroFilled) : measured;
  const reference = options.mode === "complex" ? stacked(image) : channel(image.re, height, width);
  return { inputs: { input, measured, mask: { shape: [1, 1, rows, columns], values: mask.values } }, reference };
}

function lowResolution(image, options) {
  const { height, width } = image;
  const full = { ...image, re: image.re.map(Math.abs) };
  const kept = options.factor === null ? options.keep : [height, width].map((n) => Math.max(1, rounded(n / options.factor)));
  const low = resampled(full, kept, false);
  const input = magnitude(options.grid === "low" ? low : resampled(low, [height, width], false));
  return { inputs: { input }, reference: channel(full.re, height, width) };
}

/** Round halves to even, as Python does. */
function rounded(value) {
  const low = Math.floor(value);
  return value - low === 0.5 ? low + (low % 2) : Math.round(value);
}

const complexOf = ({ height, width, values }) => ({ height, width, re: Float64Array.from(values), im: new Float64Array(values.length) });
const channel = (values, height, width) => ({ shape: [1, 1, height, width], values: Float32Array.from(values) });
const magnitude = ({ height, width, re, im }) => channel(re.map((value, i) => Math.hypot(value, im[i])), height, width);
const stacked = ({ height, width, re, im }) => ({ shape: [1, 2, height, width], values: Float32Array.from([...re, ...im]) });

/** Resample through k-space, which is cropped to its centre or padded with zeros; the mean is preserved. */
function resampled(image, [rows, columns], real) {
  let result = image;
  for (const [axis, target] of [[0, rows], [1, columns]]) {
    const length = axis === 0 ? result.height : result.width;
    if (length === target) continue;
    const spectrum = transformed(result, [axis], false, true);
    const size = axis === 0 ? { height: target, width: result.width } : { height: result.height, width: target };
    const moved = { ...size, re: new Float64Array(size.height * size.width), im: new Float64Array(size.height * size.width) };
    const shift = Math.floor(length / 2) - Math.floor(target / 2);
    for (let r = 0; r < size.height; r += 1) {
      for (let c = 0; c < size.width; c += 1) {
        const [fromRow, fromColumn] = axis === 0 ? [r + shift, c] : [r, c + shift];
        if (fromRow < 0 || fromRow >= result.height || fromColumn < 0 || fromColumn >= result.width) continue;
        moved.re[r * size.width + c] = spectrum.re[fromRow * result.width + fromColumn] * Math.sqrt(target / length);
        moved.im[r * size.width + c] = spectrum.im[fromRow * result.width + fromColumn] * Math.sqrt(target / length);
      }
    }
    result = transformed(moved, [axis], true, true);
  }
  return real ? { ...result, im: new Float64Array(result.im.length) } : result;
}

/** Transform along axes, orthonormal; zero frequency and origin at index 0, or n // 2 if centered. */
function transformed(image, axes, inverse, centered) {
  let result = image;
  for (const axis of axes) result = along(result, axis, inverse ? 1 : -1, centered);
  return result;
}

function along({ height, width, re, im }, axis, sign, centered) {
  const [length, lines] = axis === 0 ? [height, width] : [width, height];
  const [step, next] = axis === 0 ? [width, 1] : [1, width];
  const origin = centered ? Math.floor(length / 2) : 0;
  const cosines = Float64Array.from({ length }, (_, k) => Math.cos((2 * Math.PI * k) / length) / Math.sqrt(length));
  const sines = Float64Array.from({ length }, (_, k) => (sign * Math.sin((2 * Math.PI * k) / length)) / Math.sqrt(length));
  const out = { height, width, re: new Float64Array(re.length), im: new Float64Array(im.length) };
  for (let line = 0; line < lines; line += 1) {
    for (let k = 0; k < length; k += 1) {
      let [sumRe, sumIm] = [0, 0];
      for (let n = 0; n < length; n += 1) {
        const phase = ((((k - origin) * (n - origin)) % length) + length) % length;
        const place = line * next + n * step;
        sumRe += re[place] * cosines[phase] - im[place] * sines[phase];
        sumIm += re[place] * sines[phase] + im[place] * cosines[phase];
      }
      out.re[line * next + k * step] = sumRe;
      out.im[line * next + k * step] = sumIm;
    }
  }
  return out;
}
