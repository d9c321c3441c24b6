// Play every real heart synchronously with the generated one: a clock and a cine for each subject.
(() => {
  "use strict";

  function viewer(root) {
    const data = JSON.parse(root.querySelector("script").textContent);
    const contours = root.querySelector("[data-contours]");
    const difference = root.querySelector("[data-difference]");
    const cursor = root.closest("[data-subject]").querySelector(".cursor");
    const cine = cofViewer.cine(root, data);
    if (cine === null) {
      root.querySelector("[data-problem]").hidden = false;
      return;
    }
    const clock = cofViewer.clock(root, {
      rr_ms: data.rr_ms,
      show(phase) {
        cine.paint(phase);
        if (cursor) cursor.style.left = `${100 * (data.axes[0] + data.axes[2] * phase)}%`;
      },
    });
    contours.addEventListener("change", () => {
      cine.drawn.contours = contours.checked;
      cine.paint(clock.phase, true);
    });
    difference.addEventListener("change", () => {
      for (const element of root.querySelectorAll("[data-of-difference]")) element.hidden = !difference.checked;
      cine.paint(clock.phase, true);
    });
    clock.pauseOutOfSight(root);
    root.dataset.ready = "yes";
    clock.start();
  }

  window.addEventListener("load", () => document.querySelectorAll("[data-viewer]").forEach(viewer));

  // On a narrow screen the table of contents is closed at first.
  const contents = document.querySelector(".contents details");
  if (contents && window.matchMedia("(max-width: 63.99rem)").matches) contents.open = false;
})();
