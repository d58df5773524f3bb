from pathlib import Path

from setuptools import find_packages, setup

EXTRAS = {
    "demo": ["gradio>=6"],
    "plots": ["matplotlib>=3.8"],
    "sound": ["soundfile>=0.12"],
    "film": ["av>=12"],
    "parquet": ["pyarrow>=14"],
    "hub": ["huggingface_hub>=0.30"],
    "test": [
        "pytest>=8",
        "pytest-xdist>=3.5",
        "hypothesis>=6",
        "ruff>=0.6",
        "matplotlib>=3.8",
        "huggingface_hub>=0.30",
        "gradio>=6",
        "selenium>=4.20",
        "pyarrow>=14",
        "soundfile>=0.12",
        "av>=12",
    ],
}

setup(
    name="jointdiff",
    version="0.1.0",
    description="One diffusion model over several modalities: generate any of them from any others",
    long_description=(Path(__file__).parent / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10",
    packages=find_packages(include=["jointdiff", "jointdiff.*"]),
    package_data={"jointdiff": ["models/*", "evaluate/judges/*"]},
    install_requires=[
        "absl-py>=2.0",
        "filelock>=3.12",
        "ml-collections>=1.0",
        "numpy>=1.26",
        "pillow>=10.1",
        "safetensors>=0.4",
        "scikit-learn>=1.3",
        "scipy>=1.11",
        "tensorboard>=2.15",
        "torch>=2.9",
        "torchvision>=0.24",
        "tqdm>=4.66",
    ],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["jointdiff = jointdiff.main:run"]},
)
