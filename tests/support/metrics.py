"""What a daemon under test shows by HTTP."""

import http.client
import re
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

ANYWHERE = ("--metrics-bind", "127.0.0.1:*")
WITHIN_S = 10.0

Labels = frozenset[tuple[str, str]]
Page = dict[str, dict[Labels, float]]


def base(log: Path) -> str:
    """Where the daemon of this log shows its metrics."""
    found = re.search(r"metrics are on (http://\S+)/metrics", log.read_text())
    if not found:
        raise RuntimeError(log.read_text())
    return found[1]


def get(url: str, path: str, **headers: str) -> tuple[int, str, str]:
    """The code, the kind and the text of an answer."""
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=WITHIN_S)) as connection:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read().decode()


def scraped(url: str) -> Page:
    """The samples by name and labels, once they are fresh."""
    time.sleep(0.6)
    page: Page = {}
    for family in text_string_to_metric_families(get(url, "/metrics")[2]):
        for sample in family.samples:
            page.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return page


def total(page: Page, name: str, **labels: str) -> float:
    """The sum of the samples of this name that have these labels."""
    return sum(value for found, value in page.get(name, {}).items() if labels.items() <= set(found))
