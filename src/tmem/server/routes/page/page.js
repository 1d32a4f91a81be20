"use strict";
// Whatever comes from a memory is put in as text, never as markup. The routes are those of docs/server.md.

const SHOWN = 100; // pairs at once
const $ = (id) => document.getElementById(id);
const who = { user: "", name: "", key: "", ...JSON.parse(sessionStorage.getItem("tmem") || "{}") };
const turns = []; // of the conversation, as the server is sent them
const wide = matchMedia("(min-width: 64rem)");
let model = "", rows = [], shown = SHOWN, version = "";

// ---- parts ----

function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made && name !== "list") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

const quiet = (label, onclick, more = {}) => el("button", { type: "button", className: "quiet", onclick, ...more }, label);
const text = (className, content) => el("div", { className, dir: "auto" }, content);
const qa = (pair, more = "") => el("div", { className: `qa ${more}` }, text("q", pair.question), text("a", pair.answer));
const count = (number, one) => `${number.toLocaleString()} ${one}${number === 1 ? "" : "s"}`;
const short = (id) => (id || "").split("-")[0];
const day = (iso) => new Date(iso).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
const seconds = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

// ---- the server ----

function headers() {
  const found = { "Content-Type": "application/json" };
  if (who.key) found.Authorization = `Bearer ${who.key}`;
  // Headers are bytes: a name travels as UTF-8.
  if (who.user) found["X-Tmem-User"] = String.fromCharCode(...new TextEncoder().encode(who.user));
  return found;
}

async function send(method, path, body) {
  let response;
  try {
    response = await fetch(path, { method, headers: headers(), body: body && JSON.stringify(body), cache: "no-store" });
  } catch {
    throw new Error("the server does not answer: is it running?");
  }
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  throw Object.assign(new Error(said.error?.message || `the server answered ${response.status}`), { status: response.status });
}

const api = async (method, path, body) => (await send(method, path, body)).json();
const one = (id) => `/v1/memories/${encodeURIComponent(id)}`;

async function* events(response) { // the objects of a stream of server-sent events
  let left = "";
  for (const reader = response.body.pipeThrough(new TextDecoderStream()).getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (left + value).split("\n");
    left = lines.pop();
    for (const line of lines) if (line.startsWith("data: ") && line !== "data: [DONE]") yield JSON.parse(line.slice(6));
  }
}

// While something is made: what, and for how long. What is being done can change: watching.doing = "...".
function watch(place, doing) {
  const began = Date.now(), watching = { doing, stop: () => { clearInterval(timer); place.textContent = ""; } };
  const tick = () => { place.textContent = `${watching.doing} · ${Math.round((Date.now() - began) / 1000)} s`; };
  const timer = setInterval(tick, 250);
  tick();
  return watching;
}

// ---- asking before something is done, with its receipt after ----

function confirmed(title, body, label, doing, act) {
  const dialog = $("ask"), yes = $("ask-yes"), no = $("ask-no");
  $("ask-title").textContent = title;
  $("ask-body").replaceChildren(...body);
  $("ask-wrong").textContent = $("ask-going").textContent = "";
  Object.assign(yes, { textContent: label, hidden: false, disabled: false });
  Object.assign(no, { textContent: "Cancel", className: "quiet", disabled: false });
  no.onclick = () => dialog.close();
  dialog.oncancel = (event) => { if (yes.disabled) event.preventDefault(); };
  yes.onclick = async () => {
    yes.disabled = no.disabled = true;
    const watching = watch($("ask-going"), doing);
    try {
      const receipt = await act();
      turns.length = 0; // what is gone is not read again as what was said before
      $("ask-title").textContent = "Receipt";
      $("ask-body").replaceChildren(facts(receiptOf(receipt)));
      yes.hidden = true;
      refresh();
    } catch (error) {
      $("ask-wrong").textContent = error.message;
      yes.disabled = false;
    }
    watching.stop();
    Object.assign(no, { textContent: yes.hidden ? "Done" : "Cancel", className: yes.hidden ? "" : "quiet", disabled: false });
    no.focus();
  };
  dialog.showModal();
}

