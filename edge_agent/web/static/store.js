// The overview of the screens (/) and the dashboard (/store), from one stream.

import { scene, svg } from "./art.js";
import { element, follow, initial, priceText, say, toneOf } from "./link.js";

const board = document.getElementById("board");
const isIndex = initial.page === "index";
const ALERTS_SHOWN = 12;
board.className = initial.page;

const screens = new Map(), teams = new Map(), cards = new Map();
let agent = initial.agent, counters = initial.counters;

const parts = {};
function section(name, title) {
  const made = element("section", name);
  if (title) made.append(element("h2", "head", title));
  parts[name] = element("div", { screens: "wall", staff: "teams", waiting: "alerts", numbers: "figures" }[name]);
  made.append(parts[name]);
  board.append(made);
}
if (!isIndex) { section("numbers"); section("waiting", say("alerts")); }
section("screens", say("screens"));
section("staff", say("staff"));

function take(update) {
  const heard = performance.now();
  for (const each of update.screens) screens.set(each.screen, { ...each, heard });
  for (const each of update.teams) teams.set(each.team, { ...each, heard });
  if ("agent" in update) { agent = update.agent; counters = update.counters; }
  for (const each of update.screens) drawScreen(screens.get(each.screen));
  if (!screens.size) parts.screens.replaceChildren(element("p", "none", say("no_screens")));
  drawTeams();
  if (!isIndex) { drawNumbers(); drawAlerts(); }
}

function drawScreen(view) {
  const name = view.screen;
  let card = cards.get(name);
  if (!card) {
    if (!cards.size) parts.screens.replaceChildren();
    card = element("a", "card");
    card.href = `/screen/${encodeURIComponent(name)}`;
    cards.set(name, card);
    const after = [...cards.keys()].filter((other) => other > name).sort()[0];
    parts.screens.insertBefore(card, after === undefined ? null : cards.get(after));
  }
  const key = JSON.stringify([view.content, view.is_private, view.is_default]);
  if (card.dataset.key !== key) {
    card.dataset.key = key;
    const isLive = !view.is_default;
    const foot = element("div", "foot");
    foot.append(element("span", "name", name), element("span", isLive ? "mode live" : "mode", say(isLive ? "live" : "default_content")));
    card.replaceChildren(thumb(view), foot);
  }
  drawLeft(view);
}

function thumb(view) {
  const content = view.content, hero = content?.items[0];
  const made = element("div", `thumb tone-${toneOf(content)}`);
  const text = element("div", "text");
  const art = element("div", "art");
  if (view.is_private) text.append(element("span", "why", say("private")));
  else text.append(element("span", "why", hero ? hero.reason.text : say("welcome_reason")), element("span", "what", hero ? hero.title : say("welcome_title")));
  if (hero?.offer) text.append(element("span", "with", hero.offer.text));
  art.append(scene(hero ? hero.product : `welcome ${view.screen}`));
  made.append(text, art);
  if (hero?.price) made.append(element("span", "cost", priceText(hero.price, content.locale)));
  if (view.left_ms !== null) {
    const left = element("div", "left");
    left.append(element("i"));
    made.append(left);
  }
  return made;
}

function drawLeft(view) {
  const fill = cards.get(view.screen)?.querySelector(".left i");
  if (!fill || view.left_ms === null) return;
  const left = Math.max(0, view.left_ms - (performance.now() - view.heard));
  fill.style.transform = `scaleX(${Math.min(1, left / view.whole_ms)})`;
}

function openAlerts(team) {
  return team.alerts.filter((each) => each.outcome === "open").length;
}

function drawTeams() {
  parts.staff.replaceChildren();
  for (const team of [...teams.values()].sort((a, b) => (a.team < b.team ? -1 : 1))) {
    const made = element("a", "team", team.team);
    made.href = `/staff/${encodeURIComponent(team.team)}`;
    const n = openAlerts(team);
    made.append(element("b", n ? "" : "zero", String(n)));
    parts.staff.append(made);
  }
  if (!teams.size) parts.staff.append(element("p", "none", say("no_teams")));
}

