// Fill in what is known of the runs on this machine (.retune/runs/runs.js); the page itself tells nothing of time.
const space = "\u00a0";
const shown = {
  count: (run, of) => Math.round(run[of]).toLocaleString("en-US"),
  quantity: (run, of) => {
    const [limit, unit] = [[1e9, "B"], [1e6, "M"], [1e3, "k"]].find(([limit]) => run[of] >= limit) || [1, ""];
    return `${Number((run[of] / limit).toPrecision(3))}${unit && space + unit}`;
  },
  gibibytes: (run, of) => `${run[of].toFixed(2)}${space}GiB`,
  duration: (run, of) => {
    const seconds = run[of], minutes = Math.floor(Math.round(seconds) / 60);
    if (seconds < 60) return `${seconds.toFixed(1)}${space}s`;
    const two = (number) => String(number).padStart(2, "0");
    if (minutes < 60) return `${minutes}${space}min ${two(Math.round(seconds) % 60)}${space}s`;
    return `${Math.floor(minutes / 60)}${space}h ${two(minutes % 60)}${space}min`;
  },
  machine: (run) => {
    const parts = [run.device, run.dtype, run.attention].filter(Boolean);
    if (run.threads) parts.push(`${run.threads}${space}thread${run.threads === 1 ? "" : "s"}`);
    if (run.processes > 1) parts.push(`${run.processes}${space}processes`);
    return parts.join(", ");
  },
};
for (const cell of document.querySelectorAll("[data-run]")) {
  const run = (window.retuneRuns || {})[cell.dataset.run], { of, shown: how } = cell.dataset;
  if (run && (of === "" || typeof run[of] === "number")) cell.textContent = shown[how](run, of);
}