const facts = (entries) => el("dl", {}, ...entries.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));

function receiptOf(receipt) {
  const told = [["What was done", { forget: "forgotten for good", rollback: "went back", update: "corrected" }[receipt.kind] || receipt.kind]];
  told.push(["In force now", short(receipt.version) || "nothing"], ["It took", seconds(receipt.milliseconds)]);
  const { weights_before: before, weights, restored, id, replayed } = receipt.details;
  if (replayed !== undefined) told.push(["Trained anew", count(replayed, "step")]);
  if (restored?.length) told.push(["Holds again", count(restored.length, "pair")]);
  if (weights) told.push(["Weights", `${before?.slice(0, 12)} → ${weights.slice(0, 12)}`]);
  if (id) told.push(["Receipt", id.slice(0, 12)]);
  if (receipt.reason) told.push(["But", receipt.reason]);
  return told;
}

function forget(pair) {
  const words = el("p", {}, "The weights become what they would be if this had never been told, and no byte of it stays. This cannot be undone.");
  confirmed("Forget this?", [qa(pair), words], "Forget", "training without it", () => api("DELETE", one(pair.id)));
}

// ---- chat ----

const FROM = { weights: "from the weights", text: "from a kept pair", base: "from the model alone", nothing: "it was never told" };

async function say(event) {
  event.preventDefault();
  const form = $("say"), field = form.elements.text, content = field.value.trim(), learn = form.elements.learn.checked;
  if (!content || form.ariaBusy === "true") return;
  form.ariaBusy = "true";
  form.querySelector("button").disabled = true;
  field.value = "";
  $("hello")?.remove();
  const answer = text("answer", ""), going = el("p", { className: "going" }), turn = el("div", { className: "turn" }, text("said", content), answer, going);
  $("turns").append(turn);
  const down = () => $("turns").scrollTo({ top: $("turns").scrollHeight });
  down();
  const watching = watch(going, "answering");
  const messages = [...turns.slice(-12), { role: "user", content, ...(who.name || who.user ? { name: who.name || who.user } : {}) }];
  try {
    let kept = null;
    for await (const part of events(await send("POST", "/v1/chat/completions", { model, messages, stream: true, memory: { learn } }))) {
      if (part.error) throw new Error(part.error.message);
      answer.append(part.choices?.[0]?.delta?.content || "");
      if (part.tmem?.source) {
        answered(turn, answer, content, part.tmem);
        watching.doing = "reading what was said";
      }
      kept = part.tmem?.learned || kept;
      down();
    }
    turns.push(messages.at(-1), { role: "assistant", content: answer.textContent });
    watching.stop();
    if (kept?.length) turn.append(learned(kept));
    else if (!answer.textContent) turn.append(el("p", { className: "meta" }, learn ? "Nothing new was found in it." : "Nothing was asked."));
    refresh();
  } catch (error) {
    watching.stop();
    if (!answer.textContent) answer.remove();
    turn.append(el("p", { className: "wrong", role: "alert" }, error.message));
    if (!field.value) field.value = content;
  }
  form.ariaBusy = "false";
  form.querySelector("button").disabled = false;
  down();
  field.focus();
}

