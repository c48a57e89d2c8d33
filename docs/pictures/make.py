"""Make the pictures of the README: the road on a terminal, the page in the browser, the report.

    pip install -e . asciinema playwright && tfresnet demo --fetch
    python docs/pictures/make.py       # needs npx (Node.js) and Chromium; about 2 minutes

Nothing in the pictures is drawn by hand: commands run, and what they print is recorded.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

HERE = Path(__file__).parent
COLUMNS, ROWS = 100, 30
LONGEST = 0.5  # seconds that a frame stands, but for pauses before and after a command
FRAME = 1.0  # seconds of the recording that become one frame
LAST = 5.0  # seconds that the last frame stands
PAUSE = 1.4  # what is longer than this was meant as a pause
SVG_TERM = "svg-term-cli@2.1.1"


def main() -> None:
    """Write road.svg, demo.png, demo-phone.png and report.png beside this file."""
    with tempfile.TemporaryDirectory() as folder:
        record(Path(folder))
        photograph(Path(folder))


def record(folder: Path) -> None:
    """Run road.sh on a terminal of its own, and make an animated SVG of it."""
    cast = folder / "road.cast"
    size = ["--cols", str(COLUMNS), "--rows", str(ROWS)]
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    command = f"bash {HERE / 'road.sh'}"
    subprocess.run(
        [sys.executable, "-m", "asciinema", "rec", "--overwrite", *size, "-c", command, cast],
        cwd=folder, env=environment, check=True,
    )  # fmt: skip
    cast.write_text(thinned(cast.read_text()))
    subprocess.run(
        ["npx", "--yes", SVG_TERM, "--in", cast, "--out", HERE / "road.svg", "--window",
         "--no-cursor"],
        check=True,
    )  # fmt: skip


def thinned(cast: str) -> str:
    """Return a recording (asciicast v2) with fewer frames, in which nothing takes long."""
    header, *lines = cast.splitlines()
    events = [json.loads(line) for line in lines]
    frames: list[list] = []
    for time, kind, text in events:
        if frames and time - frames[-1][0] < FRAME:
            frames[-1][2] += text
        else:
            frames.append([time, kind, text])
    now, before, kept = 0.0, 0.0, [header]
    for time, kind, text in frames:
        gap = time - before
        now += gap if PAUSE < gap < 3 * PAUSE else min(gap, LONGEST)
        before = time
        kept.append(json.dumps([round(now, 3), kind, text]))
    kept.append(json.dumps([round(now + LAST, 3), "o", " "]))
    return "\n".join(kept) + "\n"


def photograph(folder: Path) -> None:
    """Open the report and the page in Chromium, choose a sample, and take pictures."""
    from playwright.sync_api import sync_playwright

    from tfresnet.deploy.device import demo

    run = folder / "runs" / "quickstart"
    files = demo.files_of([run])
    server = demo.server(demo.pages(files, demo.samples_of(files[0])), 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, width, height in (("demo", 1000, 640), ("demo-phone", 390, 844)):
            page = browser.new_page(viewport={"width": width, "height": height})
            page.goto(f"http://127.0.0.1:{server.server_address[1]}/")
            page.locator("#status", has_text="Ready.").wait_for()
            page.locator("#samples button").first.click()
            page.locator("#models li").first.wait_for()
            page.screenshot(path=HERE / f"{name}.png")
        page = browser.new_page(viewport={"width": 1000, "height": 900})
        page.goto((run / "export" / "report.html").as_uri())
        page.screenshot(path=HERE / "report.png")
        browser.close()
    server.shutdown()


if __name__ == "__main__":
    main()
