"""Draws compare.svg from compare.json: picture.py FOLDER. It has its own background, for light and for dark pages."""

import json
import sys
import textwrap
from html import escape
from pathlib import Path

WIDTH, NAMES, BARS, LINE = 880, 210, 350, 24
STYLE = """
  svg { background: #ffffff; font: 13px system-ui, sans-serif }
  .paper { fill: #ffffff } text { fill: #1f2328 } .quiet { fill: #59636e } .caption { fill: #59636e; font-size: 11px }
  .head { font-size: 15px; font-weight: 600 } .ours { fill: #0969da } .theirs { fill: #9aa4af }
  .strong { font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    svg { background: #0d1117 } .paper { fill: #0d1117 } text { fill: #e6edf3 } .quiet, .caption { fill: #9198a1 }
    .ours { fill: #4493f8 } .theirs { fill: #656c76 }
  }
"""


class Picture:
    def __init__(self):
        self.y, self.parts = 16, []

    def text(self, x, text, style=""):
        self.parts.append(f'<text x="{x}" y="{self.y}" class="{style}">{escape(text)}</text>')

    def head(self, text, quiet):
        self.y += 24
        self.text(16, text, "head")
        self.y += 18
        self.text(16, quiet, "quiet")
        self.y += 8

    def bar(self, name, length, label, ours):
        self.y += LINE
        strong = " strong" if ours else ""
        self.text(32, name, strong)
        width = max(1, round(BARS * length, 1))
        style = "ours" if ours else "theirs"
        self.parts.append(f'<rect x="{NAMES}" y="{self.y - 13}" width="{width}" height="16" rx="2" class="{style}"/>')
        self.text(NAMES + width + 8, label, strong)

    def group(self, title):
        self.y += LINE + 8
        self.text(16, title, "quiet")
        self.y -= 4

    def caption(self, text):
        self.y += 12
        for line in textwrap.wrap(" ".join(text.split()), 150):
            self.y += 15
            self.text(16, line, "caption")

    def svg(self, title):
        height = self.y + 16
        return "\n".join([
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            f'role="img" aria-labelledby="title">', f'<title id="title">{escape(title)}</title>',
            f"<style>{STYLE}</style>", f'<rect class="paper" width="{WIDTH}" height="{height}" rx="6"/>',
            *self.parts, "</svg>", "",
        ])


def is_floor(side):
    return side["name"].startswith("hyper")


def is_ours(side):
    return side["name"].startswith("lingpai")


def draw(result):
    picture = Picture()
    picture.head("Answers a second, on one core", "more is better; beside it the server's CPU time of one answer")
    groups = [(row["request"], [side for side in row["sides"] if not is_floor(side)]) for row in result["rows"]]
    groups = [(request, sides) for request, sides in groups if "two cores" not in request]
    groups = [(request, sides) for request, sides in groups if any(not is_ours(side) for side in sides)]
    most = max(side["rps"] for _, sides in groups for side in sides)
    for request, sides in groups:
        picture.group(request)
        for side in sides:
            label = f"{side['rps']:,.0f} · {side['cpu_us']:.0f} µs"
            if not is_ours(side):
                label += f" · lingpai {side['faster']:.1f} ×"
            picture.bar(side["name"], side["rps"] / most, label, side is sides[0])

    picture.y += 14
    picture.head("CPU time of an answer",
                 "less is better; bare hyper sends the same bytes after one operation of ring, or none")
    groups = [
        (row["request"], [side for side in row["sides"] if is_floor(side) or is_ours(side)])
        for row in result["rows"]
    ]
    most = max(side["cpu_us"] for _, sides in groups for side in sides)
    for request, sides in groups:
        picture.group(request)
        for side in sides:
            label = f"{side['cpu_us']:.1f} µs"
            if is_floor(side):
                label += f" · {side['share']:.2f} of lingpai's"
            picture.bar(side["name"], side["cpu_us"] / most, label, side is sides[0])
    picture.caption(caption(result))
    return picture.svg("What lingpai costs beside fastify + fast-jwt, oidc-provider and bare hyper")


def caption(result):
    version = result["versions"]
    logged = min(row["sides"][0]["logged"] for row in result["rows"])
    return f"""
        {result['date']}; {result['machine']}. lingpai {version['lingpai']} ({version['commit']}), Node
        {version['node']}, fastify {version['fastify']}, fast-jwt {version['fast-jwt']}, oidc-provider
        {version['oidc-provider']}. Server on core 0, wrk on core 1 (two cores: both on both), {result['connections']}
        connections over loopback. The sides took turns, {result['rounds']} rounds of {result['seconds']} s each;
        medians, of ratios the rounds' own. Every answer was looked at: a status other than 200 or a wrong body would
        have voided the run. Others used {result['others']:.0%} of the machine at most. ES256 and the same claims
        everywhere. lingpai wrote its log to a file ({logged:.0%} of the requests at least) and counted its metrics; the
        rivals had neither log nor metrics. lingpai, AWS-LC is a build with the feature aws-lc; lingpai alone has
        ring. fastify's endpoint does what lingpai's does (client's secret, access token,
        HS256 refresh token), with schemas; both caches have {result['cache']:,} entries, fast-jwt's with the token
        itself as key, as its documentation says for speed. oidc-provider gives no refresh token with client
        credentials, and stores nothing. Repeated: {result['cache']:,} tokens, Zipf with exponent 1. Distinct, and PUT:
        each of {result['distinct']:,} tokens in turn. One machine, small bodies, no TLS: take the ratios elsewhere, not
        the rates.
    """


folder = Path(sys.argv[1])
(folder / "compare.svg").write_text(draw(json.loads((folder / "compare.json").read_text())))
