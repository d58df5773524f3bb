import numpy as np
import pytest
import torch
from scipy.io import wavfile
from scipy.signal import ShortTimeFFT

from jointdiff.modalities import Audio
from jointdiff.modalities.audio import mel_matrix

AUDIO = Audio((32, 32))


def chirp(seconds=0.8, rate=8000, low=300, high=2500):
    t = np.arange(int(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * (low * t + (high - low) / (2 * seconds) * t**2))).astype(np.float32)


def test_stft_agrees_with_scipy():
    wave = torch.from_numpy(np.random.default_rng(0).standard_normal((1, AUDIO.frames * AUDIO.hop)).astype(np.float32))
    ours = AUDIO.stft(wave)[0].numpy()
    win = np.zeros(AUDIO.n_fft)
    start = (AUDIO.n_fft - len(AUDIO.window)) // 2
    win[start : start + len(AUDIO.window)] = AUDIO.window.numpy()
    padded = np.pad(wave[0].numpy(), AUDIO.n_fft // 2)
    frames = np.stack([padded[i * AUDIO.hop : i * AUDIO.hop + AUDIO.n_fft] * win for i in range(AUDIO.frames)], 1)
    assert np.allclose(ours, np.fft.rfft(frames, axis=0), atol=1e-3)
    oracle = ShortTimeFFT(win, AUDIO.hop, 8000, fft_mode="onesided", mfft=AUDIO.n_fft)
    theirs = np.abs(oracle.stft(wave[0].numpy(), p0=0, p1=AUDIO.frames))
    assert np.allclose(np.abs(ours), theirs, atol=1e-3)


def test_istft_inverts_stft_inside():
    wave = torch.from_numpy(chirp(1.0))[None]
    back = AUDIO.istft(AUDIO.stft(wave))
    assert torch.allclose(back[0, :7600], wave[0, :7600], atol=1e-4)


def test_mel_bands_tile_the_axis():
    mel = mel_matrix(40, 512, 8000, 0.0, 4000.0)
    assert torch.allclose(mel.sum(1), torch.ones(40))
    peaks = mel.argmax(1)
    assert (peaks.diff() >= 0).all() and (mel.sum(0)[2:-4] > 0).all()
    centre = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 4000 / 700), 42)[20] / 2595) - 1)
    assert abs(float(peaks[19]) * 8000 / 512 - centre) <= 8000 / 512


def test_fold_is_pixel_unshuffle_and_inverse(generator):
    spec = torch.randn(3, 64, 64, generator=generator)
    assert torch.equal(AUDIO.folded(spec), torch.nn.functional.pixel_unshuffle(spec[:, None], 2))
    assert torch.equal(AUDIO.unfolded(AUDIO.folded(spec)), spec)
    kind = Audio((16, 16), seconds=0.25, fold=(4, 1))
    spec = torch.randn(2, 64, 16, generator=generator)
    assert torch.equal(kind.unfolded(kind.folded(spec)), spec)


def test_a_tone_lies_in_its_band_and_comes_back():
    wave = np.sin(2 * np.pi * 1000 * np.arange(8000) / 8000).astype(np.float32)
    x = AUDIO.encode([wave])
    band = int(AUDIO.unfolded(x)[0].mean(1).argmax())
    centres = AUDIO.mel @ torch.linspace(0, 4000, AUDIO.mel.shape[1])
    assert abs(float(centres[band]) - 1000) < 60
    back = AUDIO.decode(x)[0]
    spectrum = np.abs(np.fft.rfft(back))
    assert abs(spectrum.argmax() * 8000 / len(back) - 1000) < 20


def test_encode_decode_encode_stays_close():
    x = AUDIO.encode([chirp()])
    again = AUDIO.encode(AUDIO.decode(x))
    loud = x > -0.5
    assert float((again - x)[loud].abs().mean()) < 0.1


def test_silence_and_loudness():
    silent = AUDIO.encode([np.zeros(4000)])
    assert (silent == -1).all() and np.abs(AUDIO.decode(silent)[0]).max() == 0
    assert torch.allclose(AUDIO.encode([chirp()]), AUDIO.encode([0.01 * chirp()]), atol=1e-4)
    assert (AUDIO.encode([np.zeros(0)]) == -1).all()


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100, 48000])
@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint8, np.float32])
@pytest.mark.parametrize("stereo", [False, True])
def test_files_of_any_rate_and_kind_are_read(rate, dtype, stereo, tmp_path):
    wave = chirp(rate=rate)
    data = wave
    if dtype == np.uint8:
        data = ((wave + 1) * 128).clip(0, 255).astype(np.uint8)
    elif dtype != np.float32:
        data = (wave * np.iinfo(dtype).max * 0.99).astype(dtype)
    wavfile.write(tmp_path / "x.wav", rate, np.stack([data, data], 1) if stereo else data)
    got = AUDIO.encode(AUDIO.read(str(tmp_path / "x.wav")))
    want = AUDIO.encode([chirp()])
    loud = want > -0.3
    assert float((got - want)[loud].abs().mean()) < 0.05


def test_bad_sounds_say_what_is_wrong(tmp_path):
    with pytest.raises(ValueError, match="lasts 1.25 s; 1 s fit"):
        AUDIO.encode([np.zeros(10000)])
    with pytest.raises(ValueError, match="not finite"):
        AUDIO.encode([np.array([0.0, np.nan])])
    with pytest.raises(ValueError, match=r"1-d waveform, got shape \(2, 100\)"):
        AUDIO.encode([np.zeros((2, 100))])
    (tmp_path / "x.wav").write_bytes(b"RIFFnothing")
    with pytest.raises(ValueError, match="not a WAV file"):
        AUDIO.read(str(tmp_path / "x.wav"))
    with pytest.raises(ValueError, match="no sound at"):
        AUDIO.read(str(tmp_path / "y.wav"))
    wavfile.write(tmp_path / "long.wav", 8000, np.zeros(20000, np.int16))
    with pytest.raises(ValueError, match="lasts 2.50 s; 1 s fit"):
        AUDIO.read(str(tmp_path / "long.wav"))


@pytest.mark.parametrize("suffix", ["flac", "ogg", "mp3"])
def test_compressed_files_are_read_as_wav_is(tmp_path, suffix):
    import soundfile

    kind = Audio((32, 32), seconds=0.5)
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(8000) / 16000).astype(np.float32)
    soundfile.write(tmp_path / f"a.{suffix}", wave, 16000)
    soundfile.write(tmp_path / "a.wav", wave, 16000)
    one, two = (kind.encode(kind.read(str(tmp_path / f"a.{s}"))) for s in (suffix, "wav"))
    assert (one - two).abs().mean() < (0.001 if suffix == "flac" else 0.1)
    (tmp_path / f"b.{suffix}").write_text("no sound")
    for name, message in ((f"b.{suffix}", "is not a sound that can be read"), (f"c.{suffix}", "no sound at")):
        with pytest.raises(ValueError, match=message):
            kind.read(str(tmp_path / name))


def test_what_is_too_long_is_refused_or_cut():
    wave = np.sin(np.arange(16000) / 5)
    with pytest.raises(ValueError, match=r"lasts 2.00 s; 1 s fit; .*options.cut=true"):
        Audio((32, 32)).read((wave, 8000))
    kept = Audio((32, 32), cut=True).read((wave, 8000))[0]
    assert np.allclose(kept, wave[:8000])
