// One screen. It always shows something: its content until that ends, then the store's default,
// and a greeting before there is any. All text comes in as text, never as markup.

import { scallops, scene } from "./art.js";
import { element, follow, initial, post, priceParts, priceText, say, toneOf } from "./link.js";

const stage = document.getElementById("stage");
const id = encodeURIComponent(initial.screen);
const isStill = matchMedia("(prefers-reduced-motion: reduce)");
const LINE_SLACK = 0.25, TAG_FILL = 0.74;
const LONG_TEXT = 60, HOURS_TOLD = 2, DAY_H = 24;
const OTHERS = 3, LEAVE_MS = 600, UNSENT_MAX = 32, RETRY_MS = 3000;

let view = initial;
let endsAt = null;
let shownKey = null, shownSince = -Infinity;
let endTimer = 0, holdTimer = 0;

// --- what to show -----------------------------------------------------------------------------

function take(update) {
  view = update;
  endsAt = update.left_ms === null ? null : performance.now() + update.left_ms;
  settle();
}

function settle() {
  clearTimeout(endTimer);
  const left = endsAt === null ? Infinity : endsAt - performance.now();
  const isOver = left <= 0;
  if (!isOver && left !== Infinity) endTimer = setTimeout(settle, Math.min(left + 20, 2 ** 30));
  const content = isOver ? view.fallback : view.content;
  show(content, isOver || left === Infinity ? null : { left, whole: view.whole_ms });
}

function show(content, time) {
  const key = content ? JSON.stringify([content, time !== null]) : "";
  if (key === shownKey) { if (time) runBar(time); return; }
  clearTimeout(holdTimer);
  const held = shownSince + view.hold_ms - performance.now();
  if (held > 0) { holdTimer = setTimeout(settle, held); return; }
  const isFirst = shownKey === null;
  shownKey = key;
  shownSince = performance.now();
  draw(content, time, isFirst);
  if (content) afterPaint(() => tell("shown", content.decision));
}

// A decision counts as shown when it was painted on a page that somebody can see.
function afterPaint(then) {
  requestAnimationFrame(() => requestAnimationFrame(() => {
    if (document.visibilityState === "visible") then();
  }));
}

// --- how it looks -----------------------------------------------------------------------------

function draw(content, time, isFirst) {
  const poster = content ? recommendation(content) : greeting();
  if (time) {
    poster.classList.add("timed");
    const bar = element("div", "bar");
    bar.append(element("i"));
    poster.append(bar, element("div", "clock"));
  }
  for (const old of stage.children) {
    old.classList.add("leaving");
    old.setAttribute("aria-hidden", "true");
    old.inert = true;
    setTimeout(() => old.remove(), isStill.matches ? 0 : LEAVE_MS);
  }
  if (!isFirst) poster.classList.add("entering");
  stage.append(poster);
  fit(poster);
  if (time) runBar(time);
}

function recommendation(content) {
  const [hero, ...others] = content.items;
  const poster = element("article", `poster tone-${toneOf(content)}`);
  poster.dataset.decision = content.decision;
  const copy = element("button", "copy");
  copy.type = "button";
  copy.append(line("reason", hero.reason.text), element("h1", "title", hero.title));
  if (hero.offer) copy.append(offer(hero.offer));
  if (content.notice) copy.append(lengthy(line(`notice ${content.notice.kind}`, content.notice.text)));
  // What is beside the products is answered by a tap that names none of them.
  copy.addEventListener("click", (click) => tell("tapped", content.decision, click.target.closest(".notice") ? undefined : hero.product));
  const art = element("div", "art");
  art.append(scene(hero.product));
  if (hero.price) art.append(tag(hero.price, content.locale));
  else poster.classList.add("untagged");
  art.append(dismissal(content));
  poster.append(copy, art);
  if (others.length) poster.append(more(content, others.slice(0, OTHERS)));
  else poster.classList.add("single");
  return poster;
}

function greeting() {
  const poster = element("article", "poster single untagged tone-sage");
  const copy = element("div", "copy");
  copy.append(line("reason", say("welcome_reason")), element("h1", "title", say("welcome_title")), element("p", "blurb", say("welcome_text")));
  const art = element("div", "art");
  art.append(scene(`welcome ${initial.screen}`));
  poster.append(copy, art);
  return poster;
}

function line(className, text) {
  const made = element("p", className);
  made.append(element("span", "", text));
  return made;
}

// What the till is told to redeem it, and how long that can be done, stand under an offer's words.
function offer(told) {
  const made = lengthy(line("offer", told.text));
  const terms = element("small", "terms");
  if (told.code) terms.append(element("b", "code", told.code));
  if (told.left_h >= HOURS_TOLD) terms.append(element("i", "until", duration(told.left_h)));
  if (terms.children.length) made.append(terms);
  return made;
}

function duration(hours) {
  return hours >= 2 * DAY_H ? say("offer_days", Math.floor(hours / DAY_H)) : say("offer_h", hours);
}

function lengthy(made) {
  made.classList.toggle("long", made.textContent.length > LONG_TEXT);
  return made;
}

