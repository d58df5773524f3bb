"""The page: what it does without a browser, and the same in a real one."""

import base64
import io
import json
import os
import re
import socket
import threading
import time
import urllib.error
import urllib.request
import zipfile

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest
import torch
from conftest import needs_browser
from scipy.io import wavfile

import jointdiff
from jointdiff.page import session
from jointdiff.page.turns import Runs

SETTINGS = {"sampler": "ddim", "steps": 4, "condition": "clean", "guidance": 0.0}


@pytest.fixture(scope="module")
def model():
    return jointdiff.load("digits")


def test_what_is_kept_stays_bit_for_bit_and_the_rest_changes(model):
    drawn = session.draw(model, {"text": model.encode("text", "seven")}, {}, (), 3, 0, SETTINGS)
    again = session.redraw(model, drawn, [["image"], ["image", "audio"], []], 1.0, 1, SETTINGS)
    same = {n: [torch.equal(a, b) for a, b in zip(drawn[n], again[n])] for n in drawn}
    assert same == {"image": [True, True, False], "text": [True] * 3, "audio": [False, True, False]}
    assert again.given == ("text",) and again.info["seeds"] == [[1, 0], [0, 1], [2, 0]]
    with pytest.raises(ValueError, match="everything is kept"):
        session.redraw(model, drawn, [["image", "audio"]] * 3, 1.0, 1, SETTINGS)


def test_less_noise_changes_less(model):
    drawn = session.draw(model, {}, {}, ("audio",), 4, 0, SETTINGS)
    assert set(drawn) == {"image", "text"}
    keep = [["text"]] * 4
    far, near = (session.redraw(model, drawn, keep, s, 1, SETTINGS)["image"] for s in (1.0, 0.1))
    assert (near - drawn["image"]).square().mean() < 0.3 * (far - drawn["image"]).square().mean()


def test_noise_stays_known_when_redrawing(model):
    drawn = session.draw(model, {"text": model.encode("text", "two")}, {"text": 0.5}, (), 2, 0, SETTINGS)
    again = session.redraw(model, drawn, [["image"], []], 1.0, 1, SETTINGS)
    assert again.info["noise"]["text"] == [0.5, 0.5] and torch.equal(again["image"][0], drawn["image"][0])