function answered(turn, answer, asked, tmem) {
  const going = turn.querySelector(".going");
  const because = el("div", { className: "box", hidden: true });
  if (answer.textContent) {
    const from = [FROM[tmem.source], short(tmem.version)].filter(Boolean).join(" · ");
    const meta = el("span", { className: "meta" }, from), line = el("div", { className: "line" }, meta);
    const moved = quiet("What moved it?", async () => {
      moved.disabled = true;
      const watching = watch(meta, "training without each pair");
      await why(because, asked, answer.textContent).catch((error) => because.replaceChildren(el("p", { className: "wrong" }, error.message)));
      watching.stop();
      meta.textContent = from;
      moved.remove();
      because.hidden = false;
      because.scrollIntoView({ block: "nearest" });
    });
    if (tmem.source === "weights" || tmem.source === "text") line.append(moved);
    turn.append(line);
    if (tmem.pairs?.length) {
      because.hidden = false;
      Promise.all(tmem.pairs.map((id) => api("GET", one(id)).catch(() => null))).then((pairs) => {
        because.prepend(el("p", { className: "meta" }, "Answered from"), ...pairs.filter(Boolean).map((pair) => qa(pair)));
      });
    }
  } else answer.remove();
  turn.append(because, going);
}

async function why(box, question, answer) {
  const asked = question.match(/[^.!?]*\?/g)?.at(-1)?.trim() || question;
  const found = (await api("GET", `/v1/why?${new URLSearchParams({ question: asked, answer })}`)).results;
  const most = Math.max(...found.map((row) => row.moved), 1);
  box.replaceChildren(el("p", { className: "meta" }, found.length ? "How much likelier each pair makes a word of the answer" : "No pair has a word in common with it."));
  for (const row of found) {
    const width = el("i");
    width.style.width = `${Math.max(0, Math.round((100 * row.moved) / most))}%`;
    const times = row.moved < 0.05 ? "hardly" : row.moved > 9 ? "over 8,000 times" : `${Math.exp(row.moved).toLocaleString([], { maximumSignificantDigits: 2 })} times`;
    box.append(el("div", { className: "moved" }, qa(row), el("span", { className: "meta" }, times), el("span", { className: "bar" }, width)));
  }
}

function learned(pairs) {
  const head = el("p", { className: "meta", role: "status" }), wrong = el("p", { className: "wrong", role: "alert" });
  let watching = watch(head, `writing ${count(pairs.length, "pair")} into the weights`);
  const undo = quiet("Undo", async () => {
    undo.disabled = true;
    watching.stop();
    watching = watch(head, "forgetting");
    try {
      const receipt = await api("POST", "/v1/forget", { ids: pairs.map((pair) => pair.id) });
      turns.length = 0;
      watching.stop();
      head.textContent = `Undone: ${short(receipt.version) || "it"} is as if it had never been told`;
      box.classList.add("undone");
      undo.remove();
    } catch (error) {
      watching.stop();
      wrong.textContent = error.message;
      undo.disabled = false;
    }
    refresh();
  });
  const box = el("div", { className: "box learned" }, el("div", { className: "head" }, head, undo), ...pairs.map((pair) => qa(pair)), wrong);
  written(pairs).then((states) => {
    if (undo.disabled) return;
    watching.stop();
    head.textContent = states.includes("quarantined") ? "Refused: it would have harmed what was known" : "Learned";
    refresh();
  }, (error) => { watching.stop(); wrong.textContent = error.message; });
  return box;
}

// What became of pairs, once all of them are written or refused.
async function written(pairs) {
  for (;;) {
    const now = await Promise.all(pairs.map((pair) => api("GET", one(pair.id))));
    if (!now.some((pair) => pair.status === "pending")) return now.map((pair) => pair.status);
    await new Promise((done) => setTimeout(done, 700));
  }
}

// ---- memories ----

async function list() {
  if ($("list").querySelector(".edit")) return; // somebody is writing there
  rows = (await api("GET", `/v1/memories?status=${$("find").elements.status.value}`)).results.reverse();
  draw();
}

function draw() {
  const words = $("find").elements.query.value.toLocaleLowerCase().split(/\s+/);
  const found = rows.filter((row) => words.every((word) => `${row.question} ${row.answer}`.toLocaleLowerCase().includes(word)));
  $("count").textContent = found.length < rows.length ? `${found.length.toLocaleString()} of ${count(rows.length, "pair")}` : count(rows.length, "pair");
  $("list").replaceChildren(...found.slice(0, shown).map(item));
  $("more").hidden = found.length <= shown;
}