function tag(price, locale) {
  const made = element("div", "tag");
  const figure = element("p", "price");
  const parts = priceParts(price, locale);
  figure.setAttribute("aria-label", parts.map((part) => part.value).join(""));
  for (const part of parts) {
    if (part.type === "decimal") continue;
    if (part.type === "literal" && !part.value.trim()) continue;
    const className = { fraction: "minor", currency: "sign" }[part.type] ?? "major";
    figure.append(element("span", className, part.value));
  }
  made.append(scallops(), figure);
  return made;
}

function more(content, others) {
  const shelf = element("section", "more");
  shelf.append(element("h2", "", say("also")));
  for (const item of others) {
    const other = element("button", "other");
    other.type = "button";
    other.append(element("span", "name", item.title));
    other.append(item.price ? element("span", "cost", priceText(item.price, content.locale)) : element("span", "cost none"));
    if (item.offer) other.append(element("span", "deal", [item.offer.code, item.offer.text].filter(Boolean).join(" · ")));
    other.addEventListener("click", () => {
      other.classList.add("tapped");
      tell("tapped", content.decision, item.product);
    });
    shelf.append(other);
  }
  return shelf;
}

function dismissal(content) {
  const button = element("button", "dismiss", say("no_thanks"));
  button.type = "button";
  button.addEventListener("click", () => {
    tell("dismissed", content.decision);
    if (view.content && view.content.decision === content.decision) {
      endsAt = -Infinity;
      shownSince = -Infinity;
      settle();
    }
  });
  return button;
}

// The title is as large as its place allows, down to what can still be read from three metres.
function fit(poster) {
  const title = poster.querySelector(".title"), copy = poster.querySelector(".copy");
  title.style.fontSize = "";
  let size = parseFloat(getComputedStyle(title).fontSize);
  const least = size * 0.36;
  // Tall letters stick out of tight lines by some tenths of their size; that is no overflow.
  const isTooLarge = () => title.scrollHeight > title.clientHeight + size * LINE_SLACK || isCrowded(copy) || hasBrokenWord(title);
  while (size > least && isTooLarge()) {
    size *= 0.94;
    title.style.fontSize = `${size}px`;
  }
  fitPrice(poster);
}

// All lines stand in the middle, so what does not fit sticks out at the top as well.
function isCrowded(copy) {
  const least = copy.getBoundingClientRect().top + parseFloat(getComputedStyle(copy).paddingTop);
  return copy.firstElementChild.getBoundingClientRect().top < least - 1;
}

function fitPrice(poster) {
  const price = poster.querySelector(".price");
  if (!price) return;
  price.style.fontSize = "";
  const size = parseFloat(getComputedStyle(price).fontSize);
  const share = (price.parentElement.offsetWidth * TAG_FILL) / price.scrollWidth;
  if (share < 1) price.style.fontSize = `${size * share}px`;
}

// `overflow-wrap: anywhere` breaks a long word rather than overflowing; a smaller size is nicer.
function hasBrokenWord(title) {
  title.style.overflowWrap = "normal";
  const isBroken = title.scrollWidth > title.clientWidth;
  title.style.overflowWrap = "";
  return isBroken;
}

function runBar(time) {
  const fill = stage.querySelector(".poster:not(.leaving) .bar i");
  if (!fill) return;
  fill.style.transition = "none";
  fill.style.transform = `scaleX(${Math.min(1, time.left / time.whole)})`;
  if (!isStill.matches) {
    void fill.offsetWidth;
    fill.style.transition = `transform ${time.left}ms linear`;
    fill.style.transform = "scaleX(0)";
  }
  tickClock();
}

function tickClock() {
  if (endsAt === null) return;
  const left = Math.max(0, endsAt - performance.now());
  const label = stage.querySelector(".poster:not(.leaving) .clock");
  if (label) label.textContent = left > 90000 ? say("min_left", Math.round(left / 60000)) : say("s_left", Math.ceil(left / 1000));
  const fill = stage.querySelector(".poster:not(.leaving) .bar i");
  if (fill && isStill.matches) fill.style.transform = `scaleX(${Math.min(1, left / view.whole_ms)})`;
}

// --- what became of it ------------------------------------------------------------------------

const told = new Set();
let unsent = [];

function tell(kind, decision, product) {
  const key = JSON.stringify([kind, decision, product ?? ""]);
  if (told.has(key)) return;
  told.add(key);
  if (told.size > 500) told.delete(told.values().next().value);
  unsent.push({ kind, decision, ...(product === undefined ? {} : { product }) });
  unsent = unsent.slice(-UNSENT_MAX);
  void send();
}

let isSending = false;
async function send() {
  if (isSending) return;
  isSending = true;
  try {
    while (unsent.length) {
      const next = unsent[0];
      const status = await post(`/screen/${id}/feedback`, next);
      if (status >= 500) throw new Error(String(status));
      unsent = unsent.filter((each) => each !== next);
    }
  } catch {
    setTimeout(send, RETRY_MS);
  } finally {
    isSending = false;
  }
}

take(initial);
follow(`/stream/screen/${id}`, take);
setInterval(tickClock, 1000);
addEventListener("resize", () => { for (const poster of stage.children) fit(poster); });
document.fonts?.ready.then(() => { for (const poster of stage.children) fit(poster); });
