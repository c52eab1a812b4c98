'use strict';
// The data: {types: [[type, unit]], chosen, names: [], samples: [[[name, ...] leaf first, [value, ...]]]}.
const data = JSON.parse(document.getElementById('data').textContent);
const graph = document.getElementById('graph'), search = document.getElementById('search');
const select = document.getElementById('type'), matched = document.getElementById('matched');
const detail = document.getElementById('detail'), inverted = document.getElementById('inverted');
const ROW = 18, LEAST_PIXELS = 0.7, LEAST_FOR_TEXT = 20;
let root, zoomed;

// _ZN3foo3barEv becomes foo::bar; what is more than nested names (templates, operators) stays as it is.
function readable(name) {
    let rest = /^_ZN?K?L?(\d.*)$/.exec(name);
    if (!rest)
        return name;
    const parts = [], nested = name.startsWith('_ZN');
    for (rest = rest[1]; ;) {
        const digits = /^\d+/.exec(rest);
        if (!digits)
            break;
        const part = rest.substr(digits[0].length, +digits[0]);
        rest = rest.substr(digits[0].length + +digits[0]);
        if (!/^h[0-9a-f]{16}$/.test(part))
            parts.push(part.replace(/^_?_GLOBAL__N_1$/, '(anonymous namespace)'));
        if (!nested)
            break;
    }
    return parts.length && (!nested || rest.startsWith('E')) ? parts.join('::') : name;
}
const names = data.names.map(readable);

function human(value, unit) {
    const scales = {bytes: [[2 ** 40, ' TiB'], [2 ** 30, ' GiB'], [2 ** 20, ' MiB'], [1024, ' KiB'], [1, ' B']],
                    nanoseconds: [[3.6e12, ' h'], [6e10, ' min'], [1e9, ' s'], [1e6, ' ms'], [1e3, ' µs'], [1, ' ns']]};
    for (const [size, word] of scales[unit] || [])
        if (value >= size)
            return (value / size).toFixed(size === 1 ? 0 : 2) + word;
    return String(value);
}
const unit = () => data.types[select.value][1];
const percent = value => (root.value ? 100 * value / root.value : 0).toFixed(2) + '%';

function build() {
    const type = +select.value;
    root = {name: -1, value: 0, self: 0, children: new Map(), parent: null};
    for (const [stack, values] of data.samples) {
        const value = values[type];
        if (!value)
            continue;
        root.value += value;
        let node = root;
        for (const name of inverted.checked ? stack : stack.slice().reverse()) {
            let child = node.children.get(name);
            if (!child)
                node.children.set(name, child = {name, value: 0, self: 0, children: new Map(), parent: node});
            child.value += value;
            node = child;
        }
        node.self += value;
    }
    zoomed = root;
    draw();
}

const label = node => node.name < 0 ? 'all' : names[node.name];

function isHit(node) {
    const text = search.value.toLowerCase();
    return text !== '' && node.name >= 0 &&
        (label(node).toLowerCase().includes(text) || data.names[node.name].toLowerCase().includes(text));
}

// What lies below a frame that matches counts once.
function sumHits(node) {
    if (isHit(node))
        return node.value;
    let sum = 0;
    for (const child of node.children.values())
        sum += sumHits(child);
    return sum;
}

function color(node) {
    let hash = 0;
    for (const c of label(node))
        hash = (hash * 31 + c.charCodeAt(0)) >>> 0;
    return `hsl(${18 + hash % 38} ${70 + hash % 20}% ${62 + (hash >> 6) % 12}%)`;
}

function place(node, depth, left, width, outer) {
    const box = document.createElement('div');
    box.textContent = label(node);
    box.title = `${label(node)}${node.name >= 0 && label(node) !== data.names[node.name] ? ' = ' + data.names[node.name] : ''}\n` +
        `${human(node.value, unit())} (${percent(node.value)}), itself ${human(node.self, unit())}`;
    box.style.left = left + 'px';
    box.style.width = width + 'px';
    box.style.top = depth * ROW + 'px';
    box.style.background = color(node);
    const classes = {outer, hit: isHit(node), narrow: width < LEAST_FOR_TEXT};
    box.className = Object.keys(classes).filter(name => classes[name]).join(' ');
    box.onclick = () => { zoomed = node; draw(); };
    box.onmouseover = () => { detail.textContent = box.title.replace('\n', ': '); };
    graph.append(box);
}

function draw() {
    const width = graph.clientWidth, path = [];
    let deepest = 0;
    graph.replaceChildren();
    for (let node = zoomed.parent; node; node = node.parent)
        path.unshift(node);
    path.forEach((node, depth) => place(node, depth, 0, width, true));
    const todo = [[zoomed, path.length, 0]];
    while (todo.length) {
        const [node, depth, left] = todo.pop();
        const own = zoomed.value ? width * node.value / zoomed.value : width;
        place(node, depth, left, own, false);
        deepest = Math.max(deepest, depth);
        let at = left;
        for (const child of [...node.children.values()].sort((a, b) => label(a) < label(b) ? -1 : 1)) {
            const share = width * child.value / zoomed.value;
            if (share >= LEAST_PIXELS)
                todo.push([child, depth + 1, at]);
            at += share;
        }
    }
    graph.style.height = (deepest + 1) * ROW + 'px';
    matched.textContent = search.value ? `matched ${percent(sumHits(root))}` : '';
}

// #search=text&type=alloc_space: a view that can be sent to somebody.
const wanted = new URLSearchParams(location.hash.slice(1));
search.value = wanted.get('search') || '';
const chosen = data.types.findIndex(([type]) => type === wanted.get('type'));
if (chosen >= 0)
    data.chosen = chosen;
data.types.forEach(([type], i) => select.append(new Option(type, i, i === data.chosen, i === data.chosen)));
select.onchange = inverted.onchange = build;
search.oninput = draw;
document.getElementById('reset').onclick = () => { zoomed = root; search.value = ''; draw(); };
window.onresize = draw;
build();
