// Ages that count on, dates in the viewer's own zone, copy buttons, and a word when there is no network. The pages work without it.
'use strict';

const thin = '\u202f';

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

for (const time of document.querySelectorAll('time')) {
  const local = new Date(time.dateTime).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' });
  if ('date' in time.dataset) time.textContent = local;
  time.title = local;
}
setInterval(count, 20000);
document.addEventListener('visibilitychange', () => document.hidden || count());

for (const button of document.querySelectorAll('button[data-copy]')) {
  const input = document.getElementById(button.dataset.copy);
  button.hidden = false;
  button.addEventListener('click', async () => {
    input.select();
    try {
      if (navigator.clipboard) await navigator.clipboard.writeText(input.value);
      else document.execCommand('copy');
      button.textContent = 'Copied';
      setTimeout(() => { button.textContent = 'Copy'; }, 2000);
    } catch { /* it is selected: the keyboard still copies it */ }
  });
}

// A link to a folded part opens it.
const part = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
if (part && part.tagName === 'DETAILS') part.open = true;

// A page that is kept open says when it can no longer be renewed.
const offline = document.getElementById('offline');
const connected = () => { offline.hidden = navigator.onLine; };
addEventListener('online', connected);
addEventListener('offline', connected);
connected();
