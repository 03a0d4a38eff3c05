// A team's alerts on a handheld: newest first, what each is about, three answers, and what has been done.

import { element, follow, initial, post, say } from "./link.js";

const list = document.getElementById("alerts");
const path = `/staff/${encodeURIComponent(initial.team)}/feedback`;
// Who is on his way may find nobody there.
const ANSWERS = { open: ["acknowledged", "helped", "not_needed"], acknowledged: ["helped", "not_needed", "gone"] };
const CLOSED_SHOWN = 8, SOON_S = 30;

let view = initial, heard = performance.now();
// What was there when the page came needs no entrance.
const known = new Set(initial.alerts.map((each) => each.decision)), failed = new Set(), waiting = new Set();

function take(update) {
  view = update;
  heard = performance.now();
  draw();
}

function ageText(alert) {
  const seconds = alert.age_s + ((performance.now() - heard) / 1000) * view.rate;
  if (seconds < 5) return say("age_now");
  if (seconds < 90) return say("age_s", Math.floor(seconds));
  if (seconds < 5400) return say("age_min", Math.round(seconds / 60));
  return say("age_h", Math.round(seconds / 3600));
}

const isOpen = (alert) => alert.outcome === "open" || alert.outcome === "acknowledged";

function draw() {
  const open = view.alerts.filter(isOpen), closed = view.alerts.filter((each) => !isOpen(each));
  list.replaceChildren(...open.map(card));
  if (!open.length) list.append(element("p", "quiet", say("no_alerts")));
  if (closed.length) list.append(element("h2", "", say("done")), ...closed.slice(0, CLOSED_SHOWN).map(row));
  for (const each of view.alerts) known.add(each.decision);
}

function spanText(seconds) {
  return seconds < 90 ? say("for_s", Math.round(seconds)) : say("for_min", Math.round(seconds / 60));
}

function facts(alert) {
  const made = element("ul", "facts"), about = alert.context ?? {};
  const add = (text, name = "") => made.append(element("li", name, text));
  if (about.presses > 1) add(say("presses", about.presses), "strong");
  if (about.queue_length != null) add(say("in_queue", about.queue_length), "strong");
  if (about.product) add(about.product, "strong");
  if (about.lifts_and_returns) add(say("put_back", about.lifts_and_returns));
  if (alert.dwell_s) add(spanText(alert.dwell_s));
  for (const each of about.departments ?? []) add(each);
  return made;
}

function customerLine(customer) {
  const parts = [say("customer_asks")];
  if (customer.reference) parts.push(customer.reference);
  if (customer.interests.length) parts.push(say("likes", customer.interests.join(", ")));
  return element("p", "customer", parts.join(" · "));
}

function leftText(alert) {
  const left = alert.left_s - ((performance.now() - heard) / 1000) * view.rate;
  return left > 0 ? say("next_team_in", Math.ceil(left)) : "";
}

function followed(alert) {
  const made = element("p", "followed");
  if (alert.escalated_to) made.append(element("span", "", say("escalated_to", alert.escalated_to)));
  else if (alert.escalated_from) made.append(element("span", "", say("escalated_from", alert.escalated_from)));
  if (alert.left_s != null && alert.outcome === "open") {
    const left = element("span", "left", leftText(alert));
    left.classList.toggle("soon", alert.left_s < SOON_S);
    made.append(left);
  }
  return made;
}

function card(alert) {
  const made = element("article", `alert ${alert.outcome}${known.has(alert.decision) ? "" : " fresh"}`);
  made.dataset.decision = alert.decision;
  const head = element("div", "head");
  const age = element("span", "age", ageText(alert));
  head.append(element("span", "zone", alert.zone), age);
  const state = alert.outcome === "open" ? "" : ` · ${say(`state_${alert.outcome}`)}`;
  made.append(head, element("p", "kind", say(`kind_${alert.kind}`) + state), element("p", "text", alert.text));
  for (const part of [facts(alert), followed(alert)]) if (part.childElementCount) made.append(part);
  if (alert.context?.customer) made.append(customerLine(alert.context.customer));
  if (failed.has(alert.decision)) made.append(element("p", "failed", say("not_sent")));
  const buttons = element("div", "buttons");
  for (const outcome of ANSWERS[alert.outcome]) {
    const button = element("button", outcome, say(outcome));
    button.type = "button";
    button.disabled = waiting.has(alert.decision);
    button.addEventListener("click", () => void answer(alert, outcome));
    buttons.append(button);
  }
  made.append(buttons);
  return made;
}

function row(alert) {
  const made = element("div", "alert closed");
  made.append(element("span", "zone", alert.zone), element("span", "", ageText(alert)), element("span", "outcome", say(`state_${alert.outcome}`)));
  return made;
}

async function answer(alert, outcome) {
  waiting.add(alert.decision);
  failed.delete(alert.decision);
  draw();
  try {
    const status = await post(path, { decision: alert.decision, outcome });
    if (status >= 300) failed.add(alert.decision);
    else alert.outcome = outcome;
  } catch {
    failed.add(alert.decision);
  } finally {
    waiting.delete(alert.decision);
    draw();
  }
}

function tickAges() {
  for (const made of list.querySelectorAll("article.alert")) {
    const alert = view.alerts.find((each) => each.decision === made.dataset.decision);
    if (!alert) continue;
    made.querySelector(".age").textContent = ageText(alert);
    const left = made.querySelector(".left");
    if (left) left.textContent = leftText(alert);
  }
}

take(initial);
follow(`/stream/staff/${encodeURIComponent(initial.team)}`, take);
setInterval(tickAges, 1000);
