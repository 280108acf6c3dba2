// Ages that count on, dates in the viewer's own zone, copy buttons, pages that follow what comes in, and a word when
// nothing can come in. The pages work without it.
'use strict';

const thin = '\u202f';
const by = id => document.getElementById(id);

// The same words as `age` in format.rs.
function age(ms) {
  const minutes = Math.floor(ms / 60000), hours = Math.floor(minutes / 60), days = Math.floor(hours / 24);
  if (minutes < 1) return 'just now';
  if (hours < 1) return minutes + thin + 'min ago';
  if (hours < 48) return hours + thin + 'h ago';
  if (days < 60) return days + ' days ago';
  if (days < 730) return Math.floor(days / 30) + ' months ago';
  return Math.floor(days / 365) + ' years ago';
}

function count() {
  for (const time of document.querySelectorAll('time[data-ago]')) {
    const text = age(Date.now() - Date.parse(time.dateTime));
    if (time.textContent !== text) time.textContent = text;
  }
}

async function copy(button) {
  const input = by(button.dataset.copy);
  input.select();
  try {
    if (navigator.clipboard) await navigator.clipboard.writeText(input.value);
    else document.execCommand('copy');
    button.textContent = 'Copied';
    setTimeout(() => { button.textContent = 'Copy'; }, 2000);
  } catch { /* it is selected: the keyboard still copies it */ }
}

// A chart says what was told when, under a pointer and by the arrow keys. Without this, browsers show it by themselves.
function tell(chart) {
  const points = [...chart.querySelectorAll('.points path')];
  if (!points.length) return;
  const told = points.map(point => point.textContent), said = document.createElement('output');
  for (const point of points) point.replaceChildren();
  chart.parentNode.append(said);
  let at = points.length;
  const show = number => {
    points[at]?.classList.remove('on');
    at = Math.max(0, Math.min(number, points.length));
    points[at]?.classList.add('on');
    said.textContent = told[at] ?? '';
  };
  const nearest = x => points.map(point => Math.abs(point.getBoundingClientRect().x - x)).reduce((best, off, number, all) => off < all[best] ? number : best, 0);
  const hide = () => show(points.length);
  chart.tabIndex = 0;
  chart.addEventListener('keydown', event => {
    const to = { ArrowLeft: at - 1, ArrowRight: Math.min(at + 1, points.length - 1), Home: 0, End: points.length - 1, Escape: points.length }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    show(to);
  });
  for (const kind of ['pointerdown', 'pointermove']) chart.addEventListener(kind, event => show(nearest(event.clientX)));
  // A finger leaves as soon as it has touched.
  chart.addEventListener('pointerleave', event => event.pointerType === 'touch' || hide());
  chart.addEventListener('blur', hide);
}

// What a page gets that was just drawn, and a part that was drawn anew.
function dress(part) {
  for (const time of part.querySelectorAll('time')) {
    const local = new Date(time.dateTime).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' });
    if ('date' in time.dataset) time.textContent = local;
    time.title = local;
  }
  part.querySelectorAll('.chart > svg').forEach(tell);
  for (const button of part.querySelectorAll('button[data-copy]')) {
    button.hidden = false;
    button.addEventListener('click', () => copy(button));
  }
}
dress(document);
setInterval(count, 20000);

// What was done is said once.
const address = new URL(location.href);
if (address.searchParams.has('done')) {
  address.searchParams.delete('done');
  history.replaceState(null, '', address);
}

// A link to a folded part opens it.
const part = location.hash.length > 1 && by(location.hash.slice(1))?.closest('details');
if (part) part.open = true;

// Pressed once is enough: cars take their time.
for (const button of document.querySelectorAll('button[data-wait]')) {
  button.form.addEventListener('submit', () => {
    button.textContent = button.dataset.wait;
    setTimeout(() => { button.disabled = true; });
  });
}
// A page that a refused form was answered with has no address of its own: asked for again, it would be sent again.
const own = by('main').dataset.page;
const anew = () => own ? location.replace(own) : location.reload();
// Whoever comes back finds it as it is now.
addEventListener('pageshow', event => event.persisted && anew());

// A page that is kept open says when it can no longer be renewed.
const offline = by('offline'), lost = by('lost');
const connected = () => { offline.hidden = navigator.onLine; };
addEventListener('online', connected);
addEventListener('offline', connected);
connected();

// Parts that show what comes in are drawn anew by the server, and put in place of the old ones. What somebody has
// opened stays open, and where somebody is typing nothing is touched.
const parts = () => document.querySelectorAll('[data-live]');
let isAsking = false, isDue = false;
// Charts are drawn where the server is: it is told which time it is here.
const clock = -new Date().getTimezoneOffset();

async function renew() {
  isDue = isAsking;
  if (isAsking) return;
  isAsking = true;
  try {
    const headers = { accept: 'text/html', 'x-clock': clock };
    const answer = await fetch(own ?? location.href, { headers, signal: AbortSignal.timeout(15000) });
    if (answer.redirected || answer.status === 401) return anew();
    // A proxy speaks for a Carport that does not.
    if (answer.status >= 502) throw new Error(answer.status);
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
    for (const old of parts()) {
      const drawn = fresh.getElementById(old.id);
      if (!drawn || old.querySelector('input:focus, select:focus, svg:focus')) continue;
      const open = [...old.querySelectorAll('details')].map(one => one.open);
      drawn.querySelectorAll('details').forEach((one, number) => { one.open ||= open[number]; });
      const focus = [...old.querySelectorAll('a, button, summary')].indexOf(document.activeElement);
      old.replaceChildren(...drawn.childNodes);
      dress(old);
      if (focus >= 0) old.querySelectorAll('a, button, summary')[focus]?.focus({ preventScroll: true });
    }
    lost.hidden = true;
  } catch {
    lost.hidden = !navigator.onLine;
  } finally {
    isAsking = false;
    if (isDue) renew();
  }
}

let events, later, waiting, again, seen = by('main').dataset.seen;
const soon = () => { clearTimeout(later); later = setTimeout(renew, 300); };
const calm = () => { clearTimeout(waiting); waiting = undefined; };

function follow() {
  events?.close();
  clearTimeout(again);
  calm();
  if (document.hidden) return;
  // From where the page was made, or what came in before this is heard would be seen a minute later.
  events = new EventSource(seen ? `/api/v1/events?after=${seen}` : '/api/v1/events');
  const car = by('main').dataset.vehicle;
  events.addEventListener('delivery', event => {
    seen = event.lastEventId;
    const { vehicle } = JSON.parse(event.data);
    if (!car || !vehicle || vehicle === car) soon();
  });
  events.addEventListener('missed', soon);
  events.onopen = () => {
    calm();
    if (!lost.hidden) soon();
  };
  // Streams end now and then, and go on at once. If not, looking tells whether anybody answers.
  events.onerror = () => {
    waiting ??= setTimeout(() => {
      waiting = undefined;
      renew();
      if (events.readyState === EventSource.CLOSED) again = setTimeout(follow, 15000);
    }, 5000);
  };
}

if (parts().length) {
  follow();
  if (clock && by('past')) renew();
  // What changes without a delivery is seen by looking again.
  const every = Number(by('main').dataset.every ?? 60) * 1000;
  setInterval(() => document.hidden || renew(), every);
  // A page that nobody sees holds no connection: browsers have few of them.
  document.addEventListener('visibilitychange', () => { follow(); if (!document.hidden) renew(); });
}
document.addEventListener('visibilitychange', () => document.hidden || count());
