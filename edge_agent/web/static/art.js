// Cut-paper patterns of a grocery shelf, drawn from a product's id alone: the same product, the
// same picture. They are decoration and on purpose no picture of the product.

const NS = "http://www.w3.org/2000/svg";
const TILE = 200, COLUMNS = 4, ROWS = 5;

function hash(text) {
  let value = 2166136261;
  for (let i = 0; i < text.length; i += 1) value = Math.imul(value ^ text.charCodeAt(i), 16777619);
  return value >>> 0;
}

function dice(seed) {
  let state = seed || 1;
  return () => {
    state ^= state << 13; state ^= state >>> 17; state ^= state << 5;
    return (state >>> 0) / 4294967296;
  };
}

export function svg(name, attributes, ...children) {
  const element = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const shape = (ink, d) => svg("path", { class: `f-${ink}`, d });
const stroke = (ink, width, d) => svg("path", { class: `s-${ink}`, d, fill: "none", "stroke-width": width, "stroke-linecap": "round", "stroke-linejoin": "round" });
const disc = (ink, cx, cy, r) => svg("circle", { class: `f-${ink}`, cx, cy, r });

// Each motif is drawn around the middle of its tile, in three inks: main, second, light.
const MOTIFS = {
  citrus(a, b, c) {
    const parts = [disc(a, 0, 0, 82), disc(c, 0, 0, 71)];
    for (let i = 0; i < 8; i += 1) {
      const wedge = shape(a, "M0-12C-9-26-17-42-20-56Q0-68 20-56C17-42 9-26 0-12Z");
      wedge.setAttribute("transform", `rotate(${i * 45})`);
      parts.push(wedge);
    }
    return parts;
  },
  pear: (a, b, c) => [
    shape(a, "M0-66C27-66 24-26 39 2 64 48 34 84 0 84S-64 48-39 2C-24-26-27-66 0-66Z"),
    stroke(c, 7, "M0-62C1-74 4-82 11-90"), shape(b, "M5-76C16-96 38-96 52-84 38-70 18-68 5-76Z"),
    stroke(c, 7, "M-32 36Q-30 54-18 62"),
  ],
  leaf: (a, b, c) => [shape(a, "M-70 70C-84-20-30-78 72-72 78 20 20 84-70 70Z"), stroke(c, 6, "M-66 66L40-40M-34 34V-14M-34 34H14M-2 2V-34M-2 2H34")],
  sprig(a) {
    const parts = [stroke(a, 7, "M0 88V-60")];
    for (let i = 0; i < 4; i += 1) {
      const y = 62 - i * 36;
      parts.push(shape(a, `M3 ${y}C12 ${y - 30} 40 ${y - 40} 62 ${y - 34} 58 ${y - 10} 34 ${y + 2} 3 ${y}Z`), shape(a, `M-3 ${y}C-12 ${y - 30}-40 ${y - 40}-62 ${y - 34}-58 ${y - 10}-34 ${y + 2}-3 ${y}Z`));
    }
    parts.push(shape(a, "M0-42C-20-58-16-80 0-94 16-80 20-58 0-42Z"));
    return parts;
  },
  loaf: (a, b, c) => [
    shape(a, "M-82 50C-96-8-58-52 0-52S96-8 82 50Q80 60 70 60H-70Q-80 60-82 50Z"),
    stroke(c, 9, "M-44-22q16 16 10 40M-4-28q16 16 10 40M36-22q16 16 10 40"),
  ],
  bottle: (a, b, c) => [
    shape(c, "M-20-90H20V-52C20-36 42-30 42-4V76Q42 88 30 88H-30Q-42 88-42 76V-4C-42-30-20-36-20-52Z"),
    shape(a, "M-24-92H24V-72H-24Z"), shape(b, "M-42 8Q-21-4 0 8T42 8V56Q21 68 0 56T-42 56Z"),
  ],
  cheese: (a, b, c) => [
    shape(a, "M-84 12L40-56C66-52 84-30 84 0V60H-84Z"), shape(c, "M-84 12H84V22H-84Z"),
    disc(c, -34, 42, 12), disc(c, 18, 46, 8), disc(c, 50, 36, 13), disc(c, 38, -16, 11),
  ],
  fish: (a, b, c) => [
    shape(a, "M-86 0C-52-48 14-52 52-8L88-40V40L52 8C14 52-52 48-86 0Z"),
    disc(c, -50, -8, 8), stroke(c, 6, "M-26-28Q-12 0-26 28M4-22Q14-10 14 0M4 22Q14 10 14 0M28-12Q34 0 28 12"),
  ],
  egg: (a, b, c) => [shape(c, "M-8-76C46-82 88-34 78 18 70 66 26 86-16 76-64 74-90 30-76-16-66-52-44-72-8-76Z"), disc(a, 6, 6, 36), stroke(c, 7, "M-10-8Q-6-16 4-18")],
  tomato: (a, b, c) => [
    shape(a, "M0-44C50-72 92-28 82 22 72 72 34 84 0 76-34 84-72 72-82 22-92-28-50-72 0-44Z"),
    shape(b, "M0-40L-44-56-22-64-26-86 0-68 26-86 22-64 44-56Z"), stroke(c, 8, "M-58 6Q-58 34-38 50"),
  ],
  carrot: (a, b, c) => [
    shape(a, "M-78 84C-72 30-34-30 12-48 40-56 56-40 48-12 30 34-30 72-78 84Z"),
    shape(b, "M26-44C14-74 28-92 46-94 58-78 52-58 34-42 52-58 76-60 92-46 86-28 64-20 42-32Z"),
    stroke(c, 6, "M-30 22L-14 34M0-14L18 2M-48 56L-40 62"),
  ],
  berries: (a, b, c) => [
    stroke(b, 6, "M0-84Q-34-40-40 14M0-84Q34-50 42 0M0-84Q2-20 4 50"),
    disc(a, -42, 26, 31), disc(a, 44, 12, 31), disc(a, 4, 58, 31),
    shape(b, "M0-80C10-98 40-100 62-84 46-66 18-64 0-80Z"), disc(c, -51, 17, 7), disc(c, 35, 3, 7), disc(c, -5, 49, 7),
  ],
  cup: (a, b, c) => [shape(a, "M-66-30H42V20C42 58 20 76-12 76S-66 58-66 20Z"), stroke(a, 14, "M42-14C84-18 84 40 38 38"), stroke(c, 7, "M-36-52q-12-14 0-26M0-52q-12-14 0-26"), shape(c, "M-66-30H42V-16H-66Z")],
};

const NAMES = Object.keys(MOTIFS);
// Ground, main, second and light ink of a tile, as the tones of the poster.
const INKS = [["0", "3", "4", "p"], ["2", "4", "3", "p"], ["3", "0", "2", "p"], ["4", "0", "2", "p"], ["p", "2", "3", "4"], ["0", "4", "3", "p"], ["2", "p", "3", "4"]];

// A pattern of 800 by 1000 that may be cut at any side.
export function scene(product) {
  const roll = dice(hash(product));
  for (let i = 0; i < 8; i += 1) roll();
  const picture = svg("svg", { viewBox: `0 0 ${TILE * COLUMNS} ${TILE * ROWS}`, preserveAspectRatio: "xMidYMid slice", class: "scene", "aria-hidden": "true" });
  const order = [...NAMES], inks = [];
  for (let i = order.length - 1; i > 0; i -= 1) {
    const j = Math.floor(roll() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  const shift = 3 + Math.floor(roll() * 2);
  for (let i = 0; i < COLUMNS * ROWS; i += 1) {
    const above = inks[i - COLUMNS], left = i % COLUMNS ? inks[i - 1] : -1;
    let ink = Math.floor(roll() * INKS.length);
    const clashes = () => [above, left].some((other) => other >= 0 && INKS[other][0] === INKS[ink][0]);
    for (let tries = 0; tries < INKS.length && clashes(); tries += 1) ink = (ink + 1) % INKS.length;
    inks.push(ink);
    const motif = order[(i + Math.floor(i / COLUMNS) * shift) % order.length];
    picture.append(tile(i, INKS[ink], motif, Math.round(roll() * 16 - 8)));
  }
  return picture;
}

function tile(i, [ground, a, b, c], motif, turn) {
  const x = (i % COLUMNS) * TILE, y = Math.floor(i / COLUMNS) * TILE;
  const drawn = svg("g", { transform: `translate(${TILE / 2} ${TILE / 2}) rotate(${turn}) scale(.86)` }, ...MOTIFS[motif](a, b, c));
  // A hair larger than its place, so that no seam shows between two tiles.
  return svg("g", { transform: `translate(${x} ${y})` }, svg("rect", { width: TILE + 0.6, height: TILE + 0.6, class: `f-${ground}` }), svg("g", { class: "drift" }, drawn));
}

// The scalloped edge of a price tag.
export function scallops(n = 18) {
  const point = (i, r) => { const a = (i / n) * Math.PI; return `${(50 + Math.cos(a) * r).toFixed(2)} ${(50 + Math.sin(a) * r).toFixed(2)}`; };
  let d = `M${point(0, 46)}`;
  for (let i = 0; i < n; i += 1) d += `Q${point(i * 2 + 1, 53)} ${point(i * 2 + 2, 46)}`;
  return svg("svg", { viewBox: "0 0 100 100", "aria-hidden": "true" }, svg("path", { d: `${d}Z` }));
}
