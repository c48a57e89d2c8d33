"""``tfresnet demo``; it loads no TensorFlow."""

import webbrowser
from pathlib import Path

import click

from tfresnet.cli.common import PATH, json_option, print_json, reports_mistakes, trained_file


@click.command("demo")
@click.argument("models", nargs=-1, metavar="[MODEL]...", type=PATH)
@click.option("--samples", type=PATH, help="Folder of pictures (default: the run's).")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535))
@click.option("--no-browser", is_flag=True, help="Print the address; open nothing.")
@click.option("--fetch", is_flag=True, help="Get the browser's interpreters with npm, once.")
@json_option
@reports_mistakes
def command(
    models: tuple[Path, ...],
    samples: Path | None,
    port: int,
    no_browser: bool,
    fetch: bool,
    as_json: bool,
) -> None:
    """Run model files in the browser: drop a picture, paste one, or use the camera.

    The page is served to this machine alone, and needs no network: LiteRT.js runs .tflite and
    onnxruntime-web .onnx, in the browser. Several files answer side by side. MODEL may be a run,
    whose float32 and int8 files are then shown, or the name of a shipped network; without one it
    is cifar10-resnet20. Ctrl-C ends it.

    \b
    Examples:
      tfresnet demo --fetch
      tfresnet demo
      tfresnet demo runs/quickstart
      tfresnet demo model_float32.onnx model_int8.tflite --samples pictures
    """
    from tfresnet.deploy.device import demo, web_runtimes
    from tfresnet.runs import shipped

    if fetch:
        where = web_runtimes.fetch()
        click.echo(f"The browser's interpreters are in {where}", err=True)
    if fetch and not models:
        return
    web_runtimes.files()  # before a file is made, which takes longer
    files = demo.files_of([trained_file(m) or m for m in models or [Path(shipped.DEFAULT)]])
    chosen = demo.samples_in(samples) if samples else demo.samples_of(files[0])
    with demo.server(demo.pages(files, chosen), port) as server:
        url = f"http://{demo.HOST}:{server.server_address[1]}/"
        if as_json:
            print_json({"url": url})
        else:
            click.echo(f"{url}  (Ctrl-C ends it)")
        if not no_browser:
            webbrowser.open(url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("", err=True)
