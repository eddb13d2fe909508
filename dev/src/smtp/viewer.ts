/**
 * The page of the mail viewer. It talks to the same API as programs do, by relative addresses, so it also works
 * behind a proxy under a path. The content of a mail is set as text or shown in a sandboxed frame.
 */
export const viewerPage = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Mail</title>
<style>
  :root { color-scheme: light dark; --line: light-dark(#e2e5ea, #333a45); --soft: light-dark(#f5f6f8, #1b1f26);
    --dim: light-dark(#626c7a, #98a2b3); --pick: light-dark(#e4efff, #22344f); --accent: light-dark(#1259c3, #7fb2ff); }
  * { box-sizing: border-box; }
  body { margin: 0; height: 100vh; display: grid; grid: auto 1fr / minmax(260px, 34%) 1fr; font: 15px/1.45 system-ui, sans-serif; }
  header { grid-column: 1 / 3; display: flex; gap: .75rem; align-items: center; padding: .6rem 1rem; border-bottom: 1px solid var(--line); }
  h1 { font-size: 1rem; margin: 0; } #count { color: var(--dim); }
  input { flex: 1; max-width: 28rem; margin-left: auto; }
  input, button { font: inherit; padding: .3rem .7rem; border: 1px solid var(--line); border-radius: 6px; background: var(--soft); color: inherit; }
  button { cursor: pointer; } button:hover, input:focus { border-color: var(--accent); outline: none; }
  #list { margin: 0; padding: 0; list-style: none; overflow-y: auto; border-right: 1px solid var(--line); }
  #list li { padding: .6rem 1rem; border-bottom: 1px solid var(--line); cursor: pointer; }
  #list li:hover { background: var(--soft); } #list li.picked { background: var(--pick); }
  .row { display: flex; gap: .5rem; justify-content: space-between; }
  .subject { font-weight: 600; } .dim, .snippet { color: var(--dim); font-size: .86rem; }
  .row > :first-child, .snippet { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
  .row > :last-child { flex: none; }
  main { display: flex; flex-direction: column; min-width: 0; } main[hidden] { display: none; }
  .head { padding: .8rem 1.2rem; border-bottom: 1px solid var(--line); } .head h2 { margin: 0 0 .2rem; font-size: 1.15rem; }
  nav { display: flex; flex-wrap: wrap; gap: .5rem; padding-top: .6rem; align-items: center; }
  nav button.on { border-color: var(--accent); color: var(--accent); } a { color: var(--accent); }
  iframe { flex: 1; border: 0; background: #fff; } #empty { padding: 4rem 1rem; text-align: center; color: var(--dim); }
  @media (max-width: 700px) {
    body { grid: auto minmax(0, 40vh) minmax(0, 1fr) / 1fr; } header { grid-column: 1; flex-wrap: wrap; }
    input { order: 1; flex: 1 0 100%; } #clear { margin-left: auto; } #list { border-right: 0; border-bottom: 1px solid var(--line); }
  }
  pre { flex: 1; margin: 0; padding: 1rem 1.2rem; overflow: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
</style>
<header><h1>Mail</h1><span id="count"></span>
  <input id="query" type="search" placeholder="Search: welcome, to:ada@example.com, subject:&quot;your PDF&quot;" aria-label="Search">
  <button id="clear">Delete all</button></header>
<ul id="list"></ul>
<div id="empty">No mail yet. It appears here by itself.</div>
<main hidden>
  <div class="head"><h2 id="subject"></h2><div id="from" class="dim"></div><div id="to" class="dim"></div>
    <nav><button data-view="html">HTML</button><button data-view="text">Text</button><button data-view="headers">Headers</button>
      <button data-view="raw">Source</button><span id="files"></span><button id="remove" style="margin-left:auto">Delete</button></nav></div>
  <iframe sandbox="allow-popups" title="The mail"></iframe><pre hidden></pre>
</main>
<script type="module">
  const $ = (selector) => document.querySelector(selector);
  const make = (tag, className, text) => Object.assign(document.createElement(tag), { className, textContent: text ?? '' });
  const who = ({ Name, Address }) => (Name ? Name + ' <' + Address + '>' : Address);
  const api = (path, options) => fetch('api/v1/' + path, options);
  let picked = '', view = 'html', shown = '';

  function row(mail) {
    const item = make('li', mail.ID === picked ? 'picked' : '');
    const top = make('div', 'row');
    top.append(make('span', 'subject', mail.Subject || '(no subject)'), make('span', 'dim', new Date(mail.Created).toLocaleTimeString()));
    const middle = make('div', 'row dim');
    middle.append(make('span', '', 'to ' + [...mail.To, ...mail.Cc, ...mail.Bcc].map(who).join(', ')), make('span', '', mail.Attachments ? mail.Attachments + (mail.Attachments === 1 ? ' file' : ' files') : ''));
    item.append(top, middle, make('div', 'snippet', mail.Snippet));
    item.onclick = () => { picked = mail.ID; void refresh(true); };
    return item;
  }
  async function open() {
    const response = await api('message/' + picked);
    $('main').hidden = !response.ok; $('#empty').hidden = response.ok || $('#list').children.length > 0;
    if (!response.ok) return;
    const mail = await response.json();
    $('#subject').textContent = mail.Subject || '(no subject)';
    $('#from').textContent = 'From ' + who(mail.From);
    $('#to').textContent = 'To ' + [...mail.To, ...mail.Cc, ...mail.Bcc].map(who).join(', ') + ' · ' + new Date(mail.Date).toLocaleString();
    $('#files').replaceChildren(...[...mail.Attachments, ...mail.Inline].map((file) => {
      const link = make('a', '', file.FileName + ' (' + Math.ceil(file.Size / 1024) + ' kB) ');
      return Object.assign(link, { href: 'api/v1/message/' + mail.ID + '/part/' + file.PartID, target: '_blank' });
    }));
    for (const button of document.querySelectorAll('[data-view]')) button.classList.toggle('on', button.dataset.view === view);
    $('iframe').hidden = view !== 'html'; $('pre').hidden = view === 'html';
    if (view === 'html') $('iframe').src = 'view/' + mail.ID + '.html';
    else if (view === 'text') $('pre').textContent = mail.Text || '(no text part)';
    else $('pre').textContent = await (await api('message/' + mail.ID + '/' + view)).text();
  }
  async function refresh(force) {
    const query = $('#query').value.trim();
    const path = query ? 'search?query=' + encodeURIComponent(query) : 'messages?limit=200';
    const response = await api(path).catch(() => undefined);
    if (!response) { $('#count').textContent = 'not connected'; return; }
    const { messages, messages_count } = await response.json();
    $('#count').textContent = messages_count + (messages_count === 1 ? ' message' : ' messages');
    const now = messages.map((mail) => mail.ID).join() + picked;
    if (!force && now === shown) return;
    if (!messages.some((mail) => mail.ID === picked)) { picked = messages[0]?.ID ?? ''; force = true; }
    shown = messages.map((mail) => mail.ID).join() + picked;
    $('#list').replaceChildren(...messages.map(row));
    $('#empty').hidden = messages.length > 0;
    if (!picked) $('main').hidden = true; else if (force) await open();
  }
  for (const button of document.querySelectorAll('[data-view]')) button.onclick = () => { view = button.dataset.view; void open(); };
  $('#remove').onclick = async () => { await api('messages', { method: 'DELETE', body: JSON.stringify({ IDs: [picked] }) }); void refresh(true); };
  $('#clear').onclick = async () => { await api('messages', { method: 'DELETE' }); void refresh(true); };
  $('#query').oninput = () => void refresh(true);
  setInterval(() => document.hidden || refresh(false), 1500);
  void refresh(true);
</script>
</html>
`;
