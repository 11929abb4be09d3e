// Only comfort: without it browsers show the titles.
(() => {
  "use strict";
  // The browser's own tooltips would stand over ours; the titles stay for assistive technology as labels.
  for (const svg of document.querySelectorAll("svg[role=img]")) {
    const title = svg.querySelector(":scope > title");
    if (!title) continue;
    svg.setAttribute("aria-label", title.textContent);
    svg.removeAttribute("aria-labelledby");
    const text = svg.querySelector(":scope > desc");
    if (text) svg.setAttribute("aria-describedby", text.id);
    title.remove();
  }
  for (const point of document.querySelectorAll("g.p")) {
    const title = point.querySelector("title");
    point.tip = title ? title.textContent : "";
    if (title) title.remove();
  }

  const tip = document.createElement("div");
  tip.id = "tip";
  tip.role = "status";
  tip.hidden = true;
  document.body.append(tip);
  for (const button of document.querySelectorAll("input.lang")) {
    button.addEventListener("change", () => { tip.hidden = true; });
  }
  const show = (text, x, y) => {
    tip.replaceChildren();
    text.split("\n").forEach((line, at) => {
      const row = document.createElement(at ? "div" : "b");
      for (const part of line.split("\t")) {
        const span = document.createElement("span");
        span.textContent = part;
        row.append(span);
      }
      tip.append(row);
    });
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const left = x + 16 + box.width > innerWidth ? x - 16 - box.width : x + 16;
    const top = Math.min(Math.max(8, y - box.height / 2), innerHeight - box.height - 8);
    tip.style.transform = `translate(${Math.max(8, left)}px, ${top}px)`;
  };
  const heat = (main, name) => {
    main.classList.toggle("hot", name !== null);
    for (const item of main.querySelectorAll("[data-s]")) item.classList.toggle("on", item.dataset.s === name);
  };
  const clear = (main) => { tip.hidden = true; heat(main, null); };

  for (const main of document.querySelectorAll("main")) {
    for (const svg of main.querySelectorAll("svg.chart, svg.bars")) {
      const points = [...svg.querySelectorAll("g.p")];
      const near = (event) => {
        const matrix = svg.getScreenCTM();
        if (!matrix) return null;
        let best = null;
        for (const point of points) {
          const x = matrix.a * point.dataset.x + matrix.e, y = matrix.d * point.dataset.y + matrix.f;
          const away = Math.hypot(x - event.clientX, y - event.clientY);
          if (away < 28 && (!best || away < best.away)) best = { point, away, x, y };
        }
        return best;
      };
      const look = (event) => {
        const found = near(event);
        const label = event.target.closest && event.target.closest("[data-s]");
        if (!found && !label) return clear(main);
        const line = found ? found.point.closest("[data-s]") : label;
        if (found) show(found.point.tip, found.x, found.y);
        else tip.hidden = true;
        heat(main, line ? line.dataset.s : null);
      };
      svg.addEventListener("pointermove", look);
      svg.addEventListener("pointerdown", look);
      svg.addEventListener("pointerleave", () => clear(main));
    }
    for (const item of main.querySelectorAll(".legend li")) {
      item.addEventListener("pointerenter", () => heat(main, item.dataset.s));
      item.addEventListener("pointerleave", () => heat(main, null));
    }
  }
  addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
})();