function item(pair) {
  const about = [pair.timestamp && `of ${pair.timestamp}`, `told ${day(pair.created)}`, pair.status !== "active" && pair.status].filter(Boolean).join(" · ");
  const made = el("li", { className: "pair" }, text("q", pair.question), text("a", pair.answer), el("div", { className: "meta" }, about));
  const acts = el("div", { className: "acts" });
  if (pair.status === "active") acts.append(quiet("Edit", () => edit(made, pair)));
  if (pair.supersedes) acts.append(quiet("Earlier", (event) => earlier(made, pair, event.target)));
  if (pair.status !== "forgotten") acts.append(quiet("Forget", () => forget(pair)));
  made.append(acts);
  return made;
}

function edit(row, pair) {
  const field = el("input", { value: pair.answer, dir: "auto", ariaLabel: `Answer to: ${pair.question}` });
  const going = el("span", { className: "going", role: "status" }), save = el("button", { type: "submit" }, "Save");
  const back = () => { row.replaceWith(row = item(pair)); row.querySelector("button").focus(); };
  const form = el("form", { className: "edit" }, field, save, quiet("Cancel", back), going);
  form.onkeydown = (event) => { if (event.key === "Escape") back(); };
  form.onsubmit = async (event) => {
    event.preventDefault();
    save.disabled = true;
    const watching = watch(going, "writing");
    try {
      await api("PUT", one(pair.id), { answer: field.value });
      watching.stop();
      form.remove();
      await refresh();
    } catch (error) {
      watching.stop();
      save.disabled = false;
      form.append(el("p", { className: "wrong", role: "alert" }, error.message));
    }
  };
  row.replaceChildren(text("q", pair.question), form);
  field.select();
}

async function earlier(row, pair, button) {
  button.remove();
  const found = await api("GET", `${one(pair.id)}/history`).catch((error) => ({ results: [], error }));
  const was = found.results.slice(1).map((old) => el("div", {}, text("a", old.answer), el("div", { className: "meta" }, `told ${day(old.created)}`)));
  row.append(el("div", { className: "earlier" }, ...(found.error ? [el("p", { className: "wrong" }, found.error.message)] : was)));
}

// ---- versions ----

const DID = { add: "Told", update: "Corrected", forget: "Forgot", rollback: "Went back", import: "Imported", absorb: "Written" };

async function versions() {
  const [found, grown] = await Promise.all([api("GET", "/v1/versions"), api("GET", "/v1/growth")]);
  const held = new Map(grown.results.map((row) => [row.id, row.pairs])), all = found.results;
  version = all.at(-1)?.id || "";
  $("growth").hidden = all.length < 2;
  plot(grown.results);
  $("history").replaceChildren(...all.map((row, place) => {
    const now = place === all.length - 1, before = all[place - 1]?.id;
    const what = el("div", { className: "what" }, el("b", {}, short(row.id)), ` ${DID[row.kind] || row.kind}${row.tag ? ` · ${row.tag}` : ""}`);
    const meta = el("div", { className: "meta" }, now ? el("span", { className: "now" }, "in force · ") : null, `${count(held.get(row.id) ?? 0, "pair")} · ${day(row.created)}`);
    const acts = el("div", { className: "acts" }), made = el("li", { className: "version" }, what, meta, acts);
    acts.append(quiet("What changed", async (event) => { event.target.remove(); made.append(...(await difference(before, row.id))); }));
    if (!now) acts.append(quiet("Go back to it", () => goBack(row.id)));
    return made;
  }).reverse());
  if (!all.length) $("history").replaceChildren(el("p", { className: "empty" }, "Nothing was written yet."));
}

const differ = (first, second) => api("GET", `/v1/diff?${new URLSearchParams({ first, second })}`);