def test_recordings_lose_the_quiet_at_their_ends():
    wave = np.zeros(8000, np.int16)
    wave[3000:4000] = (10000 * np.sin(np.arange(1000))).astype(np.int16)
    assert 1000 < len(session.trimmed(wave, 8000, "audio")) < 2000
    stereo = np.stack([wave, wave // 2], 1)
    assert session.trimmed(stereo, 8000, "audio").shape[1] == 2


def test_every_layout_has_a_page(tmp_path):
    import gradio as gr
    from test_manifest import folder, own

    from jointdiff.page.view import build
    from jointdiff.trainer import Trainer
    from jointdiff.training import fit

    trainer = Trainer(own(folder(tmp_path)), tmp_path / "run")
    fit(trainer)
    model = trainer.model()
    page = build(model, "own", tmp_path / "votes.jsonl")
    kinds = {b.elem_id: type(b) for b in page.blocks.values() if str(b.elem_id).startswith("value-")}
    assert kinds == {"value-photo": gr.ImageEditor, "value-depth": gr.File, "value-bands": gr.File,
                     "value-sound": gr.Audio, "value-word": gr.Textbox}  # fmt: skip
    bands = session.read_value(model, "bands", str(tmp_path / "b3.npy"))
    drawn = session.draw(model, {"bands": bands}, {}, ("sound",), 2, 0, {**SETTINGS, "steps": 2})
    assert len(drawn.html("depth")) == 2 and "sound" not in drawn
    again = session.redraw(model, drawn, [["photo"], ["photo", "word"]], 0.5, 1, {**SETTINGS, "steps": 2})
    assert torch.equal(again["photo"], drawn["photo"]) and torch.equal(again["word"][1], drawn["word"][1])


def test_the_archive_has_every_run(model, tmp_path):
    runs = [session.draw(model, {}, {}, (), 1, seed, SETTINGS) for seed in (0, 1)]
    names = zipfile.ZipFile(session.archive(runs, tmp_path)).namelist()
    assert {"run_001/samples.npz", "run_001/grid.png", "run_002/samples.json", "run_002/audio_000.wav"} <= set(names)


# a real browser from here on


class Page:
    """A browser window on the page."""

    def __init__(self, driver, url):
        self.driver, self.url = driver, url

    def open(self, width=1280, height=1000):
        self.driver.set_window_size(width, height)
        self.driver.get(self.url)
        self.wait(lambda: self.find("#generate"))
        time.sleep(1)

    def find(self, selector):
        return self.driver.find_elements("css selector", selector)

    def wait(self, what, seconds=180):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if value := what():
                    return value
            except Exception as error:
                if "stale" not in str(error):
                    raise
            time.sleep(0.1)
        raise AssertionError(f"nothing came in {seconds} s; the page says {self.toasts()}")

    def click(self, selector, index=0):
        element = self.wait(lambda: self.find(selector))[index]
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def role(self, name, role):
        self.click(f'#role-{name} input[value="{role}"]')

    def type(self, selector, text):
        field = self.wait(lambda: [e for e in self.find(selector) if e.is_displayed()])[0]
        field.clear()
        field.send_keys(text)

    def steps(self, number, which="main"):
        """Ask for a number of sampler steps, opening the settings where they are closed."""
        from selenium.webdriver.common.keys import Keys

        if which == "main":
            self.click("button.label-wrap")
        field = self.wait(lambda: [e for e in self.find(f'#steps-{which} input[type="number"]') if e.is_displayed()])[0]
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(str(number), Keys.TAB)

    def status(self):
        return "".join(e.text for e in self.find("#status .prose"))  # not the progress that lies over it

    def generate(self, selector="#generate"):
        """Click and wait for a new result; its seconds."""
        before, began = self.status(), time.monotonic()
        self.click(selector)
        self.wait(lambda: "evaluations" in self.status() and self.status() != before)
        took = time.monotonic() - began
        time.sleep(1)  # for the last of the pictures
        return took

    def results(self, name, what):
        """An attribute of every visible result's modality: `text`, or a picture's or sound's `src`."""
        out = []
        for i in range(session.MOST_RESULTS):
            for part in self.find(f'#result-{i} [data-modality="{name}"]'):
                if part.is_displayed():
                    inside = {"text": "code", "audio": "audio"}.get(what, "img")
                    element = part.find_element("css selector", inside)
                    out.append(element.text if what == "text" else element.get_attribute("src"))
        return out

    def toasts(self):
        return " ".join(e.text for e in self.find(".toast-body"))

    def keep(self, result, name):
        self.click(f'#keep-{result} input[name="{name}"], #keep-{result} input[value="{name}"]')


def serving(model, name, votes):
    """A page at a free port, and its address."""
    from jointdiff.page import serve

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return serve(model, name, votes, port=port, block=False)


@pytest.fixture(scope="module")
def served(model, tmp_path_factory):
    votes = tmp_path_factory.mktemp("votes") / "votes.jsonl"
    page, url = serving(model, "digits", votes)
    yield url, votes
    page.close()


@pytest.fixture
def page(driver, served):
    page = Page(driver, served[0])
    page.open()
    return page


def picture(source):
    return PIL.Image.open(io.BytesIO(base64.b64decode(source.split(",")[1])))


@needs_browser
def test_type_a_word_get_pictures_of_it(page, model):
    page.role("text", "given")
    page.type("#value-text input, #value-text textarea", "seven")
    page.generate()
    assert page.results("text", "text") == ["seven"] * 4 and len(page.results("audio", "audio")) == 4
    drawn = [picture(s).convert("L") for s in page.results("image", "image")]
    read = model.sample({"image": drawn}, leave_out=["audio"], seed=1).texts("text")
    assert read.count("seven") >= 3
    took = page.generate()  # the second time, all is warm
    assert took < float(os.environ.get("CLICK_SECONDS", 20)), f"{took:.1f} s from click to results"


@needs_browser
def test_draw_a_digit_get_a_word_and_a_sound(page):
    from selenium.webdriver import ActionChains

    page.role("image", "given")
    canvas = page.wait(lambda: [e for e in page.find("#value-image canvas") if e.is_displayed()])[0]
    time.sleep(1)
    page.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    width, height = canvas.size["width"], canvas.size["height"]
    stroke = ActionChains(page.driver, duration=30)
    stroke.move_to_element_with_offset(canvas, int(0.05 * width), int(-0.3 * height)).click_and_hold()
    for _ in range(12):
        stroke.move_by_offset(int(-0.01 * width), int(0.05 * height))
    stroke.release().perform()
    time.sleep(1)
    page.generate()
    words = page.results("text", "text")
    assert words.count("one") >= 3, words
    sound = base64.b64decode(page.results("audio", "audio")[0].split(",")[1])
    assert sound[:4] == b"RIFF" and len(sound) > 4000


def test_a_short_run_does_not_wait_for_a_long_one_and_both_are_as_alone(model):
    """Two visitors at once: the second asks for 2 steps while the first is at its 60."""
    runs, ended, drawn = Runs(), [], {}

    def visit(who, steps):
        work = lambda on_step: session.draw(model, {}, {}, [], 1, 0, {**SETTINGS, "steps": steps}, on_step)
        for news in runs.watch(who, work, steps):
            if not isinstance(news, tuple):
                drawn[who] = news
                ended.append(who)
            elif who == "long" and not short.is_alive() and "short" not in ended:
                short.start()

    short = threading.Thread(target=visit, args=("short", 2))
    visit("long", 60)
    short.join()
    assert ended == ["short", "long"]
    for who, steps in (("short", 2), ("long", 60)):
        alone = session.draw(model, {}, {}, [], 1, 0, {**SETTINGS, "steps": steps})
        assert all(torch.equal(drawn[who][n], alone[n]) for n in alone)


def test_a_run_tells_what_goes_wrong_and_ends_when_nobody_listens(model):
    runs = Runs()
    with pytest.raises(ValueError, match="this page draws 1 to"):
        list(runs.watch("a", lambda on_step: session.draw(model, {}, {}, [], 99, 0, SETTINGS, on_step), 4))
    work = lambda on_step: session.draw(model, {}, {}, [], 1, 0, {**SETTINGS, "steps": 200}, on_step)
    watched = runs.watch("a", work, 200)
    next(watched)
    watched.close()  # the window is closed
    began = time.monotonic()
    with runs.turns:
        assert time.monotonic() - began < 5
    done = list(runs.watch("b", lambda on_step: session.draw(model, {}, {}, [], 1, 0, SETTINGS, on_step), 4))
    assert done[-1]["image"].shape == (1, 1, 32, 32)


def test_what_was_drawn_can_be_given(model, tmp_path):
    """A drawn value as an input of the page says the same when it is given."""
    drawn = session.draw(model, {"text": model.encode("text", "seven")}, {}, [], 2, 0, {**SETTINGS, "steps": 18})
    for name in ("image", "text", "audio"):
        value = session.as_input(drawn, name, 1, str(tmp_path))
        again = session.read_value(model, name, {"composite": value} if name == "image" else value)
        assert again.shape == drawn[name][1:].shape
        apart = (again - drawn[name][1:]).square().mean().sqrt()
        assert apart < (0.45 if name == "audio" else 0.15), (name, apart)  # a sound goes through its waveform


@needs_browser
def test_watch_it_form_give_it_and_ask_for_an_example(page):
    page.steps(200)
    page.click("#generate")
    early = page.wait(lambda: page.results("image", "image"))[0]
    assert "evaluations" not in page.status()
    page.wait(lambda: "evaluations" in page.status())
    time.sleep(1)
    assert page.results("image", "image")[0] != early
    wanted = page.results("text", "text")[2]
    page.click("#give-2-text")
    field = page.wait(lambda: [e for e in page.find("#value-text input, #value-text textarea") if e.is_displayed()])[0]
    page.wait(lambda: field.get_attribute("value") == wanted)
    page.click("#give-2-image")
    page.wait(lambda: [e for e in page.find("#value-image canvas") if e.is_displayed()])
    time.sleep(2)
    page.generate()
    assert page.results("text", "text") == [wanted] * 4 and len(page.results("audio", "audio")) == 4
    page.type("#value-text input, #value-text textarea", "nought")  # no word of the model's: what comes is the example
    page.click("#example-text")
    page.wait(lambda: field.get_attribute("value") not in ("", "nought"), 30)


@needs_browser
def test_four_at_once_and_the_machines_files_are_its_own(page, served, driver):
    """Four windows of one browser, each a session: all get what they asked for. Then files that nobody may read."""
    first, words = driver.current_window_handle, ("one", "two", "three", "four")
    handles = [first]
    for _ in words[1:]:
        driver.switch_to.new_window("window")
        handles.append(driver.current_window_handle)
        page.open()
    for handle, word in zip(handles, words):
        driver.switch_to.window(handle)
        page.role("text", "given")
        page.type("#value-text input, #value-text textarea", word)
    for handle in handles:
        driver.switch_to.window(handle)
        page.click("#generate")
    for handle, word in zip(handles, words):
        driver.switch_to.window(handle)
        page.wait(lambda: "evaluations" in page.status())
        page.wait(lambda word=word: page.results("text", "text") == [word] * 4)
    for handle in handles[1:]:
        driver.switch_to.window(handle)
        driver.close()
    driver.switch_to.window(first)
    url, votes = served
    own = os.path.abspath(jointdiff.__file__)
    for path in ("/etc/passwd", own, str(votes), "..%2f..%2f..%2f..%2fetc%2fpasswd"):
        for route in ("gradio_api/file=", "file=", "gradio_api/static/", "static/", "assets/", "gradio_api/stream/"):
            try:
                with urllib.request.urlopen(f"{url}{route}{path}", timeout=10) as reply:
                    body = reply.read()
            except urllib.error.HTTPError as error:
                assert error.code in (403, 404, 405, 422, 500), (route, path, error.code)
            else:
                assert b"root:" not in body and b"import" not in body[:400], (route, path)


@needs_browser
@pytest.mark.slow
def test_twenty_sessions_in_a_row(page):
    """Each opens the page and draws; the process does not grow from one to the next."""
    import resource

    held = []
    for _ in range(20):
        page.open()
        page.generate()
        held.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
    print("GiB after each session:", [round(h, 2) for h in held])
    assert held[-1] - held[4] < 0.3


@needs_browser
def test_lock_and_redraw_and_go_back(page):
    page.generate()
    before = page.results("image", "image"), page.results("audio", "audio")
    page.keep(1, "image")
    page.generate("#redraw")
    after = page.results("image", "image"), page.results("audio", "audio")
    assert [a == b for a, b in zip(before[0], after[0])] == [False, True, False, False]
    assert not any(a == b for a, b in zip(before[1], after[1]))
    status = page.status()
    page.click("#history input")
    page.click('#history [role="option"]', 0)
    page.wait(lambda: page.status() != status)
    assert page.results("image", "image") == before[0]
    page.click("#download")
    (file,) = page.wait(lambda: list(page.driver.downloads.glob("*.zip")))
    assert {"run_001/grid.png", "run_002/samples.npz"} <= set(zipfile.ZipFile(file).namelist())


@needs_browser
def test_vote_between_two_settings(page, served):
    page.click('button[role="tab"]', 1)
    page.steps(4, "b")
    page.click("#compare")
    page.wait(lambda: "better" in "".join(e.text for e in page.find("#question")))
    assert len([e for e in page.find(".vote table") if e.is_displayed()]) == 2
    page.click("#vote-a")
    page.wait(lambda: "Thank you" in "".join(e.text for e in page.find("#question")))
    (vote,) = [json.loads(line) for line in served[1].read_text().splitlines()]
    assert vote["result"] == "a" and {"ddim, 4 steps" in vote[side] for side in "ab"} == {True, False}
    assert "beats an average one" in "".join(e.text for e in page.find("#votes"))


@needs_browser
def test_bad_input_is_said_and_loses_nothing(page, tmp_path):
    page.generate()
    before = page.results("image", "image")
    page.role("text", "given")
    page.type("#value-text input, #value-text textarea", "Größe")
    page.click("#generate")
    page.wait(lambda: "possible are the characters" in page.toasts())
    page.role("text", "generate")
    page.role("audio", "given")
    (tmp_path / "sound.wav").write_bytes(b"this is no sound")
    wavfile.write(tmp_path / "huge.wav", 8000, np.zeros(6_000_000, np.int16))
    wavfile.write(tmp_path / "silent.wav", 8000, np.zeros(6000, np.int16))
    for name, message in (
        ("sound.wav", "is not a WAV file"),
        ("huge.wav", "maximum allowed size"),
        ("silent.wav", "is silent"),
    ):
        page.click('#value-audio button[aria-label="Upload file"]')
        page.wait(lambda: page.find("#value-audio input[type=file]"))[0].send_keys(str(tmp_path / name))
        time.sleep(2)
        page.click("#generate")
        page.wait(lambda message=message: message in page.toasts())
        for clear in page.find('#value-audio button[aria-label="Clear"]'):
            clear.click()
    assert page.results("image", "image") == before


@needs_browser
def test_cancel(page):
    page.steps(200)
    page.click("#generate")
    time.sleep(1.5)
    page.click("#cancel")
    page.wait(lambda: "Cancelled" in page.toasts(), 30)
    assert "evaluations" not in page.status()


@needs_browser
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_window(page, width, tmp_path):
    page.open(width, 1000)
    page.role("image", "given")
    page.role("image", "generate")
    page.generate()
    wide = page.driver.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0
    folder = os.environ.get("SCREENSHOTS")
    if folder:
        height = page.driver.execute_script("return document.documentElement.scrollHeight")
        page.driver.set_window_size(width, min(height, 3000))
        page.driver.save_screenshot(f"{folder}/page_{width}.png")
    assert re.search(r"seeds \(0, 0\)", page.status())


@needs_browser
def test_a_film_is_given_and_plays(driver, tmp_path):
    """A clip that is uploaded comes back as it is, frame by frame; one that is drawn is animated too."""
    from test_video import clip, film_run, saved

    served, url = serving(film_run(tmp_path), "films", tmp_path / "votes.jsonl")
    try:
        page = Page(driver, url)
        page.open()
        page.generate()
        for source in page.results("film", "film"):
            assert picture(source).n_frames == 4
        page.role("film", "given")
        saved(tmp_path / "mine.gif", mine := clip(4, seed=30))
        page.wait(lambda: page.find("#value-film input[type=file]"))[0].send_keys(str(tmp_path / "mine.gif"))
        page.wait(lambda: "mine" in "".join(e.text for e in page.find("#value-film")))
        page.generate()
        for source in page.results("film", "film"):
            film = picture(source)
            for i, frame in enumerate(mine):
                film.seek(i)
                side = film.height // len(frame)  # each pixel is a square of them
                assert (
                    abs(np.asarray(film.convert("L"))[side // 2 :: side, side // 2 :: side].astype(int) - frame).max()
                    < 8
                )
        assert len(page.results("photo", "image")) == len(page.results("film", "film")) == 4
    finally:
        served.close()
