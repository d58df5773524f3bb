"""Command line: train, sample in any direction, evaluate, search, draw a graph, open a page. Flags and dispatch only.

python -m jointdiff.main --config=configs/keypad.py --workdir=runs/keypad
python -m jointdiff.main --mode=sample --workdir=runs/keypad --given=text=seven
python -m jointdiff.main --mode=evaluate --workdir=runs/keypad
python -m jointdiff.main --mode=serve --workdir=runs/keypad
"""

import contextlib
import dataclasses
import pathlib
import sys

from absl import app, flags, logging
from ml_collections import config_flags

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file(
    "config", None, "Training: a file in configs/. Fields: --config.train.steps=100", lock_config=True
)
flags.DEFINE_enum("mode", "train", ["train", "sample", "evaluate", "search", "graph", "serve"], "What to do.")
flags.DEFINE_string("workdir", None, "Folder of the run.")
flags.DEFINE_string("model", None, "Shipped weights to use instead of a workdir.")
flags.DEFINE_string("outdir", None, "Where samples or figures go; a new folder when not named.")
flags.DEFINE_multi_string(
    "given", [], "Condition: NAME=VALUE (a text, or a file), NAME (test examples) or NAME=class:K. Repeatable."
)
flags.DEFINE_multi_string("leave_out", [], "Modality that is neither given nor generated. Repeatable.")
flags.DEFINE_list(
    "order", None, "In turns, NAME,NAME: each given those before it; NAME+NAME are drawn together, NAME/NAME apart."
)
flags.DEFINE_integer("best_of", 1, "Draw so many for each sample and keep the best.", lower_bound=1)
flags.DEFINE_enum(
    "by", None, ["vote", "likelihood", "agreement", "expectation"],
    "How the best is found: vote (what most agree on), likelihood (what explains the condition) or agreement (what small networks "
    "find to belong together best); in a search, by likelihood or expectation.",
)  # fmt: skip
flags.DEFINE_multi_string("query", [], "Search: NAME=VALUE, what is looked for. Repeatable.")
flags.DEFINE_string("index", None, "Search, graph: a folder of files, or a table of them.")
flags.DEFINE_list(
    "path", [], "Graph: an item's name, then modalities: seven,image,audio asks where it leads through them."
)
flags.DEFINE_multi_string(
    "given_noise",
    [],
    "NAME=NUMBER: standard deviation of the noise in what is given, in channels' units; or NAME=auto.",
)
flags.DEFINE_bool("denoise_given", False, "What is given with noise comes back without it.")
flags.DEFINE_integer("num", None, "Samples (8), or test rows a direction and seed (256).")
flags.DEFINE_alias("count", "num")  # torchrun takes --num for an option of its own
flags.DEFINE_integer("seed", 0, "Sample i depends on this seed and i alone.", lower_bound=0)
flags.DEFINE_integer("seeds", 3, "Evaluation: number of seeds.", lower_bound=1)
flags.DEFINE_bool(
    "report", False, "Evaluation: also one web page of all there is to see, hear and measure, report.html."
)
flags.DEFINE_integer("batch", 64, "Samples computed at once.", lower_bound=1)
flags.DEFINE_string("sampler", None, "Sampler; the config's when not named.")
flags.DEFINE_multi_integer("steps", None, "Sampler steps; repeated, with --order, of one turn each.", lower_bound=1)
flags.DEFINE_string(
    "grid",
    None,
    "Grid of times: karras, log_snr, uniform, the sampler's own when not named; or noise-to-signal ratios, as 4,2,1.",
)
flags.DEFINE_float("guidance", None, "Classifier-free guidance; 0 is none.")
flags.DEFINE_string("guide", None, "Weights, or a workdir, of a weaker model that guidance leads away from.")
flags.DEFINE_multi_string("reading", None, "NAME=NUMBER: how strongly it moves to where what is given is read in it.")
flags.DEFINE_string("condition", None, "How conditions enter; evaluation compares clean and replace when not named.")

