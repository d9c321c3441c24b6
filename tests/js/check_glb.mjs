// Validates a GLB file, and computes by another library the volume of every mesh at every key of its animation.
// node check_glb.mjs FILE prints JSON: the validator's counts and messages, and a record for every node.
import { readFile } from "node:fs/promises";
import { NodeIO } from "@gltf-transform/core";
import validator from "gltf-validator";

const bytes = new Uint8Array(await readFile(process.argv[2]));
const report = await validator.validateBytes(bytes);
const root = (await new NodeIO().readBinary(bytes)).getRoot();

function volume(at, indices) {
  let sum = 0;
  for (let i = 0; i < indices.length; i += 3) {
    const [a, b, c] = [0, 1, 2].map((corner) => at.subarray(3 * indices[i + corner], 3 * indices[i + corner] + 3));
    sum += a[0] * (b[1] * c[2] - b[2] * c[1]) + a[1] * (b[2] * c[0] - b[0] * c[2]) + a[2] * (b[0] * c[1] - b[1] * c[0]);
  }
  return sum / 6;
}

const [animation] = root.listAnimations();
const nodes = animation.listChannels().map((channel) => {
  const node = channel.getTargetNode();
  const [primitive] = node.getMesh().listPrimitives();
  const rest = primitive.getAttribute("POSITION").getArray();
  const targets = primitive.listTargets().map((target) => target.getAttribute("POSITION").getArray());
  const times = Array.from(channel.getSampler().getInput().getArray());
  const weights = channel.getSampler().getOutput().getArray();
  const volumes = times.map((_, key) => {
    const at = Float64Array.from(rest);
    targets.forEach((target, index) => {
      const weight = weights[key * targets.length + index];
      if (weight) target.forEach((moved, i) => (at[i] += weight * moved));
    });
    return volume(at, primitive.getIndices().getArray());
  });
  return { name: node.getName(), path: channel.getTargetPath(), targets: targets.length, times, volumes };
});
console.log(JSON.stringify({ issues: report.issues, info: report.info, nodes }));