async function changes(first, second) {
  if (first) return differ(first, second);
  // Of the first version: what holds now, but for what came since, and what went since.
  const [now, since] = await Promise.all([api("GET", "/v1/memories"), differ(second, version)]);
  const later = new Set(since.added.map((pair) => pair.id));
  return { added: [...now.results.filter((pair) => !later.has(pair.id)), ...since.removed], removed: [] };
}

async function difference(first, second) {
  try {
    const { added, removed } = await changes(first, second);
    const lines = [...added.map((pair) => qa(pair, "more")), ...removed.map((pair) => qa(pair, "less"))];
    return lines.length ? lines : [el("p", { className: "meta" }, "The same pairs hold in both; what was forgotten is in neither.")];
  } catch (error) {
    return [el("p", { className: "wrong" }, error.message)];
  }
}

async function goBack(id) {
  const lines = await difference(version, id);
  const words = el("p", {}, "As a new version. What was forgotten since then stays forgotten.");
  confirmed(`Go back to ${short(id)}?`, [...lines, words], "Go back", "putting it in force", () => api("POST", "/v1/rollback", { version: id }));
}

function plot(grown) {
  const place = $("plot"), w = place.clientWidth || 400, h = 150, left = 28, bottom = 20, top = 8;
  const svg = (tag, attributes, content = "") => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.textContent = content;
    return made;
  };
  plot.last = grown;
  const most = Math.max(...grown.map((row) => row.pairs), 1);
  const x = (place) => left + ((w - left - 6) * place) / Math.max(grown.length - 1, 1), y = (pairs) => h - bottom - ((h - bottom - top) * pairs) / most;
  const path = grown.map((row, at) => `${at ? "H" : "M"}${x(at)}${at ? "V" : " "}${y(row.pairs)}`).join("");
  const parts = [0, most].flatMap((value) => [
    svg("line", { class: "rule", x1: left, x2: w, y1: y(value), y2: y(value) }),
    svg("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, value),
  ]);
  if (grown.length) {
    parts.push(svg("path", { class: "area", d: `${path}V${y(0)}H${left}Z` }), svg("path", { class: "step", d: path }));
    const ends = [[0, "start"], [grown.length - 1, "end"]].slice(0, grown.length);
    for (const [at, anchor] of ends) parts.push(svg("text", { x: at ? w : left, y: h - 4, "text-anchor": anchor }, `${short(grown[at].id)} · ${new Date(grown[at].created).toLocaleDateString([], { dateStyle: "medium" })}`));
  }
  if (grown.length <= 60) {
    for (const [at, row] of grown.entries()) {
      const dot = svg("circle", { class: at && row.pairs < grown[at - 1].pairs ? "dot down" : "dot", cx: x(at), cy: y(row.pairs), r: 3.5 });
      dot.append(svg("title", {}, `${short(row.id)}: ${count(row.pairs, "pair")}, ${day(row.created)}`));
      parts.push(dot);
    }
  }
  place.replaceChildren(...parts);
  place.setAttribute("aria-label", grown.length ? `${count(grown.length, "version")}; the last one holds ${count(grown.at(-1).pairs, "pair")}, the most was ${most}` : "nothing yet");
}

// ---- health ----

async function health() {
  const began = performance.now();
  const state = async (path) => (await fetch(path, { cache: "no-store" }).catch(() => ({ ok: false }))).ok;
  const [there, ready] = await Promise.all([state("/healthz"), state("/readyz")]);
  const took = performance.now() - began;
  const dot = (well, yes, no) => el("span", { className: well ? "well" : "ill" }, well ? yes : no);
  const told = [["Server", dot(there, "there", "does not answer")], ["Memories", dot(ready, "can be asked", "cannot be asked now")], ["Answers in", seconds(took)], ["Model", model]];
  const stats = there && await api("GET", "/v1/stats").catch(() => null);
  if (stats) {
    const { active = 0, pending = 0, superseded = 0, quarantined = 0 } = stats.pairs;
    told.push(["Pairs that hold", active.toLocaleString()], ["Not yet written", pending.toLocaleString()], ["Replaced", superseded.toLocaleString()], ["Refused", quarantined.toLocaleString()]);
    told.push(["Versions", stats.versions.toLocaleString()], ["Weights on disk", `${(stats.bytes / 2 ** 20).toFixed(1)} MiB in ${count(stats.snapshots, "file")}`]);
  }
  $("facts").replaceChildren(...facts(told).children);
}

