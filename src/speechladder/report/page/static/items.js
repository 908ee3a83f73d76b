// The pairs: those that the three lists ask for, under the norm of the page's switch.
(() => {
  "use strict";
  const list = (name) => document.getElementById(`items-${name}`);
  const pairs = [...document.querySelectorAll(".pair")];
  let norm = "sum";

  function fits(pair) {
    const [task, rung, answer] = ["task", "rung", "answer"].map((name) => list(name).value);
    if (task && pair.dataset.task !== task) return false;
    if (!answer) return true;
    const rungs = pair.getAttribute(`data-${answer}-${norm}`).split(" ").filter(Boolean);
    return rung ? rungs.includes(rung) : rungs.length === Number(pair.dataset.rungs);
  }

  function show() {
    for (const pair of pairs) {
      pair.hidden = !fits(pair);
      if (pair.hidden) for (const audio of pair.querySelectorAll("audio")) audio.pause();
    }
    for (const task of document.querySelectorAll(".pairs .task")) {
      task.hidden = !task.querySelector(".pair:not([hidden])");
    }
    const count = pairs.filter((pair) => !pair.hidden).length;
    list("count").textContent = `${count} of ${pairs.length} pairs`;
    document.querySelector(".pairs .none").hidden = count > 0;
    for (const part of document.querySelectorAll(".pairs [data-norm]")) part.hidden = part.dataset.norm !== norm;
  }

  document.addEventListener("change", ({ target }) => {
    if (target.dataset?.signal === "norm") norm = target.value;
    else if (!target.closest(".filters")) return;
    show();
  });
  for (const pair of pairs) {
    pair.addEventListener("toggle", () => {
      if (!pair.open) for (const audio of pair.querySelectorAll("audio")) audio.pause();
    });
  }
  show();
})();
