// Arrays of NumPy files: .npy, and .npz (ZIP, stored or deflated). Nothing in them is executed.

const TYPES = {
  f4: Float32Array, f8: Float64Array, i1: Int8Array, i2: Int16Array, i4: Int32Array,
  u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, b1: Uint8Array,
};

/** Return {shape, values: Float32Array} of a .npy file of real numbers. */
export function readNpy(buffer) {
  const bytes = new Uint8Array(buffer);
  if (bytes.length < 12 || String.fromCharCode(...bytes.subarray(1, 6)) !== "NUMPY") throw new Error("expected a .npy file");
  const view = new DataView(buffer);
  const long = bytes[6] > 1;
  const start = long ? 12 : 10;
  const length = long ? view.getUint32(8, true) : view.getUint16(8, true);
  const header = new TextDecoder("latin1").decode(bytes.subarray(start, start + length));
  const type = /'descr':\s*'([<>|=]?)(\w+)'/.exec(header);
  const shape = /'shape':\s*\(([^)]*)\)/.exec(header)[1].split(",").map((text) => text.trim()).filter(Boolean).map(Number);
  if (!type || type[1] === ">" || !(type[2] in TYPES) || /'fortran_order':\s*True/.test(header)) {
    throw new Error(`expected real little-endian numbers in C order, got ${type ? type[2] : "no type"}`);
  }
  const count = shape.reduce((product, n) => product * n, 1);
  const Kind = TYPES[type[2]];
  const values = new Kind(buffer.slice(start + length, start + length + count * Kind.BYTES_PER_ELEMENT));
  if (values.length !== count) throw new Error("the .npy file is truncated");
  return { shape, values: Float32Array.from(values) };
}

/** Return the arrays of a .npz file by name. */
export async function readNpz(buffer) {
  const view = new DataView(buffer);
  let end = view.byteLength - 22;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end -= 1;
  if (end < 0) throw new Error("expected a .npz file");
  const arrays = {};
  let place = view.getUint32(end + 16, true);
  for (let entry = view.getUint16(end + 10, true); entry > 0; entry -= 1) {
    const [method, packed] = [view.getUint16(place + 10, true), view.getUint32(place + 20, true)];
    const [name, extra, comment] = [28, 30, 32].map((offset) => view.getUint16(place + offset, true));
    const local = view.getUint32(place + 42, true);
    const title = new TextDecoder().decode(new Uint8Array(buffer, place + 46, name));
    const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    arrays[title.replace(/\.npy$/, "")] = readNpy(await inflated(buffer.slice(start, start + packed), method));
    place += 46 + name + extra + comment;
  }
  return arrays;
}

async function inflated(packed, method) {
  if (method === 0) return packed;
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Response(stream).arrayBuffer();
}