async function verify() {
  const watching = watch($("verified"), "reading the weights in force");
  $("verify").disabled = true;
  const found = await api("GET", "/v1/verify").catch((error) => ({ error }));
  watching.stop();
  $("verify").disabled = false;
  $("verified").textContent = found.error ? found.error.message : found.version ? `${short(found.version)} is what the ledger says (${found.weights.slice(0, 12)}).` : "Nothing was written yet.";
}

// ---- the page ----

const VIEWS = { chat: () => {}, pairs: list, versions, health };
const tabs = Object.keys(VIEWS).map((name) => $(`tab-${name}`));

async function show(name) {
  if (wide.matches && name === "chat") name = "pairs";
  document.body.dataset.view = name;
  for (const tab of tabs) {
    tab.ariaSelected = String(tab.id === `tab-${name}`);
    tab.tabIndex = tab.id === `tab-${name}` ? 0 : -1;
  }
  await refresh();
}

async function refresh() {
  await Promise.resolve(VIEWS[document.body.dataset.view]()).catch((error) => { $("count").textContent = error.message; });
}

async function enter() {
  try {
    if (!who.user && !who.key) throw new Error("");
    model = (await api("GET", "/v1/models")).data[0].id;
    await api("GET", "/v1/stats");
  } catch (error) {
    $("door").hidden = false;
    $("refused").textContent = error.message;
    for (const name of ["user", "name", "key"]) $("enter").elements[name].value = who[name];
    $("enter").elements.user.focus();
    return;
  }
  sessionStorage.setItem("tmem", JSON.stringify(who));
  $("door").hidden = true;
  $("main").hidden = $("whose").hidden = $("leave").hidden = false;
  $("whose").textContent = who.user ? `the memory of ${who.user}` : "the memory of your key";
  await show("chat");
  $("say").elements.text.focus();
}

$("enter").onsubmit = (event) => {
  event.preventDefault();
  for (const name of ["user", "name", "key"]) who[name] = $("enter").elements[name].value.trim();
  enter();
};
$("leave").onclick = () => { sessionStorage.removeItem("tmem"); location.reload(); };
$("say").onsubmit = say;
$("say").elements.text.onkeydown = (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) say(event);
};
$("find").elements.query.oninput = () => { shown = SHOWN; draw(); };
$("find").elements.status.onchange = () => { shown = SHOWN; refresh(); };
$("find").onsubmit = (event) => event.preventDefault();
$("more").onclick = () => { shown += SHOWN; draw(); };
$("verify").onclick = verify;
for (const tab of tabs) tab.onclick = () => show(tab.id.slice(4));
document.querySelector("nav").onkeydown = (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key], open = tabs.filter((tab) => tab.offsetParent);
  if (!step) return;
  const next = open[(open.indexOf(document.activeElement) + step + open.length) % open.length];
  show(next.id.slice(4));
  next.focus();
};
document.onkeydown = (event) => {
  if (event.key !== "/" || $("main").hidden || event.target.closest("input, textarea, select, dialog")) return;
  event.preventDefault();
  show("pairs");
  $("find").elements.query.focus();
};
wide.onchange = () => show(document.body.dataset.view);
addEventListener("resize", () => { if (document.body.dataset.view === "versions" && plot.last) plot(plot.last); });
setInterval(() => { if (document.body.dataset.view === "health" && !document.hidden && !$("main").hidden) health(); }, 10000);
enter();
