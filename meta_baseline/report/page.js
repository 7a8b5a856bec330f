"use strict";
// What the page does beyond being read: contents, light and dark, sorting, saving. Nothing leaves the page, nothing
// is remembered. Text is only ever written with textContent, so that a name from a file stays a name.
(() => {
  const root = document.documentElement;
  const status = document.getElementById("status");
  root.classList.add("scripted");

  function button(text, act) {
    const element = document.createElement("button");
    element.type = "button";
    element.textContent = text;
    element.addEventListener("click", act);
    return element;
  }

  // Light and dark: the system's choice until the reader chooses.
  const theme = document.getElementById("theme-toggle");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const nameTheme = () => { theme.textContent = isDark() ? "Light page" : "Dark page"; };
  theme.hidden = false;
  theme.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; nameTheme(); });
  system.addEventListener("change", nameTheme);
  nameTheme();

  // Contents: folded on a narrow page; the section being read is marked.
  const toggle = document.getElementById("contents-toggle");
  const contents = document.getElementById("contents");
  const fold = (open) => { contents.classList.toggle("open", open); toggle.setAttribute("aria-expanded", String(open)); };
  toggle.hidden = false;
  toggle.addEventListener("click", () => fold(!contents.classList.contains("open")));
  contents.addEventListener("click", (event) => { if (event.target.closest("a")) fold(false); });
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && contents.classList.contains("open")) { fold(false); toggle.focus(); }
  });
  const links = new Map([...contents.querySelectorAll("a")].map((link) => [link.hash.slice(1), link]));
  const inView = new Set();
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) inView[entry.isIntersecting ? "add" : "delete"](entry.target.id);
    const current = [...links.keys()].find((id) => inView.has(id));
    for (const [id, link] of links) {
      if (id === current) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }, { rootMargin: "-15% 0px -70% 0px" });
  for (const id of links.keys()) watcher.observe(document.getElementById(id));

  // Sorting: undefined values stay last in both directions; equal rows keep their order.
  const valueOf = (cell) => cell.dataset.v ?? cell.textContent;
  const numberOf = (cell) => Number(valueOf(cell).replace("−", "-"));
  const words = new Intl.Collator("en", { numeric: true });

  function sort(table, position) {
    const heading = table.tHead.rows[0].cells[position];
    const direction = heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
    const sign = direction === "ascending" ? 1 : -1;
    const isNumber = heading.classList.contains("n");
    const missing = (cell) => (isNumber ? Number.isNaN(numberOf(cell)) : valueOf(cell) === "");
    const body = table.tBodies[0];
    const rows = [...body.rows].sort((first, second) => {
      const [a, b] = [first.cells[position], second.cells[position]];
      if (missing(a) || missing(b)) return Number(missing(a)) - Number(missing(b));
      const [x, y] = [numberOf(a), numberOf(b)];
      return sign * (isNumber ? (x > y) - (x < y) : words.compare(valueOf(a), valueOf(b)));
    });
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", direction);
    body.append(...rows);
    status.textContent = `Sorted by ${heading.textContent}, ${direction}.`;
  }

  function save(name, type, text) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  const slug = (text) => text.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "") || "table";

  // A spreadsheet takes a cell that begins with one of = + - @ for a formula; an apostrophe makes it text again.
  function csvCell(text, isNumber) {
    const harmless = !isNumber && /^[=+\-@\t]/.test(text) ? `'${text}` : text;
    return /[",\n\r]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
  }

  function csvOf(table) {
    const headings = [...table.tHead.rows[0].cells];
    const lines = [headings.map((heading) => csvCell(heading.dataset.name, false))];
    for (const row of table.tBodies[0].rows) {
      lines.push([...row.cells].map((cell, i) => {
        const isNumber = headings[i].classList.contains("n");
        const value = isNumber ? String(numberOf(cell)) : valueOf(cell);
        return csvCell(value === "NaN" ? "" : value, isNumber);
      }));
    }
    return lines.map((line) => line.join(",")).join("\r\n") + "\r\n";
  }

  const tools = (...buttons) => {
    const line = document.createElement("p");
    line.className = "tools";
    for (const element of buttons) element.className = "quiet";
    line.append(...buttons);
    return line;
  };

  for (const table of document.querySelectorAll("table.data")) {
    [...table.tHead.rows[0].cells].forEach((heading, position) => {
      const control = button(heading.textContent, () => sort(table, position));
      heading.replaceChildren(control);
    });
    const name = `${slug(table.dataset.name)}.csv`;
    const control = button("Save as CSV", () => save(name, "text/csv", csvOf(table)));
    control.title = `${name}, six significant digits`;
    table.parentElement.after(tools(control));
  }

  for (const figure of document.querySelectorAll("figure")) {
    const drawing = figure.querySelector(".drawing svg");
    if (!drawing) continue;
    figure.append(tools(button("Save as SVG", () => {
      const copy = drawing.cloneNode(true);
      copy.setAttribute("color", "#1b1c1e");
      copy.setAttribute("font-family", "Helvetica, Arial, sans-serif");
      save(`${figure.id}.svg`, "image/svg+xml", new XMLSerializer().serializeToString(copy));
    })));
  }

  // Whatever scrolls sideways can be reached and scrolled by keyboard.
  const frames = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      if (target.scrollWidth > target.clientWidth + 1) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });
  for (const frame of document.querySelectorAll(".scroll, .drawing")) frames.observe(frame);

  // A link into something folded unfolds it; on paper nothing but long tables is folded.
  function reveal() {
    const target = document.getElementById(location.hash.slice(1));
    for (let node = target; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
  }
  addEventListener("hashchange", reveal);
  reveal();
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details[data-print]:not([open])")];
    for (const details of opened) details.open = true;
  });
  addEventListener("afterprint", () => { for (const details of opened) details.open = false; });
})();
