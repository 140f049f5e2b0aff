// What the browser adds to the page: regions that light up together, layers, the timeline.
// Everything listens on the document, so that it survives every new answer of the server.
(() => {
  "use strict";
  const regionsOf = (element) => (element.dataset.region || "").split("|").filter(Boolean);
  const PLACE = ".two .stage, .interval"; // which of several faces or findings is meant
  const within = (target, selector) => (target instanceof Element ? target.closest(selector) : null);
  let chosen = null;
  let pointer = ""; // where it was last: an element that scrolls under it is not pointed at

  // ------------------------------------------------------------------ evidence
  function light(element) {
    const names = element ? regionsOf(element) : [];
    const place = element ? element.closest(PLACE) : null;
    for (const each of document.querySelectorAll("[data-region]")) {
      const on = regionsOf(each).some((name) => names.includes(name));
      const here = !place || !each.closest(PLACE) || place.contains(each);
      each.classList.toggle("lit", on && here);
    }
    for (const line of document.querySelectorAll(".numbers")) {
      if (place && !place.contains(line)) continue;
      line.dataset.hint ??= line.textContent;
      line.textContent = element
        ? element.dataset.numbers || "not measured"
        : line.dataset.hint;
    }
  }

  function choose(element) {
    chosen = chosen === element ? null : element;
    for (const each of document.querySelectorAll(".chosen")) each.classList.remove("chosen");
    if (chosen) chosen.classList.add("chosen");
    light(chosen);
    // A sentence brings the face into view, unless most of it is there.
    const stage = document.querySelector(".stage .face");
    if (chosen && stage && chosen.classList.contains("claim")) {
      const box = stage.getBoundingClientRect();
      const shown = Math.min(box.bottom, window.innerHeight) - Math.max(box.top, 0);
      if (shown < 0.6 * box.height) {
        stage.scrollIntoView({ block: "center", behavior: "smooth" });
      }
    }
  }

  const spot = (event) => `${event.clientX} ${event.clientY}`;
  for (const kind of ["pointermove", "pointerup"]) {
    document.addEventListener(kind, (event) => (pointer = spot(event)));
  }
  document.addEventListener("pointerover", (event) => {
    const element = within(event.target, "[data-region]");
    if (element && spot(event) !== pointer) light(element);
  });
  document.addEventListener("pointerout", (event) => {
    if (within(event.target, "[data-region]")) light(chosen && chosen.isConnected ? chosen : null);
  });
  document.addEventListener("focusin", (event) => {
    const element = within(event.target, "[data-region]");
    if (element) light(element);
  });
  document.addEventListener("click", (event) => {
    const element = within(event.target, "[data-region]");
    if (element) choose(element);
  });

  // ---------------------------------------------------------------------- chat
  function ask(question) {
    const box = document.querySelector("#question textarea");
    if (!box) return;
    box.value = question;
    box.dispatchEvent(new Event("input", { bubbles: true }));
    // Gradio takes the new value over before it sends it.
    setTimeout(() => document.querySelector("#question .submit-button")?.click(), 50);
  }

  document.addEventListener("click", (event) => {
    const suggestion = within(event.target, "[data-ask]");
    if (suggestion) ask(suggestion.dataset.ask);
    const copy = within(event.target, "[data-copy]");
    if (!copy) return;
    navigator.clipboard.writeText(copy.dataset.copy).then(
      () => (copy.textContent = "Copied"),
      () => (copy.textContent = "The browser does not allow copying"),
    );
  });

  // -------------------------------------------------------------------- layers
  document.addEventListener("input", (event) => {
    const stage = within(event.target, ".stage");
    if (stage && event.target.matches(".compare input")) {
      stage.style.setProperty("--apex", `${event.target.value}%`);
    } else if (stage && event.target.matches("[data-layer]")) {
      stage.classList.toggle(`no-${event.target.dataset.layer}`, !event.target.checked);
    }
    const number = within(event.target, "#onset, #apex, #offset");
    if (number) type(document.querySelector(".timeline"), number.id, event.target.valueAsNumber);
  });

  // ------------------------------------------------------------------ timeline
  const order = ["onset", "apex", "offset"];
  const dataOf = (line) => JSON.parse(line.dataset.clip);
  const markOf = (line, name) => line.querySelector(`[data-mark="${name}"]`);
  const frameOf = (line, name) => Number(markOf(line, name).getAttribute("aria-valuenow"));

  function draw(line, name, frame) {
    const data = dataOf(line);
    const mark = markOf(line, name);
    const shot = line.querySelector(`[data-shot="${name}"]`);
    const time = data.times[frame].toFixed(3);
    mark.style.left = `${100 * data.places[frame]}%`;
    mark.setAttribute("aria-valuenow", frame);
    mark.setAttribute("aria-valuetext", `frame ${frame}, ${time} s`);
    mark.classList.toggle("at-start", data.places[frame] < 0.1);
    mark.classList.toggle("at-end", data.places[frame] > 0.9);
    shot.querySelector("figcaption span").textContent = `${time} s (${frame})`;
    show(line, shot, frame);
    const band = line.querySelector(".band");
    band.style.left = `${100 * data.places[frameOf(line, "onset")]}%`;
    band.style.right = `${100 * (1 - data.places[frameOf(line, "offset")])}%`;
  }

  function show(line, shot, frame) {
    const { shown, columns, rows } = dataOf(line);
    const near = (best, t, k) => (Math.abs(t - frame) < Math.abs(shown[best] - frame) ? k : best);
    const cell = shown.reduce(near, 0);
    const share = (at, count) => (count > 1 ? (100 * at) / (count - 1) : 0);
    const picture = shot.querySelector("i").style;
    picture.backgroundSize = `${100 * columns}% ${100 * rows}%`;
    const [x, y] = [share(cell % columns, columns), share(Math.floor(cell / columns), rows)];
    picture.backgroundPosition = `${x}% ${y}%`;
  }

  function inClip(line, frame) {
    return Math.min(Math.max(Math.round(frame), 0), dataOf(line).times.length - 1);
  }

  // Marks that are dragged stay in order: one that is moved past another takes it along.
  function move(line, name, frame) {
    const to = inClip(line, frame);
    const place = order.indexOf(name);
    order.forEach((other, k) => {
      let at = frameOf(line, other);
      if (k < place) at = Math.min(at, to);
      if (k === place) at = to;
      if (k > place) at = Math.max(at, to);
      draw(line, other, at);
      fill(other, at);
    });
  }

  // A typed frame moves its own mark alone: halfway through, "16" is "1", and the marks before it
  // would go there. Frames out of order are refused when they are measured.
  function type(line, name, frame) {
    if (line && Number.isFinite(frame)) draw(line, name, inClip(line, frame));
  }

  function fill(name, frame) {
    const box = document.querySelector(`#${name} input`);
    if (!box || Number(box.value) === frame || document.activeElement === box) return;
    box.value = frame;
    box.dispatchEvent(new Event("input", { bubbles: true }));
  }

  let dragged = null;
  document.addEventListener("pointerdown", (event) => {
    const mark = within(event.target, ".mark");
    const plot = within(event.target, ".timeline .plot");
    if (!plot) return;
    dragged = mark || nearest(plot, event.clientX);
    dragged.focus();
    event.preventDefault();
    drag(event);
  });
  document.addEventListener("pointermove", (event) => dragged && drag(event));
  for (const end of ["pointerup", "pointercancel"]) {
    document.addEventListener(end, () => (dragged = null));
  }

  function nearest(plot, x) {
    const away = (mark) => Math.abs(mark.getBoundingClientRect().left - x);
    return [...plot.querySelectorAll(".mark")].reduce((a, b) => (away(b) < away(a) ? b : a));
  }

  function drag(event) {
    const line = dragged.closest(".timeline");
    const box = line.querySelector(".plot").getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    const { places } = dataOf(line);
    const near = (best, p, k) => (Math.abs(p - share) < Math.abs(places[best] - share) ? k : best);
    move(line, dragged.dataset.mark, places.reduce(near, 0));
  }

  // ------------------------------------------------------------------ keyboard
  const STEPS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 };
  document.addEventListener("keydown", (event) => {
    const mark = within(event.target, ".mark");
    if (mark) {
      const line = mark.closest(".timeline");
      const now = frameOf(line, mark.dataset.mark);
      const ends = { Home: 0, End: Infinity };
      if (event.key in STEPS) move(line, mark.dataset.mark, now + STEPS[event.key]);
      else if (event.key in ends) move(line, mark.dataset.mark, ends[event.key]);
      else return;
      event.preventDefault();
    }
    const element = within(event.target, "[data-region][role='button']");
    if (element && (event.key === "Enter" || event.key === " ")) {
      choose(element);
      event.preventDefault();
    }
    if (event.key === "Escape" && chosen) choose(chosen);
  });

  // A new timeline shows the frames of its marks; a button of gradio's that is only a picture gets
  // its name.
  function prepare() {
    for (const button of document.querySelectorAll(".submit-button:not([aria-label])")) {
      button.setAttribute("aria-label", "Ask");
    }
    for (const line of document.querySelectorAll(".timeline:not(.ready)")) {
      line.classList.add("ready");
      for (const name of order) draw(line, name, frameOf(line, name));
    }
  }
  new MutationObserver(prepare).observe(document.body, { childList: true, subtree: true });
  prepare();
})();
