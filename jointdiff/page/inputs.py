"""What the page asks: an input of its kind for every modality, and the settings of the sampler."""

import dataclasses

import gradio as gr
import PIL.Image

from ..condition import CONDITIONS
from ..modalities import Audio, Image, Text, Video
from ..model import Model
from ..samplers import SAMPLERS
from . import session
from .session import CANVAS

GIVEN, GENERATE, LEFT_OUT = "given", "generate", "leave out"


@dataclasses.dataclass
class Input:
    """What the page asks of one modality."""

    name: str
    role: gr.Radio
    value: gr.components.Component
    noise: gr.Slider
    example: gr.Button

    @property
    def parts(self) -> list:
        return [self.role, self.value, self.noise]


def editor(model: Model, name: str) -> gr.components.Component:
    """The input of a modality's kind: a canvas, a line of text, a microphone, or a file."""
    modality, label = model.modalities[name], f"{name}: what is given"
    if isinstance(modality, Image):
        dark = float(model.denoiser.data_mean[model.layout.names.index(name)]) < 0
        colors = ["#ffffff", "#000000"] if dark else ["#000000", "#ffffff"]
        if modality.mode == "RGB":
            colors += ["#d62728", "#2ca02c", "#1f77b4", "#ffbf00"]
        return gr.ImageEditor(
            PIL.Image.new("RGB", (CANVAS, CANVAS), "black" if dark else "white"),
            label=label, type="pil", visible=False, sources=("upload", "clipboard"), transforms=(), layers=False,
            brush=gr.Brush(default_size=CANVAS // 12, colors=colors, default_color=colors[0], color_mode="fixed"),
            eraser=gr.Eraser(default_size=CANVAS // 10), canvas_size=(CANVAS, CANVAS), fixed_canvas=True, height=400,
            elem_id=f"value-{name}",
        )  # fmt: skip
    if isinstance(modality, Text):
        info = f"up to {modality.capacity} of {modality.alphabet}"
        return gr.Textbox(label=label, info=info, visible=False, max_lines=1, elem_id=f"value-{name}")
    if isinstance(modality, Audio):
        label += f", up to {modality.seconds:g} s"
        return gr.Audio(
            label=label, sources=["microphone", "upload"], type="filepath", visible=False, elem_id=f"value-{name}"
        )
    if isinstance(modality, Video):
        label += f", {modality.frames} frames (GIF, WebP, PNG or MP4)"
        return gr.File(label=label, visible=False, elem_id=f"value-{name}")
    return gr.File(label=f"{label} (npy, npz, PNG or TIFF)", visible=False, elem_id=f"value-{name}")


def inputs(model: Model) -> list[Input]:
    out = []
    for name in model.layout.names:
        with gr.Group():
            role = gr.Radio(
                [GIVEN, GENERATE, LEFT_OUT], value=GENERATE, label=name, elem_id=f"role-{name}", elem_classes="role"
            )
            value = editor(model, name)
            noise = gr.Slider(0, 2, 0, step=0.05, label="its noise", visible=False)
            example = gr.Button("an example", size="sm", visible=False, elem_id=f"example-{name}")
        show = lambda role: [gr.update(visible=role == GIVEN)] * 3
        role.change(show, role, [value, noise, example], queue=False, show_progress="hidden", api_visibility="private")
        out.append(Input(name, role, value, noise, example))
    return out


def settings(model: Model, mark: str) -> list:
    """Sampler, steps, condition, guidance."""
    c = model.config.sample
    return [
        gr.Dropdown(list(SAMPLERS), value=c.sampler, label="sampler", elem_id=f"sampler-{mark}"),
        gr.Slider(1, session.MOST_STEPS, c.steps, step=1, label="steps", elem_id=f"steps-{mark}"),
        gr.Dropdown(list(CONDITIONS), value=c.condition, label="condition", elem_id=f"condition-{mark}"),
        gr.Slider(0, 3, float(c.guidance), step=0.1, label="guidance", elem_id=f"guidance-{mark}"),
    ]


def chosen(sampler, steps, condition, guidance) -> dict:
    return {"sampler": sampler, "steps": int(steps), "condition": condition, "guidance": float(guidance)}