flags.DEFINE_string("host", "127.0.0.1", "Page: address to listen at; 0.0.0.0 is open to the whole network.")
flags.DEFINE_integer("port", 7860, "Page: port to listen at.", lower_bound=1, upper_bound=65535)


def parse(argv: list[str]) -> list[str]:
    """The flags, with fields of the config that its file does not have yet, such as a modality's weight, set as well."""
    import ast

    from . import config as cfg

    path = next((a.partition("=")[2] for a in argv if a.startswith(("--config=", "-config="))), None)
    kept, more = [], {}
    try:
        config = cfg.from_file(path.partition(":")[0]) if path and ":" not in path else None
        for argument in argv:
            name, _, value = argument.lstrip("-").partition("=")
            if config is None or not name.startswith("config."):
                kept.append(argument)
                continue
            field = name.removeprefix("config.")
            if field in cfg.flat(config.to_dict()):
                kept.append(argument)
                continue
            try:
                more[field] = ast.literal_eval(value)
            except (SyntaxError, ValueError):
                more[field] = value
        if more:
            config = cfg.changed(config, more)
    except ValueError as error:
        sys.exit(f"jointdiff: {error}")
    sys.argv = kept  # where the config's flag looks for fields
    rest = app.parse_flags_with_usage(kept)
    if more:
        FLAGS.config = cfg.changed(FLAGS.config, more)
    return rest


def train() -> None:
    from .training import run

    if FLAGS.config is None or FLAGS.workdir is None:
        raise ValueError("training needs --config=configs/NAME.py and --workdir=FOLDER")
    run(FLAGS.config, FLAGS.workdir)


def opened():
    """The model that --model or --workdir names, shared by all processes, and the folder its results go under."""
    from . import hub, processes, state

    if FLAGS.config is not None:
        raise ValueError("the config comes with the model; --config is for training only")
    if (FLAGS.model is None) == (FLAGS.workdir is None):
        raise ValueError("name either --workdir=FOLDER or --model=NAME")
    if FLAGS.model is not None:
        model, home = hub.load(FLAGS.model), pathlib.Path("samples") / pathlib.Path(FLAGS.model).stem
    else:
        model, home = state.load_run(FLAGS.workdir), pathlib.Path(FLAGS.workdir)
    model.shared = processes.world() > 1
    return model, home


def sampling() -> dict:
    """The flags that say how to sample."""
    from . import generate, hub
    from .plan import Sampling

    how = {field.name: FLAGS[field.name].value for field in dataclasses.fields(Sampling)}
    steps = FLAGS.steps and (FLAGS.steps if FLAGS.steps[1:] else FLAGS.steps[0])
    reading = FLAGS.reading and generate.read_numbers("reading", FLAGS.reading)
    return how | {"guide": hub.load(FLAGS.guide) if FLAGS.guide else None, "reading": reading, "steps": steps}


def sample() -> None:
    from .files import new_folder
    from .generate import generate

    model, home = opened()
    parent = home if FLAGS.model else home / "samples"
    generate(
        model,
        pathlib.Path(FLAGS.outdir) if FLAGS.outdir else new_folder(parent),
        FLAGS.given,
        8 if FLAGS.num is None else FLAGS.num,
        FLAGS.seed,
        FLAGS.leave_out,
        FLAGS.given_noise,
        FLAGS.batch,
        denoise_given=FLAGS.denoise_given,
        best_of=FLAGS.best_of,
        by=FLAGS.by or "vote",
        order=FLAGS.order and [frozenset(tuple(group.split("+")) for group in turn.split("/")) for turn in FLAGS.order],
        **sampling(),
    )


