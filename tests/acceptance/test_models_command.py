"""What the command line says of models, devices and the secret of callbacks."""

from functools import partial
from pathlib import Path

import pytest
from support import commands
from support.commands import Done
from support.models import tiny_repo
from support.neighbours.answering import Answer, answering

EX_CONFIG = 78
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_repo(tmp_path_factory.mktemp("models"))


def run(*words: str, cache: Path | None = None, online: bool = False, hub: str = NOWHERE, **settings: str) -> Done:
    variables = {
        "HF_HUB_OFFLINE": str(int(not online)),
        "HF_ENDPOINT": hub,
        "no_proxy": "127.0.0.1",
        **{f"STREAMSRV_{name}": value for name, value in settings.items()},
    }
    if cache is not None:
        variables |= {"HF_HUB_CACHE": str(cache), "TORCH_HOME": str(cache)}
    return commands.run(*words, variables=variables)


class TestModels:
    def test_list(self, repo: Path) -> None:
        """Each model of the folder is listed with its state, and the default is marked."""
        done = run("models", "list", SEPARATE__MODEL_REPO=str(repo), SEPARATE__MODEL="tiny6")
        assert done.returncode == 0
        lines = [line.split() for line in done.stdout.splitlines() if not line.startswith(" ")]
        assert lines == [["streamsrv-small", "available"], ["tiny", "available"], ["tiny6", "available", "(default)"]]

    def test_the_default_and_why(self, repo: Path) -> None:
        """Where no better one can be had the built-in one is the default, and it is said why."""
        done = run("models", "list", SEPARATE__MODEL_REPO=str(repo))
        assert "streamsrv-small          available (default)" in done.stdout
        assert "It is the default since htdemucs isn't in the server's folder of models." in done.stdout

    def test_list_without_weights(self, tmp_path: Path) -> None:
        """Demucs's own models are listed where no weights are here, with what to do."""
        done = run("models", "list", cache=tmp_path, SEPARATE__DOWNLOAD="false")
        assert done.returncode == 0
        assert "python -m streamsrv models pull htdemucs_ft" in done.stdout

    def test_pull(self, repo: Path) -> None:
        """A model that is here is loaded, and its stems are named."""
        done = run("models", "pull", "tiny6", SEPARATE__MODEL_REPO=str(repo))
        assert (done.returncode, done.stderr.count("Traceback")) == (0, 0)
        assert "tiny6 is here" in done.stdout
        assert "guitar" in done.stdout

    def test_pull_the_default(self, repo: Path) -> None:
        """Without a name it is the model that the settings name; with them as they are it is htdemucs."""
        assert "tiny6 is here" in run("models", "pull", SEPARATE__MODEL_REPO=str(repo), SEPARATE__MODEL="tiny6").stdout
        assert "no model htdemucs in" in run("models", "pull", SEPARATE__MODEL_REPO=str(repo)).stderr

    def test_pull_what_came_along(self, tmp_path: Path) -> None:
        """The built-in model is here, without any network or cache."""
        assert "streamsrv-small is here; it separates drums" in run("models", "pull", "streamsrv-small").stdout

    @pytest.mark.thorough
    def test_pull_nothing(self, repo: Path) -> None:
        """A model that isn't there is an error in words."""
        done = run("models", "pull", "nowhere", SEPARATE__MODEL_REPO=str(repo))
        assert done.returncode == 1
        assert "There is no model nowhere" in done.stderr
        assert "Traceback" not in done.stderr
        assert str(repo) not in done.stderr

    @pytest.mark.thorough
    def test_pull_offline(self, tmp_path: Path) -> None:
        """Where the hub's own variable forbids it nothing is fetched, and it is said which."""
        done = run("models", "pull", "htdemucs", cache=tmp_path)
        assert done.returncode == 1
        assert "HF_HUB_OFFLINE" in done.stderr
        assert list(tmp_path.rglob("*.th")) == []


