#!/usr/bin/env python3
"""report.html of a real run in a real browser. Usage: report_test.py BINDIR [KEEP_SCREENSHOTS_IN]"""

import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

from browser import Browser

TINY_CHAT = Path(__file__).resolve().parents[1] / "golden" / "tiny-chat"
HOSTILE = "<script>window.stolen=1</script><img src=x onerror='window.stolen=2'>\n</p></section></script><!-- & &amp; \"'` " + "long" * 60
RECIPE = """recipe: sft
model_name_or_path: model
dtype: float32
adapter: {type: lora, r: 4, lora_alpha: 8, target_modules: all-linear}
datasets: [{path: train.jsonl, format: messages}]
eval_datasets: [{path: test.jsonl, format: messages}]
max_length: 64
packing: true
learning_rate: 1.0e-2
max_steps: 60
logging_steps: 1
eval_steps: 20
sample_prompts: ["Hello?"]
sample_max_new_tokens: 8
output_dir: run
"""
# Smallest contrast (WCAG 2) of any text with what is behind it.
CONTRAST = """(() => {
  const parse = c => c.match(/[\\d.]+/g).map(Number), light = c => {
    const [r, g, b] = c.slice(0, 3).map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3]) return c; } return [255, 255, 255]; };
  let worst = [99, ''];
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || !e.getClientRects().length || e.localName === 'script') continue;
    const style = getComputedStyle(e), a = light(parse(e instanceof SVGElement ? style.fill : style.color)), b = light(behind(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < worst[0]) worst = [ratio, e.outerHTML.slice(0, 80)];
  }
  return worst;
})()"""
# Elements that reach out of the page sideways, but for the bar of links, which scrolls.
SIDEWAYS = """(() => {
  const wide = [...document.querySelectorAll('body *')].filter(e => !e.closest('nav') && e.getClientRects().length &&
      (e.getBoundingClientRect().right > innerWidth + 0.5 || e.getBoundingClientRect().left < -0.5));
  return [document.documentElement.scrollWidth > innerWidth, wide.map(e => e.outerHTML.slice(0, 80))];
})()"""

failed = []


def expect(ok, name, detail=""):
    print(f"{'ok  ' if ok else 'FAIL'} {name}{': ' + str(detail) if detail != '' else ''}", flush=True)
    if not ok:
        failed.append(name)


