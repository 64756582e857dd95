{
  const tools = document.querySelector(".tools");
  const table = document.querySelector("table.sortable");
  const body = table.querySelector("tbody.arms");
  if (body) {
    const named = new Map([...body.rows].map((row) => [row.dataset.arm, row.dataset.name]));
    const field = tools.querySelector("input");
    const chips = tools.querySelector(".chips");
    const pinned = new Set();
    const top = document.createElement("tbody");
    const buttons = new Map();
    let sorted = null;

    const value = (row, column) => {
      const cell = row.cells[column];
      return column === 0 ? row.dataset.name : Number(cell.dataset.value ?? NaN);
    };
    const compare = (one, two) => {
      if (!sorted) return one.dataset.arm - two.dataset.arm;
      const [a, b] = [value(one, sorted.column), value(two, sorted.column)];
      if (typeof a === "string") return sorted.sign * a.localeCompare(b);
      if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
      return sorted.sign * (a - b);
    };
    const order = () => {
      for (const row of [...top.rows, ...body.rows].sort(compare)) {
        (pinned.has(row.dataset.arm) ? top : body).append(row);
      }
      if (pinned.size) body.before(top);
      else top.remove();
    };
    const show = () => {
      const words = field.value.toLowerCase().split(/[\s,]+/).filter(Boolean);
      const hidden = new Set();
      for (const [arm, name] of named) {
        const found = !words.length || words.some((word) => name.toLowerCase().includes(word));
        if (!found && !pinned.has(arm)) hidden.add(arm);
      }
      for (const element of document.querySelectorAll("[data-arm]")) {
        const arm = element.dataset.arm;
        element.classList.toggle("filtered", hidden.has(arm));
        element.classList.toggle("pinned", pinned.has(arm));
        if (element.closest("svg")) element.classList.toggle("faded", pinned.size > 0 && !pinned.has(arm));
      }
      tools.querySelector("output").textContent = `${named.size - hidden.size} of ${named.size} arms`;
      for (const [arm, button] of buttons) button.setAttribute("aria-pressed", pinned.has(arm));
      chips.replaceChildren(...[...pinned].map(chip));
    };
    const pin = (arm) => {
      if (!pinned.delete(arm)) pinned.add(arm);
      order();
      show();
    };
    const chip = (arm) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = named.get(arm);
      button.title = "remove the pin";
      button.addEventListener("click", () => pin(arm));
      return button;
    };

    top.className = "pinned";
    table.classList.add("live");
    for (const row of body.rows) {
      const button = document.createElement("button");
      const arm = row.dataset.arm;
      button.type = "button";
      button.className = "pin";
      button.title = "keep on top and highlight in the figures";
      button.setAttribute("aria-label", `pin ${row.dataset.name}`);
      button.addEventListener("click", () => pin(arm));
      row.cells[0].prepend(button);
      buttons.set(arm, button);
    }
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
      const upward = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", upward ? "ascending" : "descending");
      sorted = { column, sign: upward ? 1 : -1 };
      order();
    }));
    field.addEventListener("input", show);
    tools.querySelector(".filter").hidden = false;
    show();
  }
}
