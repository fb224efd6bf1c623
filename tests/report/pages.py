"""A page taken apart, and a name that tries to break out of its place."""

import html
import re
from html.parser import HTMLParser

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}$x^2$'&"
VOID = {"meta", "img", "br", "wbr", "hr", "link", "input"}


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.words, self.open, self.wrong = [], [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data):
        self.words.append(data)


def wide_tables(text):
    """Of each table of five columns or more: the names of its columns, and of each row the names beside its cells."""
    for table in re.findall(r"<table.*?</table>", text, re.DOTALL):
        names = [html.unescape(name) for name in re.findall(r"<th[^>]*>(.*?)</th>", table)]
        rows = [re.findall(r"<td([^>]*)>", row) for row in re.findall(r"<tr[^>]*>.*?</tr>", table, re.DOTALL)]
        if 'class="stack"' in table or (len(names) > 4 and 'class="under"' not in table):
            told = [[html.unescape(of) for cell in row for of in re.findall(r'data-of="(.*?)"', cell)] for row in rows]
            yield names, [row for row, cells in zip(told, rows, strict=True) if cells]