function figure(className, label, value, note) {
  const made = element("div", `figure ${className}`);
  made.append(element("div", "label", label), value instanceof Node ? value : element("div", "value", value));
  if (note) made.append(element("div", "note", note));
  return made;
}

function drawNumbers() {
  const isGood = agent?.status === "online" && agent.health !== "degraded";
  const state = element("div", "value text", say(`agent_${agent?.status ?? "unknown"}`));
  const note = agent ? [say(`health_${agent.health}`), agent.version, ...agent.problems].join(" · ") : "";
  const counts = counters.per_minute, rate = element("div", "rate");
  rate.append(element("div", "value", String(counts.at(-2) ?? 0)), sparkline(counts));
  const nOpen = [...teams.values()].reduce((sum, team) => sum + openAlerts(team), 0);
  parts.numbers.replaceChildren(
    figure(`agent ${agent ? (isGood ? "good" : "bad") : ""}`, say("agent"), state, note),
    figure("rate-figure", say("per_minute"), rate, say("last_hour")),
    figure("", say("recommendations"), counters.recommendations.toLocaleString(initial.locale), say("since_start")),
    figure("", say("open_alerts"), String(nOpen), counters.refused ? `${say("refused")}: ${counters.refused}` : ""),
  );
}

function sparkline(counts) {
  const most = Math.max(1, ...counts), w = 240, h = 60;
  const points = counts.map((count, i) => `${((i / (counts.length - 1)) * w).toFixed(1)} ${(h - 2 - (count / most) * (h - 6)).toFixed(1)}`);
  const path = `M${points.join("L")}`;
  const picture = svg("svg", { viewBox: `0 0 ${w} ${h}`, preserveAspectRatio: "none", class: "spark", role: "img", "aria-label": `${say("per_minute")}: ${counts.join(" ")}` });
  picture.append(svg("path", { d: `${path}L${w} ${h}L0 ${h}Z`, class: "area" }), svg("path", { d: path, class: "line" }));
  return picture;
}

function age(seconds) {
  if (seconds < 5) return say("age_now");
  if (seconds < 90) return say("age_s", Math.floor(seconds));
  if (seconds < 5400) return say("age_min", Math.round(seconds / 60));
  return say("age_h", Math.round(seconds / 3600));
}

function alertRows() {
  const rows = [];
  for (const team of teams.values()) {
    const passed = ((performance.now() - team.heard) / 1000) * team.rate;
    for (const each of team.alerts) rows.push({ ...each, team: team.team, age: each.age_s + passed });
  }
  const isOpen = (each) => each.outcome === "open";
  rows.sort((a, b) => (isOpen(a) === isOpen(b) ? a.age - b.age : isOpen(a) ? -1 : 1));
  return rows.slice(0, ALERTS_SHOWN);
}

let drawnAlerts = "";
function drawAlerts() {
  const rows = alertRows();
  // Ages change every second, the rest seldom: only the ages are then written anew.
  const key = JSON.stringify(rows.map((each) => [each.team, each.decision, each.outcome]));
  if (key !== drawnAlerts) {
    drawnAlerts = key;
    parts.waiting.replaceChildren(...rows.map((each) => {
      const made = element("div", `alert ${each.outcome}`);
      made.append(element("span", "age"), element("span", "zone", each.zone), element("span", "text", each.text), element("span", "outcome", `${each.team} · ${say(`state_${each.outcome}`)}`));
      return made;
    }));
  }
  const ages = parts.waiting.querySelectorAll(".age");
  rows.forEach((each, i) => { ages[i].textContent = age(each.age); });
  if (!rows.length) parts.waiting.replaceChildren(element("p", "none", say("no_alerts")));
}

take(initial);
follow("/stream/store", take);
setInterval(() => { for (const view of screens.values()) drawLeft(view); if (!isIndex) drawAlerts(); }, 1000);
