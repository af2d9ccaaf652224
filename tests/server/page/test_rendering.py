"""How answers become nodes: the same whatever the pieces, at a bounded cost, and nothing in them does anything."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.async_api import Page

from client.sandbox import Reply, Sandbox
from client.sandbox.models.prose import MARKDOWN
from tests.support.browser import WITH_KEPT_BROWSER, open_browser
from tests.support.chunks import END, HEAD, STOP, call, chunk, event, text
from tests.support.page import needs_vendor, visiting
from tests.support.serving import Api

pytestmark = WITH_KEPT_BROWSER

PIECES = [
    "# H\n\n",
    "para **bold** `code` *em* ~~x~~ \n",
    "- a\n- b\n  - c\n\n",
    "1. x\n2. y\n\n",
    "> q\n> w\n\n",
    "```python\nx = 1\n\n# y\n```\n\n",
    "~~~\nraw ```\n~~~\n",
    "| a | b |\n|---|:-:|\n| 1 | 2 |\n\n",
    "$$\nx^2\n$$\n\n",
    "inline $a+b$ and \\(c\\) $5 to $10\n\n",
    "[ref] [x][ref]\n\n",
    "[ref]: https://example.com/\n\n",
    "<div>\nhtml\n</div>\n\n",
    "    indented\n\n",
    "---\n",
    "text\n---\n",
    "* * *\n",
    "- [ ] todo\n- [x] done\n",
    "\\[ y \\]\n",
    "a\r\nb\r\n\r\n",
    "```\nopen fence\n",
    "- item\n\n  para in item\n\n      code\n\n",
    "line  \nbreak\\\nx\n",
    "https://example.com/auto\n",
    "***bold em** x*\n\n",
    "\n\n\n",
    "Setext\n===\n\n",
    "1) one\n1) two\n",
    "&amp; &lt; \\* \\_\n",
    "\t- tab\n",
    "+ p\n\n+ q\n",
    "![i](https://e.x/y)\n",
    "``` js\nlet a;\n```",
]

SAME = """async (cases) => {
  const {load} = await import("/assets/x/render/blocks.js");
  const {BlockRenderer} = await load();
  const drawn = document.createElement("div");
  new BlockRenderer(drawn).finish("$x$");
  while (!drawn.querySelector(".katex")) await new Promise((resolve) => setTimeout(resolve, 5));
  const pause = () => new Promise((resolve) => setTimeout(resolve, 0));
  const different = [];
  for (const {text, steps, cuts} of cases) {
    const once = document.createElement("div");
    new BlockRenderer(once).finish(text);
    await new Promise((resolve) => setTimeout(resolve, 20));
    const ways = [...steps.map((step) => Array.from({length: Math.ceil(text.length / step)}, (_, i) => (i + 1) * step)),
                  ...cuts.map((cut) => [cut])];
    for (const way of ways) {
      const element = document.createElement("div");
      const renderer = new BlockRenderer(element);
      for (const end of way) renderer.update(text.slice(0, end));
      renderer.finish(text);
      await pause();
      if (element.innerHTML !== once.innerHTML) { different.push([text, way.slice(0, 3)]); break; }
    }
  }
  return different;
}"""

COST = """async (text) => {
  const {load, counts} = await import("/assets/x/render/blocks.js");
  const {BlockRenderer} = await load();
  let made = 0;
  const makers = [document.createElement, document.createTextNode];
  document.createElement = function (...words) { made++; return makers[0].apply(this, words); };
  document.createTextNode = function (...words) { made++; return makers[1].apply(this, words); };
  const element = document.body.appendChild(document.createElement("div"));
  const renderer = new BlockRenderer(element);
  counts.lexed = 0;
  let touched = 0;
  const finished = new Set();
  const observer = new MutationObserver((records) => {
    for (const {target, removedNodes} of records)
      for (const node of [target, ...removedNodes]) for (const done of finished) if (done.contains(node)) touched++;
  });
  observer.observe(element, {childList: true, subtree: true, characterData: true});
  for (let end = 20; end < text.length + 20; end += 20) {
    renderer.update(text.slice(0, end));
    if (end % 2000 < 20) {  // what lies well before the end is finished
      await new Promise((resolve) => setTimeout(resolve, 0));
      for (const node of [...element.children].slice(0, -3)) finished.add(node);
    }
  }
  await new Promise((resolve) => setTimeout(resolve, 200));
  touched = 0;
  renderer.finish(text);
  await new Promise((resolve) => setTimeout(resolve, 0));
  document.createElement = makers[0];
  document.createTextNode = makers[1];
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_ALL);
  let kept = 0;
  while (walker.nextNode()) kept++;
  element.remove();
  return {made: made / kept, lexed: counts.lexed / text.length, touched};
}"""

HOSTILE = [
    "<script>window.ran = 1</script>",
    "<img src=x onerror=window.ran=1>",
    "<svg onload=window.ran=1>",
    "<svg><script>window.ran=1</script></svg>",
    "<iframe src=javascript:window.ran=1></iframe>",
    "<a href=javascript:window.ran=1>x</a>",
    "<style>*{background:url(https://evil.example/x)}</style>",
    "<link rel=stylesheet href=https://evil.example/x>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<base href=https://evil.example/>",
    "<form action=https://evil.example><button>x</button></form>",
    "<math><mtext></mtext><mglyph><svg><style><img src=x onerror=window.ran=1></style></svg></mglyph></math>",
    *(
        f"[x]({address})"
        for address in (
            "javascript:window.ran=1",
            "JaVaScRiPt:window.ran=1",
            "java\tscript:window.ran=1",
            "&#106;avascript:window.ran=1",
            "&#x6A;avascript&colon;window.ran=1",
            " javascript:window.ran=1",
            "\x01javascript:window.ran=1",
            "data:text/html,<script>window.ran=1</script>",
            "data:text/html;base64,PHNjcmlwdD53aW5kb3cucmFuPTE8L3NjcmlwdD4=",
            "vbscript:window.ran=1",
            "file:///etc/passwd",
            "blob:https://evil.example/x",
            "//evil.example/x",
            "https://user:pass@evil.example/",
            "<javascript:window.ran=1>",
        )
    ),
    "<javascript:window.ran=1>",
    "![x](https://evil.example/pixel.png)",
    "![x](javascript:window.ran=1)",
    "![x](data:image/svg+xml,<svg onload=window.ran=1>)",
    "[x][y]\n\n[y]: javascript:window.ran=1",
    "[x](https://example.com 'title\" onmouseover=window.ran=1')",
    '```"><script>window.ran=1</script>\nx\n```',
    "```html\n<script>window.ran=1</script>\n```",
    "- ```\n  <script>window.ran=1</script>\n  ```",
    "`<script>window.ran=1</script>`",
    "| <script>window.ran=1</script> | b |\n|---|---|\n| <img src=x onerror=window.ran=1> | y |",
    "$\\href{javascript:window.ran=1}{x}$",
    "$\\url{javascript:window.ran=1}$",
    "$\\includegraphics{https://evil.example/x.png}$",
    "$\\htmlData{x=y}{z}\\htmlClass{q}{z}\\htmlStyle{color:red}{z}$",
    "$$\\def\\x{\\x\\x}\\x$$",
    "$$" + "\\sqrt{" * 500 + "}" * 500 + "$$",
    "$$\\rule{1000000em}{1000000em}$$",
    "\u202e\u2066\u2067evil\u2069",
    "\ud83d lone \ude00 halves".encode("utf-16", "surrogatepass").decode("utf-16", "replace"),
    "\x00\x07\x1b[31mred",
    ">" * 10_000 + " deep",
    "- " * 2_000 + "deep",
    "[" * 5_000,
    "*" * 5_000,
    "_a" * 5_000,
    "`" * 5_000,
    "<" * 5_000,
    "![" * 3_000,
    "|" * 5_000 + "\n" + "|-" * 2_500,
    "1." * 5_000,
    "x" * 1_048_576,
    "&" * 5_000,
    "a@" * 5_000,
    "https://" * 2_000,
    "\n" * 20_000,
    "constructor __proto__ toString [constructor] [__proto__]: x",
]

LOOKS = """async (texts) => {
  const {load} = await import("/assets/x/render/blocks.js");
  const {BlockRenderer} = await load();
  const names = "p h3 h4 h5 h6 blockquote hr ol ul li div table thead tbody tr th td figure figcaption span button pre code strong em del br a input".split(" ");
  const found = [];
  let longest = 0;
  for (const text of texts) {
    const element = document.body.appendChild(document.createElement("div"));
    const renderer = new BlockRenderer(element);
    const began = performance.now();
    renderer.update(text.slice(0, text.length >> 1));
    const half = performance.now();
    renderer.finish(text);
    longest = Math.max(longest, half - began, performance.now() - half);
    await new Promise((resolve) => setTimeout(resolve, 5));
    for (const node of element.querySelectorAll("*")) {
      if (!node.closest(".katex") && !names.includes(node.localName)) found.push([text.slice(0, 60), node.localName]);
      for (const {name, value} of node.attributes) {
        if (name.startsWith("on") || name === "srcdoc" || (name === "style" && !node.closest(".katex"))) found.push([text.slice(0, 60), name]);
        if (/^(href|src|action|xlink:href)$/.test(name) && !/^(https?|mailto):/.test(value)) found.push([text.slice(0, 60), value]);
      }
      if (["img", "script", "iframe", "link", "style", "form", "object", "embed"].includes(node.localName)) found.push([text.slice(0, 60), node.localName]);
    }
    element.remove();
  }
  return {found, ran: window.ran ?? null, longest};
}"""


async def look(page: Page, code: str, value: Any) -> Any:
    return await page.evaluate(code, value)


async def test_markdown_is_the_same_whatever_its_pieces(api: Api) -> None:
    needs_vendor()
    chance = random.Random(11)
    texts = ["".join(chance.choice(PIECES) for _ in range(chance.randint(1, 9))) for _ in range(60)]
    cases = [{"text": MARKDOWN, "steps": [3, 20], "cuts": list(range(1, len(MARKDOWN), 17))}]
    cases += [{"text": each, "steps": [1, 7], "cuts": []} for each in texts]
    cases += [{"text": each, "steps": [], "cuts": list(range(1, len(each)))} for each in texts[:6]]
    async with open_browser() as browser, visiting(browser, api.url) as visitor:
        assert await look(visitor.page, SAME, cases) == []


async def test_any_markdown_cut_at_any_byte_is_the_same(api: Api) -> None:
    """Pieces of Markdown with pieces of words and marks between them, which hypothesis makes smaller when it fails."""
    needs_vendor()
    marks = st.text("*_`~[]()<>#-+|:$\\\\!&=. \n\tab1é🌦", max_size=8)
    async with open_browser() as browser, visiting(browser, api.url) as visitor:
        loop = asyncio.get_running_loop()

        @settings(
            max_examples=120, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
        )
        @given(st.lists(st.sampled_from(PIECES) | marks, max_size=6), st.data())
        def check(pieces: list[str], data: st.DataObject) -> None:
            text = "".join(pieces)
            cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=4))
            case = {"text": text, "steps": [1, 5], "cuts": cuts}
            different = asyncio.run_coroutine_threadsafe(look(visitor.page, SAME, [case]), loop).result(30)
            assert different == []

        await asyncio.to_thread(check)


LONG = {
    "mixed": ((MARKDOWN * 40)[:100_000], 30),
    "list": ("".join(f"- item {number} with **bold** text and `code`\n" for number in range(600)), 30),
    "table": ("| a | b |\n|---|---|\n" + "".join(f"| {number} | **b** |\n" for number in range(800)), 40),
    "code": ("```python\n" + "x = 1  # comment\n" * 1500 + "```\n", 3),
    "paragraph": ("word and *more* " * 1000, 40),
}


async def test_what_streaming_costs_is_bounded_whatever_the_text(api: Api) -> None:
    """Counts, not times: nodes made for each that stays, and characters read for each of the text."""
    needs_vendor()
    async with open_browser() as browser, visiting(browser, api.url) as visitor:
        for name, (long, most) in LONG.items():
            cost = await look(visitor.page, COST, long)
            print(name, cost)
            assert cost["made"] <= 30
            assert cost["lexed"] <= most
            if name == "mixed":
                assert cost["touched"] == 0


async def test_hostile_answers_do_nothing(api: Api) -> None:
    needs_vendor()
    assert len(HOSTILE) >= 60
    async with open_browser() as browser, visiting(browser, api.url) as visitor:
        seen = await look(visitor.page, LOOKS, HOSTILE)
        print(f"longest: {seen['longest']:.0f} ms")
        assert seen["found"] == []
        assert seen["ran"] is None


async def test_hostile_words_in_every_place_are_text(api: Api, upstream: Sandbox) -> None:
    evil = '<img src=x onerror="window.ran=1"><script>window.ran=1</script>'
    arguments = json.dumps({"a": evil})
    places = {
        "content": [text(evil)],
        "thinking": [chunk({"reasoning": evil}), text("x")],
        "tool": [chunk({"tool_calls": [call(0, arguments, name=evil, id="1")]})],
        "model": [
            event({**HEAD, "model": evil, "provider": evil, "choices": [{"index": 0, "delta": {"content": "x"}}]})
        ],
    }
    upstream.script(*(Reply.stream(*steps, STOP, END) for steps in places.values()))
    async with open_browser() as browser, visiting(browser, api.url) as visitor:
        for place in places:
            await visitor.page.keyboard.press("Control+Shift+O")
            await visitor.send(evil)
            await visitor.answered()
            assert await visitor.page.locator("main img, main script").count() == 0, place
            assert await visitor.page.evaluate("window.ran") is None, place