class TestDoctor:
    def test_good(self, repo: Path) -> None:
        """It tells what songs are separated on, and that the model is here."""
        done = run("doctor", SEPARATE__MODEL_REPO=str(repo), SEPARATE__MODEL="tiny", SEPARATE__DEVICES="cpu")
        assert "ok   Songs are separated on cpu:0" in done.stdout
        assert "ok   The model tiny is here." in done.stdout

    def test_bad(self, repo: Path) -> None:
        """A model and a device that aren't there are BAD, and it says so before a song does."""
        done = run("doctor", SEPARATE__MODEL_REPO=str(repo), SEPARATE__MODEL="x", SEPARATE__DEVICES="cuda:9")
        assert done.returncode == 1
        assert "BAD  There is no model x" in done.stdout
        assert "BAD  separate.devices can't be used" in done.stdout

    def test_fallback(self, tmp_path: Path) -> None:
        """Where songs get the built-in model, that is good, and it says why and what to do for a better one."""
        done = run("doctor", "--data-dir", str(tmp_path), cache=tmp_path)
        assert "ok   Songs get the small built-in model streamsrv-small: htdemucs isn't on this server" in done.stdout
        assert "python -m streamsrv models pull htdemucs" in done.stdout
        done = run("doctor", "--data-dir", str(tmp_path), cache=tmp_path, online=True)
        assert "htdemucs isn't here yet, and the server downloads it when it starts" in done.stdout
        assert f"ok   htdemucs can't be downloaded now: {NOWHERE} doesn't answer." in done.stdout

    def test_the_hub(self, tmp_path: Path) -> None:
        """A model that is yet to be downloaded can be, if its hub answers, whatever it says; else that is BAD."""
        look = partial(
            run, "doctor", "--data-dir", str(tmp_path), cache=tmp_path, online=True, SEPARATE__MODEL="htdemucs"
        )
        done = look()
        assert f"BAD  htdemucs can't be downloaded now: {NOWHERE} doesn't answer." in done.stdout
        with answering(lambda _asked: Answer(404)) as address:
            done = look(hub=address)
        assert "ok   The hub that has htdemucs answers." in done.stdout

    def test_insisting(self, tmp_path: Path) -> None:
        """Where htdemucs is asked for by name the built-in one is no answer: that it isn't here is BAD."""
        done = run("doctor", "--data-dir", str(tmp_path), cache=tmp_path, SEPARATE__MODEL="htdemucs")
        assert done.returncode == 1
        assert "BAD  The model htdemucs is missing." in done.stdout


class TestStart:
    def test_unknown_device(self, tmp_path: Path) -> None:
        """A server whose devices aren't there doesn't start, and says which there are."""
        done = run("serve", "--data-dir", str(tmp_path / "data"), "--port", "0", SEPARATE__DEVICES="cuda:9")
        assert done.returncode == EX_CONFIG
        assert 'there is no device "cuda:9" here' in done.stderr

    @pytest.mark.parametrize("secret", ["short", "whsec_", "whsec_!!!", "whsec_c2hvcnQ="])
    def test_bad_secret(self, secret: str) -> None:
        """What callbacks can't be signed with is refused before anything starts."""
        done = run("callback-secret", CALLBACKS__SECRET=secret)
        assert done.returncode == EX_CONFIG
        assert "callbacks.secret" in done.stderr


class TestCallbackSecret:
    def test_derived(self, tmp_path: Path) -> None:
        """It is the same each time for the same data directory, and another one elsewhere."""
        secrets = []
        for name in ("one", "one", "other"):
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            secrets.append(run("callback-secret", "--data-dir", str(folder)).stdout.strip())
        assert secrets[0] == secrets[1] != secrets[2]
        assert all(secret.startswith("whsec_") for secret in secrets)

    def test_nothing_there(self, tmp_path: Path) -> None:
        """Without a data directory there is no secret, and no directory is made."""
        done = run("callback-secret", "--data-dir", str(tmp_path / "none"))
        assert done.returncode == EX_CONFIG
        assert "There is no secret yet" in done.stderr
        assert not (tmp_path / "none").exists()