def make_run(programs, work):
    """A short training run whose samples are hostile."""
    (work / "model").mkdir()
    for source in TINY_CHAT.iterdir():
        shutil.copy(source, work if source.suffix == ".jsonl" else work / "model")
    (work / "recipe.yaml").write_text(RECIPE)
    environment = {**os.environ, "HONE_HUB": str(work / "hub"), "XDG_CACHE_HOME": str(work / "cache"), "OMP_NUM_THREADS": "1"}

    def hone(*arguments):
        done = subprocess.run([programs / "hone", *arguments], cwd=work, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"hone {' '.join(arguments)}: exit {done.returncode}\n{done.stderr}")

    hone("train", "recipe.yaml")
    page = (work / "run/report.html").read_text()
    expect("</html>" in page and "Hello?" in page and "after, step 60" in page, "a run leaves a report with its samples")
    rows = [{"step": step, "prompt": prompt, "text": f"{HOSTILE} at {step}"} for step in (0, 30, 60) for prompt in ("Hello?", HOSTILE)]
    (work / "run/samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    hone("report", "run")
    return work / "run"


def colours(png):
    """Distinct bytes among the rows of a screenshot: a blank page has hardly any."""
    data, at = b"", 8
    while at < len(png):
        size, kind = struct.unpack(">I4s", png[at : at + 8])
        data += png[at + 8 : at + 8 + size] if kind == b"IDAT" else b""
        at += size + 12
    return len(set(zlib.decompress(data)))


def check_content(browser, run):
    report = json.loads((run / "run.json").read_text())
    expect(browser.js("document.title") == "run", "title")
    expect(browser.js("document.querySelector('.badge').textContent") == report["outcome"]["status"], "outcome")
    sections = browser.js("[...document.querySelectorAll('section')].map(s => s.id)")
    expect(sections == ["curves", "samples", "data", "cost", "recipe", "files"], "every section is there", sections)
    expect(browser.js("[...document.querySelectorAll('nav a')].every(a => document.querySelector(a.hash))"), "links lead to sections")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    drawn = browser.js("JSON.parse(document.querySelector('.wide svg').dataset.series).map(s => s[2].length)")
    expect(drawn == [sum("loss" in r for r in rows), sum("eval_loss" in r for r in rows)], "both losses are drawn at every row", drawn)
    titles = browser.js("[...document.querySelectorAll('#curves h3')].map(h => h.textContent)")
    expect({"Loss", "Learning rate", "Gradient norm", "Speed"} <= set(titles), "curves", titles)
    flat = browser.js("""[...document.querySelectorAll('polyline')].filter(p => p.getClientRects().length)
                         .filter(p => { const b = p.getBoundingClientRect(); return b.width < 50 || b.height < 1; }).length""")
    expect(flat == 0, "no visible curve is flat or empty")
    data = report["data"]["train"]
    expect(browser.js("document.querySelector('#data td').textContent") == f"{data['rows']:,}", "rows of the data")
    expect(browser.js("document.querySelectorAll('#data svg')[0].querySelectorAll('rect').length") == len(data["lengths"]), "row lengths")
    expect(f"{100 * data['packing_fill']:.1f}\u00a0%" in browser.js("document.querySelector('#data').textContent"), "packing fill")
    recipe = browser.js("document.querySelector('#recipe pre').textContent")
    expect("learning_rate: 0.01" in recipe and "max_steps: 60" in recipe, "recipe")
    links = browser.js("[...document.querySelectorAll('#files a')].map(a => a.getAttribute('href'))")
    expect(len(links) >= 4 and all((run / link).exists() for link in links), "links lead to the files of the run", links)


def check_hostile(browser):
    prompts = browser.js("[...document.querySelectorAll('.prompt')].map(p => p.textContent)")
    expect(prompts == ["Hello?", HOSTILE], "prompts are shown as they are")
    texts = browser.js("[...document.querySelectorAll('.side .text')].map(p => p.textContent)")
    expect(texts == [f"{HOSTILE} at {step}" for _ in prompts for step in (0, 60)], "before and after, side by side, as they are")
    side = browser.js("[...document.querySelectorAll('.side')].map(s => s.children[0].getBoundingClientRect().top === s.children[1].getBoundingClientRect().top)")
    expect(side == [True, True], "before and after stand beside each other")
    expect(browser.js("window.stolen") is None, "no script of a sample ran")
    expect(browser.js("document.scripts.length + 10 * document.images.length") == 1, "no markup of a sample is markup")


def check_pointer(browser, run):
    box = browser.js("(({left, top, width, height}) => [left, top, width, height])(document.querySelector('.wide svg').getBoundingClientRect())")
    browser.point_at(box[0] + box[2] / 2, box[1] + box[3] / 2)
    tip = browser.js("[...document.querySelector('.wide .tip').children].map(d => d.textContent)")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    step = int(tip[0].removeprefix("step "))
    loss = next(r["loss"] for r in rows if r["step"] == step and "loss" in r)
    expect(25 <= step <= 35 and tip[1] == f"training  {float(f'{loss:.5g}'):g}", "the pointer shows the values of its step", tip)
    browser.point_at(1, 1)
    expect(browser.js("document.querySelector('.wide .tip').hidden"), "and takes them away")


def check_looks(browser, keep):
    shots = {}
    for scheme in ("light", "dark"):
        for width in (1280, 768, 390, 320):
            browser.look(scheme, width)
            overflow, wide = browser.js(SIDEWAYS)
            expect(not overflow and not wide, f"{scheme}, {width} px: nothing reaches out sideways", wide[:3] if wide else "")
            ratio, where = browser.js(CONTRAST)
            expect(ratio >= 4.5, f"{scheme}, {width} px: contrast of every text is at least 4.5", f"{ratio:.2f} {where if ratio < 4.5 else ''}")
            shots[scheme, width] = browser.screenshot()
            if keep:
                (Path(keep) / f"report-{scheme}-{width}.png").write_bytes(shots[scheme, width])
    expect(all(colours(shot) > 64 for shot in shots.values()), "no screenshot is blank")
    expect(all(shots["light", w] != shots["dark", w] for w in (1280, 390)), "light and dark differ")
    back = [browser.look(scheme) or browser.js("getComputedStyle(document.body).backgroundColor") for scheme in ("light", "dark")]
    expect(back == ["rgb(245, 247, 250)", "rgb(12, 16, 22)"], "the theme is the reader's", back)
    browser.look(width=390)
    small = browser.js("Math.min(...[...document.querySelectorAll('svg text')].filter(t => t.getClientRects().length).map(t => t.getBoundingClientRect().height))")
    expect(small >= 9, "labels are readable on a phone", f"{small:.1f} px")
    browser.look()


def check_policy(browser):
    """What a hole in the escaping would lead to: nothing."""
    browser.js("""document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.stolen = 3'}))""")
    expect(browser.js("window.stolen") is None, "a script that got into the page would not run")
    answer = browser.js("fetch('http://127.0.0.1:9/').then(() => 'sent', error => 'refused')")
    sent = [url for url in browser.requests if "127.0.0.1" in url]
    complaints = " ".join(browser.complaints)
    expect(answer == "refused" and "Content Security Policy" in complaints, "a request that got into the page would not be sent", sent)


def main():
    keep = sys.argv[2] if len(sys.argv) > 2 else None
    with tempfile.TemporaryDirectory(prefix="hone-report-") as work:
        run = make_run(Path(sys.argv[1]).resolve(), Path(work))
        with Browser() as browser:
            browser.look()
            browser.open(run / "report.html")
            check_content(browser, run)
            check_hostile(browser)
            check_pointer(browser, run)
            check_looks(browser, keep)
            asked = [url for url in browser.requests if not url.startswith("data:")]
            expect(asked == [(run / "report.html").as_uri()], "the page asks for nothing", asked)
            expect(browser.complaints == [], "the browser has nothing to complain about", browser.complaints)
            check_policy(browser)
    print(f"{len(failed)} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
