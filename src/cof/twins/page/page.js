// The page of one heart: one clock drives the surfaces, the cine, the curves of volume and the ECG.
window.addEventListener("load", () => {
  "use strict";

  const data = JSON.parse(document.getElementById("data").textContent);
  const find = (selector) => document.querySelector(selector);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const cine = cofViewer.cine(find("[data-cine]"), data.cine);
  const drawn = []; // functions of the phase

  // ---- curves over the cycle ----
  const MARGIN = { left: 38, right: 8, top: 8, bottom: 22 };

  function element(name, attributes, text) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function ticks(low, high, count) {
    const rough = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((multiple) => multiple * power >= rough);
    const found = [];
    for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + 1e-9 * step; value += step) found.push(value);
    return { found, decimals: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
  }

  // Draw closed curves { values, style } over the cycle into an SVG; returns the function that moves its hand.
  function chart(svg, unit, low, high, curves) {
    const { clientWidth: width, clientHeight: height } = svg;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const x = (phase) => MARGIN.left + phase * (width - MARGIN.left - MARGIN.right);
    const y = (value) => height - MARGIN.bottom - ((value - low) / (high - low)) * (height - MARGIN.top - MARGIN.bottom);
    const parts = [];
    const { found, decimals } = ticks(low, high, 4);
    for (const value of found) {
      parts.push(element("line", { class: "rule", x1: x(0), x2: x(1), y1: y(value), y2: y(value) }));
      parts.push(element("text", { x: MARGIN.left - 5, y: y(value) + 4, "text-anchor": "end" }, value.toFixed(decimals)));
    }
    const whole = data.timed ? data.rr_ms : 100;
    for (const time of ticks(0, whole, width < 400 ? 3 : 5).found) {
      if (time > 0.9 * whole) continue;
      parts.push(element("text", { x: x(time / whole), y: height - 6, "text-anchor": time ? "middle" : "start" }, Math.round(time)));
    }
    parts.push(element("text", { x: x(1), y: height - 6, "text-anchor": "end" }, data.timed ? "ms" : "% of the cycle"));
    parts.push(element("text", { x: x(0) + 5, y: MARGIN.top + 5 }, unit));
    for (const { values, style } of curves) {
      const points = [...values, values[0]].map((value, i) => `${x(i / values.length).toFixed(1)},${y(value).toFixed(1)}`);
      parts.push(element("polyline", { class: `line ${style}`, points: points.join(" ") }));
    }
    const hand = element("line", { class: "hand", y1: MARGIN.top, y2: height - MARGIN.bottom });
    svg.replaceChildren(...parts, hand);
    return (phase) => {
      hand.setAttribute("x1", x(phase));
      hand.setAttribute("x2", x(phase));
    };
  }

  const hands = {};

  function volumes() {
    const svg = find('[data-chart="volumes"]');
    const compared = find("[data-compare]")?.checked ?? false;
    const curves = [];
    for (const [heart, style] of [["real", " dashed"], ["generated", ""]]) {
      if (heart === "real" && !compared) continue;
      for (const [ventricle, values] of Object.entries(data.volumes[heart])) {
        curves.push({ values, style: ventricle.toLowerCase() + style });
      }
    }
    const most = Math.max(...Object.values(data.volumes).flatMap((heart) => Object.values(heart).flat()));
    hands.volumes = chart(svg, "mL", 0, 1.15 * most, curves);
  }

  function ecg() {
    const svg = find('[data-chart="ecg"]');
    if (!svg) return;
    const values = data.ecg[find("[data-lead]").value];
    const low = Math.min(-0.2, ...values);
    const high = Math.max(0.2, ...values);
    const room = 0.12 * (high - low);
    hands.ecg = chart(svg, "mV", low - room, high + room, [{ values, style: "trace" }]);
  }

  function curves() {
    volumes();
    ecg();
    for (const move of Object.values(hands)) move(clock.phase);
  }

  drawn.push((phase) => {
    for (const move of Object.values(hands)) move(phase);
    const frame = cofViewer.frameAt(phase, data.frames);
    const { LV, RV } = data.volumes.generated;
    find('[data-now="volumes"]').textContent = `LV ${LV[frame].toFixed(0)} mL, RV ${RV[frame].toFixed(0)} mL`;
  });

  // A click or drag in a curve goes to that time.
  for (const svg of all("[data-chart]")) {
    const seek = (event) => {
      if (event.type === "pointermove" && !event.buttons) return;
      const { left, width } = svg.getBoundingClientRect();
      const share = (event.clientX - left - MARGIN.left) / (width - MARGIN.left - MARGIN.right);
      const phase = Math.min(Math.max(share, 0), 1);
      clock.seek(Math.min(Math.round(phase * data.frames), data.frames) / data.frames);
    };
    svg.addEventListener("pointerdown", seek);
    svg.addEventListener("pointermove", seek);
  }

  // ---- the cine ----
  drawn.push((phase) => cine.paint(phase));

  // ---- the surfaces ----
  let solid = null;

  // Left, head and anterior as they lie on the screen.
  function triad(axes) {
    if (!data.oriented) return;
    find("[data-triad]").replaceChildren(...axes.flatMap(([x, y], index) => [
      element("line", { x1: 0, y1: 0, x2: 20 * x, y2: -20 * y }),
      element("text", { x: 28 * x, y: -28 * y, opacity: Math.hypot(x, y) < 0.25 ? 0 : 1 }, "LHA"[index]),
    ]));
  }

  const canvas = find("[data-surfaces]");
  if (canvas) {
    try {
      solid = cofSurfaces.show(canvas, JSON.parse(document.getElementById("mesh").textContent), triad);
      drawn.push(solid.draw);
      find("[data-view]").addEventListener("change", (event) => solid.look(event.target.value));
    } catch (error) {
      find(".stage").hidden = true;
      find("[data-view]").closest("label").hidden = true;
      find("[data-without]").hidden = false;
    }
  }

  // ---- one clock ----
  const clock = cofViewer.clock(find("[data-clock]"), {
    rr_ms: data.rr_ms,
    known: data.timed,
    frames: data.frames,
    show(phase) {
      for (const draw of drawn) draw(phase);
    },
  });

  find("[data-contours]").addEventListener("change", (event) => {
    cine.drawn.contours = event.target.checked;
    cine.paint(clock.phase, true);
  });
  for (const box of all("[data-structure]")) {
    box.addEventListener("change", () => {
      const index = Number(box.dataset.structure);
      cine.drawn.structures[index] = box.checked;
      cine.paint(clock.phase, true);
      solid?.showing(index, box.checked);
    });
  }
  find("[data-compare]")?.addEventListener("change", (event) => {
    for (const part of all("[data-real]")) part.hidden = !event.target.checked;
    cine.paint(clock.phase, true);
    curves();
  });
  find("[data-lead]")?.addEventListener("change", curves);

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const { target } = event;
    const held = target.matches("select, summary, input[type=checkbox]") || (target.matches("button") && event.key === " ");
    if (event.key === " " && !held) clock.toggle();
    else if (event.key === "ArrowRight" && !target.matches("select")) clock.step(1);
    else if (event.key === "ArrowLeft" && !target.matches("select")) clock.step(-1);
    else return;
    event.preventDefault();
  });

  new ResizeObserver(curves).observe(find("#heart"));
  curves();
  window.cof = {
    clock,
    get frame() {
      return { cine: Number(find("[data-cine]").dataset.frame), surfaces: solid ? Number(canvas.dataset.frame) : null };
    },
  };
  document.documentElement.dataset.ready = "yes";
  clock.start();
});
