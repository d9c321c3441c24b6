// Play a real and a generated heart synchronously: frames from sprite sheets, contours from polygons, one clock per viewer.
(() => {
  "use strict";

  const COLOURS = ["#ff6b6b", "#4cc97a", "#6bb3ff"]; // endocardium, epicardium, right ventricle
  const PIXELS = 4; // canvas pixels per voxel of the crop

  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

  function drawContours(context, frame, scaleX, scaleY) {
    context.lineWidth = 1.6;
    context.lineJoin = "round";
    frame.forEach((polygons, structure) => {
      context.strokeStyle = COLOURS[structure];
      for (const polygon of polygons) {
        context.beginPath();
        for (let i = 0; i < polygon.length; i += 2) {
          context.lineTo(polygon[i] * scaleX, polygon[i + 1] * scaleY);
        }
        context.closePath();
        context.stroke();
      }
    });
  }

  function viewer(root) {
    const data = JSON.parse(root.querySelector("script").textContent);
    const [columns, rows] = data.tile;
    const sheets = {};
    const panels = [...root.querySelectorAll("canvas")].map((canvas) => {
      canvas.width = columns * PIXELS;
      canvas.height = Math.round((canvas.width / data.aspect));
      const context = canvas.getContext("2d");
      context.imageSmoothingQuality = "high";
      return { canvas, context, heart: canvas.dataset.heart, level: Number(canvas.dataset.level), shown: "" };
    });
    const play = root.querySelector("[data-play]");
    const slider = root.querySelector("[data-phase]");
    const output = root.querySelector("output");
    const speed = root.querySelector("[data-speed]");
    const contours = root.querySelector("[data-contours]");
    const difference = root.querySelector("[data-difference]");
    const subject = root.closest("[data-subject]");
    const cursor = subject.querySelector(".cursor");
    let phase = 0;
    let playing = false;
    let visible = true;
    let last = 0;

    function frameOf(heart) {
      return Math.floor(phase * data.hearts[heart].frames) % data.hearts[heart].frames;
    }

    function tile(panel, heart) {
      panel.context.drawImage(sheets[heart], frameOf(heart) * columns, panel.level * rows, columns, rows,
        0, 0, panel.canvas.width, panel.canvas.height);
    }

    function paint(force) {
      for (const panel of panels) {
        if (panel.canvas.hidden) continue;
        const both = panel.heart === "difference";
        const key = both ? `${frameOf("real")},${frameOf("generated")}` : String(frameOf(panel.heart));
        if (!force && key === panel.shown) continue;
        panel.shown = key;
        if (both) {
          tile(panel, "real");
          panel.context.globalCompositeOperation = "difference";
          tile(panel, "generated");
          panel.context.globalCompositeOperation = "source-over";
          continue;
        }
        tile(panel, panel.heart);
        if (contours.checked) {
          drawContours(panel.context, data.hearts[panel.heart].contours[panel.level][frameOf(panel.heart)],
            panel.canvas.width / columns, panel.canvas.height / rows);
        }
      }
      slider.value = String(phase);
      const time = `${Math.round(phase * data.rr_ms)} ms`;
      slider.setAttribute("aria-valuetext", `${time} of ${Math.round(data.rr_ms)} ms after end diastole`);
      output.textContent = time;
      if (cursor) cursor.style.left = `${100 * (data.axes[0] + data.axes[2] * phase)}%`;
    }

    function tick(now) {
      if (!playing) return;
      if (visible) {
        phase = (phase + ((now - last) / data.rr_ms) * Number(speed.value)) % 1;
        paint(false);
      }
      last = now;
      requestAnimationFrame(tick);
    }

    function setPlaying(value) {
      playing = value;
      play.textContent = playing ? "Pause" : "Play";
      last = performance.now();
      if (playing) requestAnimationFrame(tick);
    }

    play.addEventListener("click", () => setPlaying(!playing));
    slider.addEventListener("input", () => {
      setPlaying(false);
      phase = Number(slider.value);
      paint(false);
    });
    contours.addEventListener("change", () => paint(true));
    difference.addEventListener("change", () => {
      for (const element of root.querySelectorAll("[data-of-difference]")) element.hidden = !difference.checked;
      paint(true);
    });
    new IntersectionObserver((entries) => { visible = entries[entries.length - 1].isIntersecting; }).observe(root);

    for (const image of root.querySelectorAll("img[data-sheet]")) sheets[image.dataset.sheet] = image;
    if (Object.values(sheets).some((image) => image.naturalWidth === 0)) {
      root.querySelector("[data-problem]").hidden = false;
      return;
    }
    paint(true);
    root.dataset.ready = "yes";
    setPlaying(!calm.matches);
  }

  window.addEventListener("load", () => document.querySelectorAll("[data-viewer]").forEach(viewer));

  // On a narrow screen the table of contents is closed at first.
  const contents = document.querySelector(".contents details");
  if (contents && window.matchMedia("(max-width: 63.99rem)").matches) contents.open = false;
})();