def evaluate() -> None:
    from . import processes
    from .evaluate import page, partners
    from .evaluate.table import evaluate as run
    from .evaluate.table import markdown, write
    from .files import folder_at_once, new_folder

    if FLAGS.given or FLAGS.leave_out or FLAGS.order or FLAGS.best_of > 1:
        raise ValueError("evaluation covers all directions; --best_of, --given, --leave_out, --order are for sampling")
    model, home = opened()
    how = sampling()
    chosen = how.pop("condition")
    conditions = (chosen,) if chosen else ("clean",) if how["reading"] else ("clean", "replace")
    first = processes.rank() == 0
    outdir = pathlib.Path(FLAGS.outdir) if FLAGS.outdir else new_folder(home / "evaluation")
    with folder_at_once(outdir) if first else contextlib.nullcontext() as folder:
        seeds = tuple(range(FLAGS.seed, FLAGS.seed + FLAGS.seeds))
        show, own = print if first else lambda line: None, ""
        if model.config.data.manifest:  # also what needs no classes
            own = partners.measure(model, FLAGS.num or 64, FLAGS.seed, show, **how)
            if first:
                partners.write(own, folder)
            show(own := partners.markdown(own))
        result = run(model, FLAGS.num or 256, seeds, conditions, FLAGS.batch, show, **how)
        if result and first:
            write(result, folder)
            print(markdown(result))
        if FLAGS.report:
            measured = page.measure(model, min(FLAGS.num or 128, 128), FLAGS.seed, show, **how)
            if first:
                page.write(page.page(model, FLAGS.model or FLAGS.workdir, measured, result, own), folder)
                print(f"the page: {outdir / 'report.html'}")


def search() -> None:
    from . import processes
    from .files import folder_at_once, new_folder
    from .search import search as run

    if not FLAGS.query or not FLAGS.index:
        raise ValueError("a search needs --query=NAME=VALUE and --index=FOLDER or a table")
    model, home = opened()
    query = {}
    for argument in FLAGS.query:
        name, equals, value = argument.partition("=")
        if not equals or name in query:
            raise ValueError(f"--query={argument}: expected NAME=VALUE, each name once")
        query[name] = model.encode(name, value)
    if processes.rank() > 0:
        return
    outdir = pathlib.Path(FLAGS.outdir) if FLAGS.outdir else new_folder(home / "search")
    with folder_at_once(outdir) as folder:
        run(
            model,
            query,
            FLAGS.index,
            FLAGS.by or "likelihood",
            8 if FLAGS.num is None else FLAGS.num,
            FLAGS.seed,
            folder,
        )
    print(f"written to {outdir}")


def graph() -> None:
    from . import processes
    from .files import folder_at_once, new_folder
    from .graph import Graph

    if not FLAGS.index:
        raise ValueError("a graph needs --index=FOLDER or a table: the items that are its nodes")
    model, home = opened()
    if processes.rank() > 0:
        return
    outdir = pathlib.Path(FLAGS.outdir) if FLAGS.outdir else new_folder(home / "graph")
    with folder_at_once(outdir) as folder:
        found = Graph.read(model, FLAGS.index, seed=FLAGS.seed)
        found.write(folder / "graph.graphml")
        found.picture().save(folder / "graph.png")
        if FLAGS.path:
            print(" -> ".join(found.follow(FLAGS.path[0], FLAGS.path[1:])))
    print(f"written to {outdir}")


def serve() -> None:
    try:
        import gradio  # noqa: F401
    except ImportError:
        raise ValueError("the page needs gradio; type pip install 'jointdiff[demo]'") from None
    from .page import serve as run

    model, home = opened()
    run(model, FLAGS.model or FLAGS.workdir, home / "votes.jsonl", FLAGS.host, FLAGS.port)


def log_memory() -> None:
    """The most memory that this process has held, where the system tells."""
    try:
        import resource
    except ImportError:  # Windows
        return
    unit = 1 if sys.platform == "darwin" else 1024
    logging.info("at most %.1f GB of memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9)


def main(argv) -> None:
    if len(argv) > 1:
        sys.exit(f"jointdiff: unexpected argument {argv[1]!r}; flags are written --name=value")
    logging.use_absl_handler()
    logging.set_verbosity(logging.INFO)
    from . import processes

    try:
        with processes.together():
            modes = {
                "train": train,
                "sample": sample,
                "evaluate": evaluate,
                "search": search,
                "graph": graph,
                "serve": serve,
            }
            modes[FLAGS.mode]()
        log_memory()
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(f"jointdiff: {error}")


def run() -> None:
    """The console script."""
    app.run(main, flags_parser=parse)


if __name__ == "__main__":
    run()
