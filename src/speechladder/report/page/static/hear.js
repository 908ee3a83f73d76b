// Audio: one plays at a time, a line shows where it is, and a waveform can be clicked. Durations are read on sight.
(() => {
  "use strict";
  const every = [...document.querySelectorAll("audio")];

  function place(audio) {
    return audio.id === "moment-audio" ? document.getElementById("timeline") : audio.parentElement.querySelector(".wave");
  }

  function show(audio) {
    const line = place(audio)?.querySelector(".playhead");
    const seconds = audio.duration || Number(audio.dataset.seconds);
    if (line) {
      line.style.left = `${Math.min(100, (100 * audio.currentTime) / seconds)}%`;
      line.dataset.on = "true";
    }
    if (!audio.paused) requestAnimationFrame(() => show(audio));
  }

  function seek(audio, event) {
    const box = event.currentTarget.getBoundingClientRect();
    audio.currentTime = (Number(audio.dataset.seconds) * (event.clientX - box.left)) / box.width;
    audio.play().catch(() => {});
  }

  for (const audio of every) {
    audio.addEventListener("play", () => {
      for (const other of every) if (other !== audio) other.pause();
      show(audio);
    });
    audio.addEventListener("seeked", () => show(audio));
    place(audio)?.addEventListener("click", (event) => seek(audio, event));
  }

  const seen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) if (isIntersecting) target.preload = "metadata";
  });
  for (const audio of every) seen.observe(audio);

  const choose = document.querySelector(".choose");
  if (choose) {
    const pick = () => {
      const { value } = choose.querySelector("input:checked");
      for (const prompt of document.querySelectorAll(".prompt")) {
        prompt.hidden = prompt.id !== value;
        if (prompt.hidden) for (const audio of prompt.querySelectorAll("audio")) audio.pause();
      }
    };
    choose.hidden = choose.querySelectorAll("input").length < 2;
    choose.addEventListener("change", pick);
    pick();
  }
})();
