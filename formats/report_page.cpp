#include "formats/report_page.h"

#include "core/hash.h"

namespace hone::formats {
namespace {

constexpr char kStyle[] = R"css(
:root{color-scheme:light dark;--back:#f5f7fa;--card:#fff;--edge:#dde3ea;--text:#1c2430;--soft:#57636f;--faint:#e9edf2;
--axis:#8b95a1;--train:#1f6feb;--eval:#c2500b;--good:#14713a;--good-back:#dff3e6;--bad:#b3261e;--bad-back:#fbe4e2;
--warn:#7a5200;--warn-back:#fbeecb;--run:#0b57b0;--run-back:#e0ecfd;--code:#f3f5f8;
--c1:#1f6feb;--c2:#c2500b;--c3:#14713a;--c4:#8250df;--c5:#b3246f;--c6:#0f7b83;--c7:#8a6d00;--c8:#57636f}
@media(prefers-color-scheme:dark){:root{--back:#0c1016;--card:#151b23;--edge:#2b343f;--text:#eaf0f6;--soft:#a0acb9;
--faint:#222b36;--axis:#6f7b88;--train:#6cb0ff;--eval:#ffa657;--good:#7ddf9b;--good-back:#12331f;--bad:#ff9d94;
--bad-back:#411a18;--warn:#f2cc60;--warn-back:#3a2d08;--run:#9ccbff;--run-back:#13294a;--code:#0f151c;
--c1:#6cb0ff;--c2:#ffa657;--c3:#7ddf9b;--c4:#c6a3ff;--c5:#ff92c8;--c6:#67d8e0;--c7:#e8cb5b;--c8:#a0acb9}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-behavior:smooth}
@media(prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
body{margin:0;background:var(--back);color:var(--text);font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;
overflow-wrap:anywhere}
main,header,footer{max-width:1120px;margin:0 auto;padding:0 20px}
header{padding-top:32px}
h1{font-size:28px;line-height:1.2;margin:0;letter-spacing:-.01em}
h2{font-size:19px;margin:0 0 12px;letter-spacing:-.005em}
h3{font-size:14px;margin:0;font-weight:600}
p{margin:0}
a{color:var(--train);text-decoration:none}
a:hover,a:focus-visible{text-decoration:underline}
.head{display:flex;gap:12px;align-items:center;flex-wrap:wrap}
.badge{font-size:13px;font-weight:600;padding:3px 11px;border-radius:99px;background:var(--run-back);color:var(--run)}
.badge.finished{background:var(--good-back);color:var(--good)}
.badge.failed{background:var(--bad-back);color:var(--bad)}
.badge.stopped{background:var(--warn-back);color:var(--warn)}
.soft{color:var(--soft)}
.error{margin-top:14px;padding:10px 14px;border-radius:8px;background:var(--bad-back);color:var(--bad);white-space:pre-wrap}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(235px,1fr));gap:12px;margin:22px 0 18px}
.figure{background:var(--card);border:1px solid var(--edge);border-radius:10px;padding:13px 16px}
.figure dt{font-size:13px;color:var(--soft)}
.figure dd{margin:2px 0 0;font-size:23px;font-weight:650;line-height:1.25;letter-spacing:-.01em;font-variant-numeric:tabular-nums}
.figure .note{display:block;font-size:13px;font-weight:400;color:var(--soft);letter-spacing:0}
.figure .good{color:var(--good)}.figure .bad{color:var(--bad)}
nav{position:sticky;top:0;z-index:2;background:var(--back);border-bottom:1px solid var(--edge);margin-bottom:22px}
nav div{max-width:1120px;margin:0 auto;padding:0 12px;display:flex;overflow-x:auto;scrollbar-width:none}
nav a{padding:10px 8px;color:var(--soft);font-size:14px;white-space:nowrap}
nav a:hover,nav a:focus-visible{color:var(--text)}
section{background:var(--card);border:1px solid var(--edge);border-radius:12px;padding:20px;margin:0 0 20px;scroll-margin-top:56px}
.several{display:grid;gap:22px;grid-template-columns:repeat(auto-fit,minmax(min(300px,100%),1fr))}
.several>*{min-width:0}
.two{display:grid;gap:20px;grid-template-columns:repeat(auto-fit,minmax(min(420px,100%),1fr))}
.two>*{min-width:0}
.caption{display:flex;flex-wrap:wrap;gap:2px 14px;align-items:baseline;margin-bottom:4px}
.caption .soft{font-size:13px}
.legend{display:flex;flex-wrap:wrap;gap:2px 14px;font-size:13px;color:var(--soft)}
.legend i{display:inline-block;width:14px;height:3px;border-radius:2px;margin-right:6px;vertical-align:middle;background:currentColor}
.plot{position:relative}
.chart{display:block;width:100%;height:auto;touch-action:pan-y}
.chart text{fill:var(--soft);font-size:12px;font-variant-numeric:tabular-nums}
.chart .grid{stroke:var(--faint)}.chart .axis{stroke:var(--axis)}
.chart .line{fill:none;stroke-width:2.2;stroke:currentColor;stroke-linejoin:round;stroke-linecap:round}
.chart .raw{stroke-width:1;stroke-opacity:.38}
.chart .dot{fill:currentColor;stroke:var(--card);stroke-width:1.2}
.chart .bar{fill:var(--train)}
.chart .cursor{stroke:var(--soft);stroke-dasharray:3 3}
.tip{position:absolute;top:0;pointer-events:none;background:var(--card);border:1px solid var(--edge);border-radius:8px;padding:6px 10px;
font-size:13px;box-shadow:0 4px 14px rgba(0,0,0,.18);white-space:nowrap;font-variant-numeric:tabular-nums;z-index:1}
.narrow{display:none}
@media(max-width:640px){.wide{display:none}.narrow{display:block}main,header,footer{padding:0 12px}header{padding-top:20px}
section{padding:15px 14px}h1{font-size:23px}.figures{grid-template-columns:1fr 1fr;gap:8px}.figure{padding:10px 12px}.figure dd{font-size:20px}}
.s-train{color:var(--train)}.s-eval{color:var(--eval)}
.s-1{color:var(--c1)}.s-2{color:var(--c2)}.s-3{color:var(--c3)}.s-4{color:var(--c4)}.s-5{color:var(--c5)}.s-6{color:var(--c6)}
.s-7{color:var(--c7)}.s-8{color:var(--c8)}
.sample{border-top:1px solid var(--edge);padding-top:16px;margin-top:16px}
.sample:first-of-type{border:0;padding:0;margin:0}
.prompt{font-weight:600;white-space:pre-wrap;margin-bottom:10px}
.side{display:grid;gap:12px;grid-template-columns:repeat(auto-fit,minmax(min(300px,100%),1fr))}
.side>div{background:var(--code);border-radius:8px;padding:10px 14px;border-left:3px solid var(--axis);min-width:0}
.side>div.after{border-left-color:var(--train)}
.side>div.reference{border-left-color:var(--good)}
.side h4,details h4{margin:0 0 4px;font-size:12.5px;font-weight:600;color:var(--soft)}
.text{white-space:pre-wrap;margin:0}
details{margin-top:10px}
summary{cursor:pointer;color:var(--soft);font-size:14px}
details .text{padding:8px 0 8px 14px;border-left:2px solid var(--edge)}
table+.caption{margin-top:14px}
table{border-collapse:collapse;width:100%;font-size:14px}
td,th{padding:5px 0;border-top:1px solid var(--faint);text-align:left;vertical-align:top;font-weight:400}
tr:first-child>*{border-top:0}
th{color:var(--soft);padding-right:14px}
td{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap;padding-left:10px}
.left td{text-align:left;white-space:normal}
.left th{white-space:nowrap}
.meter{height:10px;border-radius:5px;background:var(--faint);overflow:hidden;margin:5px 0 12px}
.meter i{display:block;height:100%;background:var(--train)}
.stack{display:flex;height:20px;border-radius:6px;overflow:hidden;gap:2px;margin:0 0 12px;background:var(--faint)}
.stack i{display:block;height:100%;min-width:2px;background:currentColor}
.key{display:inline-block;width:10px;height:10px;border-radius:3px;background:currentColor;margin-right:8px}
pre{margin:10px 0 0;padding:14px;background:var(--code);border-radius:8px;font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;
white-space:pre-wrap;tab-size:2}
footer{color:var(--soft);font-size:13px;padding-bottom:32px}
@media print{nav{display:none}body{background:#fff}section{break-inside:avoid}}
)css";

constexpr char kScript[] = R"js(
'use strict';
for (const svg of document.querySelectorAll('svg[data-series]')) {
  const series = JSON.parse(svg.dataset.series), [left, right, first, last, top, bottom, low, high] = JSON.parse(svg.dataset.plot);
  const make = (name, attributes) => {
    const node = document.createElementNS(svg.namespaceURI, name);
    for (const key in attributes) node.setAttribute(key, attributes[key]);
    return svg.appendChild(node);
  };
  const cursor = make('g', {visibility: 'hidden'});
  cursor.append(make('line', {class: 'cursor', y1: top, y2: bottom}), ...series.map(s => make('circle', {class: 'dot ' + s[1], r: 4})));
  const tip = document.createElement('div');
  tip.className = 'tip';
  tip.hidden = true;
  svg.parentNode.append(tip);
  const nearest = (points, step) => points.reduce((a, b) => Math.abs(b[0] - step) < Math.abs(a[0] - step) ? b : a);
  const hide = () => { tip.hidden = true; cursor.setAttribute('visibility', 'hidden'); };
  svg.addEventListener('pointermove', event => {
    const box = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / box.width;
    const wanted = first + ((event.clientX - box.left) * scale - left) / (right - left) * (last - first);
    const shown = series.filter(s => s[2].length);
    if (!shown.length) return hide();
    const step = nearest(shown.map(s => nearest(s[2], wanted)), wanted)[0], x = left + (step - first) / (last - first) * (right - left);
    cursor.firstChild.setAttribute('x1', x);
    cursor.firstChild.setAttribute('x2', x);
    tip.replaceChildren(Object.assign(document.createElement('div'), {textContent: 'step ' + step}));
    series.forEach((s, i) => {
      const dot = cursor.children[i + 1], point = s[2].find(p => p[0] === step);
      dot.setAttribute('visibility', point ? 'inherit' : 'hidden');
      if (!point) return;
      dot.setAttribute('cx', x);
      dot.setAttribute('cy', bottom - (point[1] - low) / (high - low) * (bottom - top));
      const row = Object.assign(document.createElement('div'), {textContent: s[0] + '  ' + point[1]});
      row.className = s[1];
      tip.append(row);
    });
    cursor.setAttribute('visibility', 'visible');
    tip.hidden = false;
    const at = x / scale;
    tip.style.left = Math.max(0, at > box.width / 2 ? at - tip.offsetWidth - 12 : at + 12) + 'px';
  });
  svg.addEventListener('pointerleave', hide);
}
)js";

std::string base64_of_hex(const std::string& hex) {
  static constexpr char kDigits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  uint32_t bits = 0;
  int num_bits = 0;
  for (const char c : hex) {
    bits = bits << 4 | static_cast<uint32_t>(c <= '9' ? c - '0' : c - 'a' + 10);
    num_bits += 4;
    if (num_bits < 6) continue;
    num_bits -= 6;
    text += kDigits[bits >> num_bits & 63];
  }
  if (num_bits > 0) text += kDigits[bits << (6 - num_bits) & 63];
  text.append((4 - text.size() % 4) % 4, '=');
  return text;
}

}  // namespace

const std::string& report_style() {
  static const std::string style = kStyle;
  return style;
}

const std::string& report_script() {
  static const std::string script = kScript;
  return script;
}

std::string report_security_policy() {
  return "default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-" +
         base64_of_hex(core::sha256_hex(report_script())) +
         "'; base-uri 'none'; form-action 'none'";
}

}  // namespace hone::formats
