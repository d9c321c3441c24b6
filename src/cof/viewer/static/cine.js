// One clock for all views of a cycle, and a cine that it drives: frames from sprite sheets, contours from polygons.
globalThis.cofViewer = (() => {
  "use strict";

  const COLOURS = ["#ff6b6b", "#4cc97a", "#6bb3ff"]; // LV cavity, outer border of the LV wall, RV cavity
  const PIXELS = 4; // canvas pixels per voxel of the crop
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

  // The index of the frame that a cycle of so many frames shows at a phase in [0, 1].
  function frameAt(phase, frames) {
    return Math.floor(phase * frames + 1e-6) % frames;
  }

  // A clock with the controls in `root` (data-play, data-phase, data-speed, output). `show(phase)` paints every view.
  function clock(root, { rr_ms, frames = 0, known = true, show }) {
    const play = root.querySelector("[data-play]");
    const slider = root.querySelector("[data-phase]");
    const speed = root.querySelector("[data-speed]");
    const output = root.querySelector("output");
    let phase = 0;
    let playing = false;
    let visible = true;
    let last = 0;

    function tell() {
      slider.value = String(phase);
      const time = known ? `${Math.round(phase * rr_ms)} ms` : `${Math.round(100 * phase)} %`;
      const whole = known ? `${Math.round(rr_ms)} ms` : "the cycle";
      slider.setAttribute("aria-valuetext", `${time} of ${whole} after end diastole`);
      output.textContent = time;
      show(phase);
    }

    function tick(now) {
      if (!playing) return;
      if (visible) {
        phase = (phase + (Math.max(now - last, 0) / rr_ms) * Number(speed.value)) % 1;
        tell();
      }
      last = now;
      requestAnimationFrame(tick);
    }

    function set(value) {
      phase = value;
      tell();
    }

    function setPlaying(value) {
      if (playing && !value && frames) set(frameAt(phase, frames) / frames); // a still picture is a frame
      playing = value;
      play.textContent = playing ? "Pause" : "Play";
      last = performance.now();
      if (playing) requestAnimationFrame(tick);
    }

    play.addEventListener("click", () => setPlaying(!playing));
    slider.addEventListener("input", () => {
      const wanted = Number(slider.value);
      setPlaying(false);
      set(wanted);
    });
    return {
      start() { tell(); setPlaying(!calm.matches); },
      toggle() { setPlaying(!playing); },
      step(by) {
        setPlaying(false);
        set(((frameAt(phase, frames) + by + frames) % frames) / frames);
      },
      seek(value) { setPlaying(false); set(value); },
      pauseOutOfSight(element) {
        new IntersectionObserver((entries) => { visible = entries[entries.length - 1].isIntersecting; }).observe(element);
      },
      get phase() { return phase; },
      get playing() { return playing; },
    };
  }

  // The canvases in `root` (data-heart, data-level), painted from `img[data-sheet]` and `data` of `viewer_data`. The heart
  // "difference" is the absolute difference of the real and the generated cine. Null if an image could not be loaded.
  function cine(root, data) {
    const [columns, rows] = data.tile;
    const sheets = {};
    for (const image of root.querySelectorAll("img[data-sheet]")) sheets[image.dataset.sheet] = image;
    if (Object.values(sheets).some((image) => image.naturalWidth === 0)) return null;
    const panels = [...root.querySelectorAll("canvas[data-heart]")].map((canvas) => {
      canvas.width = columns * PIXELS;
      canvas.height = Math.round(canvas.width / data.aspect);
      const context = canvas.getContext("2d");
      context.imageSmoothingQuality = "high";
      return { canvas, context, heart: canvas.dataset.heart, level: Number(canvas.dataset.level), shown: "" };
    });
    const drawn = { contours: true, structures: [true, true, true] };
    // A frame is copied before it is enlarged: the smoothing would mix in the frame beside it.
    const single = document.createElement("canvas");
    single.width = columns;
    single.height = rows;
    const copy = single.getContext("2d");
    copy.globalCompositeOperation = "copy";

    function tile({ context, canvas, level }, heart, frame) {
      const { frames, across } = data.hearts[heart];
      const line = level * Math.ceil(frames / across) + Math.floor(frame / across);
      copy.drawImage(sheets[heart], (frame % across) * columns, line * rows, columns, rows, 0, 0, columns, rows);
      context.drawImage(single, 0, 0, canvas.width, canvas.height);
    }

    function outline({ context, canvas }, frame) {
      const scaleX = canvas.width / columns;
      const scaleY = canvas.height / rows;
      context.lineWidth = 2.2;
      context.lineJoin = "round";
      frame.forEach((polygons, structure) => {
        if (!drawn.structures[structure]) return;
        context.strokeStyle = COLOURS[structure];
        for (const polygon of polygons) {
          context.beginPath();
          for (let i = 0; i < polygon.length; i += 2) context.lineTo(polygon[i] * scaleX, polygon[i + 1] * scaleY);
          context.closePath();
          context.stroke();
        }
      });
    }

    return {
      drawn,
      paint(phase, force = false) {
        const frameOf = (heart) => frameAt(phase, data.hearts[heart].frames);
        root.dataset.frame = String(frameOf("generated"));
        for (const panel of panels) {
          if (panel.canvas.hidden) continue;
          const both = panel.heart === "difference";
          const key = both ? `${frameOf("real")},${frameOf("generated")}` : String(frameOf(panel.heart));
          if (!force && key === panel.shown) continue;
          panel.shown = key;
          if (both) {
            tile(panel, "real", frameOf("real"));
            panel.context.globalCompositeOperation = "difference";
            tile(panel, "generated", frameOf("generated"));
            panel.context.globalCompositeOperation = "source-over";
            continue;
          }
          tile(panel, panel.heart, frameOf(panel.heart));
          if (drawn.contours) outline(panel, data.hearts[panel.heart].contours[panel.level][frameOf(panel.heart)]);
        }
      },
    };
  }

  return { COLOURS, frameAt, clock, cine };
})();
