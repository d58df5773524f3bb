"""The page itself, in gradio; what its buttons do is in `session`."""

import functools
import os
import pathlib
import random
import tempfile

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
import gradio as gr

from .. import votes
from ..model import Model
from ..results import Samples
from . import session
from .inputs import GIVEN, LEFT_OUT, chosen, inputs, settings
from .parts import CSS, card, clear_errors
from .turns import Runs

MOST_VISITORS = 8  # at once; more wait in line


def build(model: Model, name: str, votes_path: pathlib.Path) -> gr.Blocks:
    """The page of a model; votes are kept in `votes_path`."""
    visitors, downloads = Runs(), tempfile.TemporaryDirectory(prefix="jointdiff-")  # removed when the page ends
    names = model.layout.names

    def read(values):
        """(given, noise, left out) of the inputs' values."""
        given, noise, left_out = {}, {}, []
        for i, modality in enumerate(model.layout.names):
            role, value, level = values[3 * i : 3 * i + 3]
            if role == LEFT_OUT:
                left_out.append(modality)
            elif role == GIVEN:
                given[modality] = session.read_value(model, modality, value)
                noise |= {modality: float(level)} if level else {}
        return given, noise, left_out

    def show(runs: list[Samples], index: int) -> list:
        """Updates of everything that shows run `index`."""
        samples = runs[index]
        pictures, num = {n: samples.html(n) for n in samples}, len(samples[next(iter(samples))])
        free = [n for n in samples if n not in samples.given]
        kept = samples.info.get("kept", [[]] * num)
        out = []
        for i in range(session.MOST_RESULTS):
            there = i < num
            out += [
                gr.update(visible=there),
                gr.update(value=card(pictures, i, samples.given) if there else ""),
                gr.update(choices=free, value=[n for n in kept[i] if n in free] if there else []),
            ]
        titles = [session.title(i + 1, run) for i, run in enumerate(runs)]
        return [
            *out,
            session.status(samples),
            gr.update(choices=titles, value=titles[index]),
            gr.update(value=session.archive(runs, downloads.name), interactive=True),
        ]

    def added(runs, samples):
        runs = [*runs, samples][-session.MOST_RUNS :]
        return [runs, len(runs) - 1, *show(runs, len(runs) - 1)]

    def forming(state, left_out) -> list:
        """Updates of the cards while samples form."""
        pictures, out = session.so_far(model, state, left_out), []
        num = len(next(iter(pictures.values())))
        for i in range(session.MOST_RESULTS):
            out += [gr.update(visible=i < num), card(pictures, i) if i < num else gr.skip(), gr.skip()]
        return out

    def drawing(who, work, steps, left_out, runs, index, seed, progress):
        """Everything that a run shows, while it goes on and at its end; what was there comes back if it does not end."""
        nothing = [gr.skip()] * 3
        try:
            for news in visitors.watch(who, work, steps):
                if isinstance(news, Samples):
                    yield [*added(runs, news), seed]
                else:
                    progress((news[0], steps))
                    yield [gr.skip(), gr.skip(), *forming(news[1], left_out), *nothing, gr.skip()]
        except Exception:
            empty = [gr.update(visible=False), "", gr.skip()] * session.MOST_RESULTS
            yield [gr.skip(), gr.skip(), *(show(runs, index) if runs else [*empty, *nothing]), gr.skip()]
            raise

    def whole(who, work, steps, progress):
        """The result of a run of which only the progress is shown."""
        for news in visitors.watch(who, work, steps):
            if not isinstance(news, tuple):
                return news
            progress((news[0], steps))

    @clear_errors
    def generate(request: gr.Request, runs, index, num, seed, *values, progress=gr.Progress()):
        how = chosen(*values[:4])
        given, noise, left_out = read(values[4:])
        work = functools.partial(session.draw, model, given, noise, left_out, int(num), int(seed), how)
        yield from drawing(request.session_hash, work, how["steps"], left_out, runs, index, int(seed) + 1, progress)

    @clear_errors
    def again(request: gr.Request, runs, index, strength, seed, *values, progress=gr.Progress()):
        if not runs:
            raise ValueError("generate something first")
        how, samples = chosen(*values[:4]), runs[index]
        keep = list(values[4:])[: len(samples.info["seeds"])]
        groups = len({tuple(k) for k in keep})
        seed = max(int(seed), samples.info["seed"]) + 1
        work = functools.partial(session.redraw, model, samples, keep, float(strength), seed, how)
        left_out = samples.info["leave_out"]
        yield from drawing(request.session_hash, work, how["steps"] * groups, left_out, runs, index, seed, progress)

    @clear_errors
    def give(row, name, runs, index):
        if not runs or name not in runs[index]:
            raise ValueError(f"{name} was left out there; there is none to give")
        return GIVEN, session.as_input(runs[index], name, row, downloads.name)

    def example(name):
        @clear_errors
        def drawn(request: gr.Request, progress=gr.Progress()):
            work = functools.partial(session.example, model, name, random.randrange(2**31))
            samples = whole(request.session_hash, work, model.config.sample.steps, progress)
            return session.as_input(samples, name, 0, downloads.name)

        return drawn

    def back(runs, wanted):
        index = next((i for i, run in enumerate(runs) if session.title(i + 1, run) == wanted), None)
        return [index, *show(runs, index)] if index is not None else [gr.skip()] * (1 + len(shown))

    @clear_errors
    def compare(request: gr.Request, seed, *values, progress=gr.Progress()):
        sides = [chosen(*values[:4]), chosen(*values[4:8])]
        if sides[0] == sides[1]:
            raise ValueError("both settings are the same; change one of them")
        given, noise, left_out = read(values[8:])

        def both(on_step):
            return [session.draw(model, given, noise, left_out, 2, int(seed), how, on_step) for how in sides]

        drawn = whole(request.session_hash, both, sum(s["steps"] for s in sides), progress)
        order = random.sample([0, 1], 2)  # so that nobody knows which is which
        ballot = {"settings": [label(sides[i]) for i in order], "given": list(given), "seed": int(seed)}
        open_ = gr.update(interactive=True)
        return [
            ballot,
            *(drawn[i]._repr_html_() for i in order),
            "Which is better?",
            open_,
            open_,
            open_,
            int(seed) + 1,
        ]

    @clear_errors
    def vote(ballot, result):
        left, right = ballot["settings"]
        votes.add(votes_path, left, right, result, given=ballot["given"], seed=ballot["seed"], model=name)
        closed = gr.update(interactive=False)
        told = f"Thank you. Left was **{left}**, right **{right}**."
        return [None, told, closed, closed, closed, votes.summary(votes.read(votes_path))]

    def cancel(request: gr.Request):
        visitors.cancel(request.session_hash)

    def forget(request: gr.Request):
        visitors.forget(request.session_hash)

    with gr.Blocks(
        title=f"jointdiff: {name}", analytics_enabled=False, fill_width=True, delete_cache=(3600, 86400)
    ) as page:
        gr.Markdown(
            f"# {name}\nDraws any of {', '.join(model.layout.names)} from any others. Say for each whether you give it; "
            "with nothing given, all are drawn together."
        )
        runs, index, ballot = gr.State([]), gr.State(0), gr.State(None)
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=330):
                asked = inputs(model)
                num = gr.Slider(1, session.MOST_RESULTS, 4, step=1, label="results", elem_id="num")
                with gr.Row():
                    go = gr.Button("Generate", variant="primary", elem_id="generate")
                    stop = gr.Button("Cancel", elem_id="cancel")
                with gr.Accordion("Settings", open=False):
                    seed = gr.Number(0, label="seed of the next results", precision=0, minimum=0, elem_id="seed")
                    how = settings(model, "main")
            with gr.Column(scale=6, min_width=330), gr.Tabs():
                with gr.Tab("Results"):
                    told = gr.Markdown("Nothing generated yet.", elem_id="status")
                    cards = []
                    with gr.Row():
                        for i in range(session.MOST_RESULTS):
                            with gr.Column(min_width=210, visible=False, elem_id=f"result-{i}") as column:
                                body = gr.HTML(elem_classes="card")
                                keep = gr.CheckboxGroup([], label="keep", elem_id=f"keep-{i}", elem_classes="keep")
                                with gr.Row():
                                    gives = [
                                        gr.Button(f"give {n}", size="sm", min_width=60, elem_id=f"give-{i}-{n}")
                                        for n in names
                                    ]
                            cards.append((column, body, keep, gives))
                    strength = gr.Slider(
                        0.05, 1, 1, step=0.05, label="re-noise", elem_id="strength",
                        info="what is redrawn starts anew at 1, and stays close to what it was near 0",
                    )  # fmt: skip
                    redo = gr.Button("Keep what is marked, redraw the rest", elem_id="redraw")
                    with gr.Row():
                        history = gr.Dropdown([], label="history", scale=3, elem_id="history")
                        download = gr.DownloadButton("Download everything", interactive=False, elem_id="download")
                with gr.Tab("Compare two settings"):
                    gr.Markdown("Two samples with each, from the same noise, in an order that you do not see.")
                    with gr.Row():
                        with gr.Column():
                            first = settings(model, "a")
                        with gr.Column():
                            second = settings(model, "b")
                    versus = gr.Button("Draw both", variant="primary", elem_id="compare")
                    question = gr.Markdown(elem_id="question")
                    with gr.Row():
                        left, right = gr.HTML(elem_classes="vote"), gr.HTML(elem_classes="vote")
                    with gr.Row():
                        buttons = [
                            gr.Button(text, interactive=False, elem_id=f"vote-{result}")
                            for text, result in (("Left is better", "a"), ("Same", "tie"), ("Right is better", "b"))
                        ]
                    table = gr.Markdown(lambda: votes.summary(votes.read(votes_path)), elem_id="votes")
        values = [p for i in asked for p in i.parts]
        shown = [*(part for *parts, _ in cards for part in parts), told, history, download]
        quiet = {"api_visibility": "private"}
        several = {"concurrency_id": "sampling", "concurrency_limit": MOST_VISITORS, **quiet}
        go.click(
            generate,
            [runs, index, num, seed, *how, *values],
            [runs, index, *shown, seed],
            show_progress_on=told,
            **several,
        )
        redo.click(
            again,
            [runs, index, strength, seed, *how, *(k for _, _, k, _ in cards)],
            [runs, index, *shown, seed],
            show_progress_on=told,
            **several,
        )
        for i, (*_, gives) in enumerate(cards):
            for button, one in zip(gives, asked):
                button.click(functools.partial(give, i, one.name), [runs, index], [one.role, one.value], **quiet)
        for one in asked:
            one.example.click(example(one.name), None, one.value, **several)
        history.input(back, [runs, history], [index, *shown], **quiet)
        versus.click(
            compare, [seed, *first, *second, *values], [ballot, left, right, question, *buttons, seed], **several
        )
        for button, result in zip(buttons, ("a", "tie", "b")):
            button.click(functools.partial(vote, result=result), ballot, [ballot, question, *buttons, table], **quiet)
        stop.click(cancel, queue=False, **quiet)
        page.unload(forget)
    return page.queue(max_size=16)


def label(how: dict) -> str:
    return f"{how['sampler']}, {how['steps']} steps, {how['condition']}, guidance {how['guidance']:g}"


def serve(model: Model, name: str, votes_path: pathlib.Path, host: str = "127.0.0.1", port: int = 7860, block=True):
    """Open the page at http://host:port; returns `(page, url)` when it does not block."""
    page = build(model, name, votes_path)
    _, url, _ = page.launch(
        server_name=host, server_port=port, prevent_thread_lock=True, quiet=True, max_file_size="10mb", css=CSS,
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]), footer_links=[],
        enable_monitoring=False, share=False,
    )  # fmt: skip
    print(f"{name} is at {url}; Ctrl-C ends it", flush=True)
    if block:
        page.block_thread()
    return page, url
