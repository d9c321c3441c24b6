// The 3-D view: moving surfaces by three.js. The page calls `cofSurfaces.show`; it throws where WebGL is missing.
import {
  BufferAttribute, BufferGeometry, DirectionalLight, DoubleSide, FrontSide, HemisphereLight, Mesh, MeshStandardMaterial,
  PerspectiveCamera, Scene, SRGBColorSpace, Vector3, WebGLRenderer,
} from "three";
import { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";

const FIELD_DEG = 28;

function bytes(uri) {
  const text = atob(uri.slice(uri.indexOf(",") + 1));
  const result = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i += 1) result[i] = text.charCodeAt(i);
  return result;
}

// Keyframes [T][3 V] in mm: int16 steps of ED, and for each later frame int8 steps from the frame before.
function keyframes(surface) {
  const first = new Int16Array(bytes(surface.first).buffer);
  const deltas = new Int8Array(bytes(surface.deltas).buffer);
  const frames = [Float32Array.from(first, (value, i) => surface.centre[i % 3] + value * surface.step)];
  for (let start = 0; start < deltas.length; start += first.length) {
    const before = frames[frames.length - 1];
    frames.push(before.map((value, i) => value + deltas[start + i] * surface.delta_step));
  }
  return frames;
}

// Let a translucent surface be seen at its rim more than in front, so that what it holds keeps its colour.
function glassy(shader) {
  const rim = "diffuseColor.a *= mix( 0.25, 2.2, pow( 1.0 - abs( dot( normal, normalize( vViewPosition ) ) ), 1.6 ) );";
  shader.fragmentShader = shader.fragmentShader.replace("#include <opaque_fragment>", `${rim}\n#include <opaque_fragment>`);
}

function moving(surface) {
  const frames = keyframes(surface);
  const faces = bytes(surface.faces).buffer;
  const geometry = new BufferGeometry();
  const position = new BufferAttribute(frames[0].slice(), 3);
  geometry.setAttribute("position", position);
  geometry.setIndex(new BufferAttribute(surface.wide ? new Uint32Array(faces) : new Uint16Array(faces), 1));
  const opaque = surface.opacity === 1;
  const material = new MeshStandardMaterial({
    color: surface.colour, roughness: 0.55, metalness: 0, transparent: !opaque, opacity: surface.opacity,
    depthWrite: opaque, side: opaque ? DoubleSide : FrontSide,
  });
  if (!opaque) material.onBeforeCompile = glassy;
  const mesh = new Mesh(geometry, material);
  mesh.renderOrder = opaque ? 0 : 1;
  mesh.frustumCulled = false;
  function move(place) {
    const index = Math.floor(place) % frames.length;
    const share = place - Math.floor(place);
    const from = frames[index];
    const to = frames[(index + 1) % frames.length];
    const { array } = position;
    for (let i = 0; i < array.length; i += 1) array[i] = from[i] + share * (to[i] - from[i]);
    position.needsUpdate = true;
    geometry.computeVertexNormals();
  }
  return { mesh, move };
}

// Show surfaces `data` in `canvas`. `draw(phase)` moves them; `look(name)` takes one of `data.views`, directions to the
// camera; up is y. `turned` gets the directions x, y, z as they lie on the screen, whenever the camera moves.
function show(canvas, data, turned) {
  const renderer = new WebGLRenderer({ canvas, antialias: true, alpha: true });
  renderer.outputColorSpace = SRGBColorSpace;
  const scene = new Scene();
  const camera = new PerspectiveCamera(FIELD_DEG, 1, 10, 4000);
  const surfaces = data.surfaces.map(moving);
  for (const { mesh } of surfaces) scene.add(mesh);
  scene.add(new HemisphereLight(0xffffff, 0x3a3f48, 1.1));
  const lamp = new DirectionalLight(0xffffff, 2.4);
  camera.add(lamp);
  lamp.position.set(-1.1, 1.3, 1);
  scene.add(camera, lamp.target);

  const centre = new Vector3(...data.centre);
  const controls = new OrbitControls(camera, canvas);
  controls.enablePan = false;
  controls.target.copy(centre);
  controls.minDistance = data.radius * 1.5;
  controls.maxDistance = data.radius * 12;
  // A finger that moves up or down scrolls the page, and so does a wheel without Ctrl.
  canvas.style.touchAction = "pan-y";
  canvas.addEventListener("wheel", (event) => { if (!event.ctrlKey) event.stopImmediatePropagation(); }, { capture: true });

  let phase = 0;
  let asked = false;

  function fit() {
    const { clientWidth, clientHeight } = canvas;
    if (!clientWidth || !clientHeight) return;
    renderer.setPixelRatio(Math.min(window.devicePixelRatio, 2));
    renderer.setSize(clientWidth, clientHeight, false);
    camera.aspect = clientWidth / clientHeight;
    camera.updateProjectionMatrix();
    render();
  }

  function render() {
    asked = false;
    renderer.render(scene, camera);
    const back = camera.quaternion.clone().invert();
    turned([[1, 0, 0], [0, 1, 0], [0, 0, 1]].map((axis) => new Vector3(...axis).applyQuaternion(back).toArray()));
  }

  function ask() {
    if (!asked) requestAnimationFrame(render);
    asked = true;
  }

  function draw(value) {
    phase = value;
    const place = (phase % 1) * data.frames;
    for (const surface of surfaces) surface.move(place);
    canvas.dataset.frame = String(Math.floor(place + 1e-6) % data.frames);
    ask();
  }

  function look(name) {
    const half = Math.tan((FIELD_DEG * Math.PI) / 360) * Math.min(1, camera.aspect);
    camera.position.copy(centre).addScaledVector(new Vector3(...data.views[name]), (1.06 * data.radius) / half);
    controls.update();
    ask();
  }

  controls.addEventListener("change", ask);
  new ResizeObserver(fit).observe(canvas);
  fit();
  look(Object.keys(data.views)[0]);
  return { draw, look, showing(index, visible) { surfaces[index].mesh.visible = visible; ask(); } };
}

globalThis.cofSurfaces = { show };
