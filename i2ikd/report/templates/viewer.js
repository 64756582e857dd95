{
  const viewer = document.querySelector(".viewer");
  if (viewer) {
    const part = (name) => viewer.querySelector(`.${name}`);
    const strips = [...document.querySelectorAll("#images .strip")];
    const [volume, left, right, shown, divider, blink] =
      ["volume", "left", "right", "shown", "divider", "blink"].map((name) => part(name));
    const [under, over] = viewer.querySelectorAll(".stage img");
    let timer = null;

    const tiles = () => [...strips[volume.value].querySelectorAll(".tile")];
    const fill = (select, names, chosen) => {
      const before = select.value || chosen;
      select.replaceChildren(...names.map((name) => new Option(name, name)));
      select.value = names.includes(before) ? before : names[0];
    };
    const source = (name) => {
      const tile = tiles().find((each) => each.dataset.tile === name);
      const image = tile.querySelector(shown.value === "error" ? "img.error" : ".picture > img");
      return (image ?? tile.querySelector(".picture > img")).src;
    };
    const divide = () => {
      over.style.clipPath = timer ? "none" : `inset(0 0 0 ${divider.value}%)`;
      part("line").style.left = `${divider.value}%`;
    };
    const draw = () => {
      under.src = source(left.value);
      over.src = source(right.value);
      under.alt = left.value;
      over.alt = right.value;
      divide();
    };
    const change = () => {
      const names = tiles().map((tile) => tile.dataset.tile);
      fill(left, names, "target");
      fill(right, names, names.at(-1));
      draw();
    };
    const move = (event) => {
      if (!event.buttons || timer) return;
      const box = viewer.querySelector(".stage").getBoundingClientRect();
      divider.value = Math.round((100 * (event.clientX - box.left)) / box.width);
      divide();
    };

    volume.replaceChildren(...strips.map((strip, index) => new Option(strip.dataset.title, index)));
    volume.addEventListener("change", change);
    for (const select of [left, right, shown]) select.addEventListener("change", draw);
    divider.addEventListener("input", divide);
    viewer.querySelector(".stage").addEventListener("pointerdown", move);
    viewer.querySelector(".stage").addEventListener("pointermove", move);
    blink.addEventListener("click", () => {
      if (timer) clearInterval(timer);
      timer = timer ? null : setInterval(() => over.classList.toggle("out"), 600);
      if (!timer) over.classList.remove("out");
      blink.setAttribute("aria-pressed", timer !== null);
      part("line").hidden = divider.disabled = timer !== null;
      divide();
    });
    viewer.hidden = false;
    change();
  }
}
