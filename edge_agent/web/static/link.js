// The page's line to its server: the first state, the stream of states, posts, and being offline.

export const initial = JSON.parse(document.getElementById("initial").textContent);
export const words = initial.words;

const QUIET_MS = 16000; // three beats of the server and a little
const MARK_AFTER_MS = 2500; // a blink of the link is nobody's business

export function say(key, n) {
  return (words[key] ?? key).replace("{n}", String(n ?? ""));
}

export function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

export function toneOf(content) {
  if (!content) return "sage";
  const code = content.items[0].reason.code;
  return { bought_together: "green", you_often_buy: "plum", on_offer: "tomato", popular_now: "sun", popular: "sea" }[code] ?? "sage";
}

export function priceParts(price, locale = initial.locale) {
  const amount = Number(price.amount);
  try {
    return new Intl.NumberFormat(locale, { style: "currency", currency: price.currency }).formatToParts(amount);
  } catch {
    return [{ type: "literal", value: `${price.amount} ${price.currency}` }];
  }
}

export function priceText(price, locale) {
  return priceParts(price, locale).map((part) => part.value).join("");
}

export function follow(path, onUpdate) {
  const mark = document.getElementById("offline");
  let source = null, lastHeard = performance.now(), linked = initial.is_linked, waitMs = 1000;
  mark.textContent = say("offline");

  function open() {
    source = new EventSource(path);
    source.addEventListener("update", (event) => {
      lastHeard = performance.now();
      waitMs = 1000;
      const update = JSON.parse(event.data);
      if (update.build !== initial.build) { location.reload(); return; }
      linked = update.is_linked;
      onUpdate(update);
      look();
    });
    source.addEventListener("error", () => {
      if (source.readyState !== EventSource.CLOSED) return;
      reopen();
    });
  }
  function reopen() {
    source.close();
    setTimeout(open, waitMs);
    waitMs = Math.min(waitMs * 2, 15000);
  }
  let downSince = null;
  function look() {
    const now = performance.now();
    const isDown = !linked || source.readyState !== EventSource.OPEN || now - lastHeard > QUIET_MS;
    if (!isDown) downSince = null;
    else downSince ??= now;
    mark.hidden = downSince === null || now - downSince < MARK_AFTER_MS;
    if (now - lastHeard > QUIET_MS * 2) { lastHeard = now; reopen(); }
  }
  open();
  setInterval(look, 500);
}

export async function post(path, body) {
  const answer = await fetch(path, {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
    credentials: "omit", redirect: "error",
  });
  return answer.status;
}
